"""The images of a tar archive, listed from its headers alone; nothing is ever unpacked."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from headstart.extract.errors import DecodeError, SourceError
from headstart.extract.sources.archives.tar_members import ArchiveDamage, Member, NotATar, members_of
from headstart.extract.sources.items import UNLISTED, Item
from headstart.extract.sources.names import is_hidden
from headstart.extract.sources.readers import Fetch, File, Pending
from headstart.extract.sources.sidecars import images_left_out, without_sidecars
from headstart.files.errors import one_line

MAX_NAME = 4096
"""Largest accepted length of a name, in bytes: the limit of most systems."""


def not_a_tar(name: str, kind: str) -> SourceError:
    """Return the error for an archive of another kind."""
    return SourceError(
        f"{name}: expected an uncompressed .tar archive, found a {kind}; {'unzip' if 'zip ' in kind else 'unpack'} it "
        "first, and give the folder (photos hardly compress)"
    )


def tar_items(container: Item, fetch: Fetch, name: str, left_out: list[bytes] | None = None) -> list[Item]:
    """List the images of an archive, with the labels of `.cls` files.

    Every member becomes an item, except folders, hidden names, and sidecar files of an image; `left_out`
    takes those that are images themselves. If the archive is cut off
    or damaged, a failed item with the archive's own path says so. Raises `SourceError` if the archive is compressed,
    and as `without_sidecars`.
    """
    members: list[Member] = []
    problem = ""
    try:
        members.extend(members_of(fetch, container.size))
    except NotATar as found:
        raise not_a_tar(name, found.kind) from None
    except ArchiveDamage as damage:
        problem = str(damage)
    except DecodeError as error:
        problem = f"{UNLISTED}: {one_line(error)}"
    items = _items(container, _linked(_named(members)), name, [] if left_out is None else left_out)
    return items + [Item(container.path, container.size, container.mtime_ns, reason=problem)] * bool(problem)


def _named(members: Sequence[Member]) -> Iterator[Member]:
    r"""Leave out members with hidden names, and refuse names that no folder below the archive's own could have.

    Windows tools write `daisy\1.jpg`: backslashes separate folders in an archive whose names contain no slash.
    """
    is_from_windows = not any(b"/" in member.name for member in members)
    for member in members:
        name, reason = member.name, member.reason
        if is_from_windows:
            name = name.replace(b"\\", b"/")
        while name.startswith(b"./"):
            name = name[2:].lstrip(b"/")
        parts = name.split(b"/")
        if len(name) > MAX_NAME:
            name, reason = name[:MAX_NAME], f"a name of more than {MAX_NAME:,} bytes"
        elif not name or b"\0" in name or name.startswith(b"/") or b".." in parts:
            name, reason = name.replace(b"\0", b"?"), "a name that leads out of the archive; not read"
        if not any(is_hidden(part) for part in parts if part not in (b".", b"..")):
            yield replace(member, name=name, reason=reason)


def _linked(members: Iterable[Member]) -> list[Member]:
    """Give hard links the bytes of the earlier member that they name."""
    members = list(members)
    if not any(member.link for member in members):
        return members
    before: dict[bytes, Member] = {}
    for number, member in enumerate(members):
        if member.link and not member.reason:
            target = before.get(member.link.removeprefix(b"./"))
            members[number] = replace(target, name=member.name) if target else replace(member, reason=BROKEN_LINK)
        before[member.name] = members[number]
    return members


BROKEN_LINK = "a hard link to a file that the archive does not contain before it"


def _items(container: Item, members: Sequence[Member], name: str, left_out: list[bytes]) -> list[Item]:
    """Make items with unique paths: of members with one name the last one counts, as with tar, and the others fail."""
    latest: dict[bytes, Member] = {}
    replaced: list[bytes] = []
    for member in members:
        path = container.path + b"/" + member.name
        if path in latest:
            replaced.append(path)
        latest[path] = member

    def texts(files: Iterable[Item]) -> Iterator[Pending]:
        return (partial(_text, latest[file.path]) for file in files)

    def item(path: bytes, member: Member) -> Item:
        return Item(path, member.size, container.mtime_ns, None, "", member.reason, container.path, member.start)

    listed = [item(path, member) for path, member in latest.items()]
    items = without_sidecars(listed, texts, name)
    left_out += images_left_out(listed, items)
    kept = {item.path: item for item in items}
    copies = Counter[bytes]()
    for path in replaced:
        if earlier := kept.get(path):
            copies[path] += 1
            while (other := b"%s~%d" % (path, copies[path])) in kept:
                copies[path] += 1
            kept[other] = replace(earlier, path=other, reason="a later member of the archive has the same name")
    return list(kept.values())


def _text(member: Member) -> File:
    return member.text, member.size, 0
