"""Difficult entries of a folder: pipes, links, devices and unusual names."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress

from torture.pictures.case import DAMAGED, Case, picture, saved


def special_files() -> Iterator[Case]:
    """Yield entries that are not regular files or cannot be read."""

    def link(target: bytes) -> Callable[[bytes], None]:
        return lambda path: os.symlink(target, path)

    def listen(path: bytes) -> None:
        held = os.open(b".", os.O_RDONLY)
        try:
            os.chdir(os.path.dirname(path))  # the path of a socket is limited to 107 bytes
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(os.path.basename(path))
        finally:
            os.fchdir(held)
            os.close(held)

    def closed(path: bytes) -> None:
        with open(path, "wb") as file:
            file.write(saved(picture(), "PNG"))
        os.chmod(path, 0)

    def folder(path: bytes) -> None:
        os.makedirs(path)

    def device(path: bytes) -> None:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))

    yield Case(b"special/pipe.jpg", os.mkfifo, "^not a regular file but a pipe$")
    yield Case(b"special/socket.jpg", listen, "^not a regular file but a socket$")
    yield Case(b"special/device.jpg", device, "^not a regular file but a device$")
    yield Case(b"special/endless.jpg", link(b"/dev/zero"), "^link that leads out of the folder; ")
    yield Case(b"special/outside.jpg", link(b"/etc/passwd"), "^link that leads out of the folder; ")
    yield Case(b"special/dangling.jpg", link(b"nowhere.jpg"), "^no such file$")
    yield Case(b"special/loop.jpg", link(b"loop.jpg"), "^cannot be looked at: ")
    yield Case(b"special/round1.jpg", link(b"round2.jpg"), "^cannot be looked at: ")
    yield Case(b"special/round2.jpg", link(b"round1.jpg"), "^cannot be looked at: ")
    yield Case(b"special/folder-link.jpg", link(b"../kinds"), "^link to a folder; not followed without --follow-links$")
    yield Case(b"special/pipe-link.jpg", link(b"pipe.jpg"), "^not a regular file but a pipe$")
    yield Case(b"special/link.jpg", link(b"../kinds/plain.png"), like=b"kinds/plain.png")
    yield Case(b"special/folder.jpg/inside.png", saved(picture(), "PNG"), like=b"kinds/plain.png")
    reader = hasattr(os, "geteuid") and os.geteuid() == 0  # root reads everything
    yield Case(b"special/closed.png", closed, "" if reader else "^cannot be read: permission denied$")
    with suppress(ValueError):
        yield Case(b"special/sparse.jpg", _sparse, "^[0-9,]+ bytes; more than [0-9,]+ are not read$")


def _sparse(path: bytes) -> None:
    with open(path, "wb") as file:
        file.truncate(300 << 20)


def names() -> Iterator[Case]:
    """Yield good and broken images under each name; failures must name them as well."""
    data = saved(picture(), "PNG")
    for name in (
        b"new\nline.png",
        b"tab\t and  spaces .png",
        b"\xff\xfe\x80.png",
        b"half\xc3.png",
        b"n" * 251 + b".png",
        "\u202egnp.\u202c\u200f.png".encode(),
        "e\u0301 \u00e9 \U0001f431.png".encode(),
        b"-rf *.png",
        b"quote'\"`$(x);.png",
        b"a,b.png",
        b"=1+1.png",
        b"back\\slash.png",
        b"\x01\x1b[31m\x7f.png",
        b"CON.png",
        b" .png",
        b"100%s.png",
    ):
        yield Case(b"names/" + name, data, like=b"kinds/plain.png")
        yield Case(b"names/broken-" + name[8 if len(name) > 200 else 0 :], data[:60], DAMAGED)
