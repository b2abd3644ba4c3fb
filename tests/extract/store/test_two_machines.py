"""Two machines and one store at a URL: in whatever order they work, no published row is lost or reverted.

``HEADSTART_INTERLEAVINGS=200`` tries more orders.
"""

import os
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from headstart.extract import EngineOptions, Share, embed, open_store
from headstart.extract.errors import StoreError
from headstart.extract.store.remote_files import RemoteFiles
from headstart.files.errors import HeadstartError, OutputError

pytest.importorskip("fsspec")
MACHINES = 2
NAMES = [
    name
    for number in range(1, MACHINES + 1)
    for name in [f"{digits**3}.png" for digits in range(60) if Share(number, MACHINES).holds(b"%d.png" % digits**3)][:4]
]
"""Four photos of each machine's share."""
OPTIONS = EngineOptions(isolate=False, workers=1, batch_size=4)


class World:
    """A folder of photos, a store at a URL, and what the store must hold after every publication.

    Each machine embeds its own share, and sometimes all photos. A photo that changes keeps its published row until a
    machine publishes another.
    """

    def __init__(self, folder: Path, backbone: Path, picture, monkeypatch, seed: int) -> None:
        self.folder, self.backbone, self.picture, self.patch = folder, backbone, picture, monkeypatch
        self.rng = np.random.default_rng(seed)
        self.url = f"memory://two-{time.time_ns()}/photos.h5"
        self.photos = folder / "photos"
        self.photos.mkdir(parents=True)
        self.number = 0
        self.expected: dict[bytes, bytes] = {}
        for name in NAMES:
            self.draw(name)

    def draw(self, name: str) -> None:
        self.number += 1
        (self.photos / name).write_bytes(self.picture(self.number, size=(8, 8)))

    def change(self, share: Share | None = None) -> None:
        """Change, delete or bring back a photo, perhaps one of a share."""
        names = [name for name in NAMES if share is None or share.holds(name.encode())]
        path = self.photos / self.rng.choice(names)
        if path.exists() and self.rng.random() < 0.4:
            path.unlink()
        else:
            self.draw(path.name)

    def go_to(self, machine: int) -> None:
        self.patch.setenv("HEADSTART_CACHE", str(self.folder / f"cache-{machine}"))

    def embed(self, machine: int, progress=None, *, may_take_all: bool = False) -> None:
        self.go_to(machine)
        share = Share(1, 1) if may_take_all and self.rng.random() < 0.3 else Share(machine + 1, MACHINES)
        store, _ = embed(self.photos, self.backbone, self.url, share=share, options=OPTIONS, progress=progress)
        del store
        self.expected = {path: row for path, row in self.expected.items() if not share.holds(path)}
        for path in self.photos.iterdir():
            if share.holds(name := path.name.encode()):
                self.expected[name] = path.read_bytes()

    def refuse(self, machine: int) -> None:
        """Let the other machine publish while this one runs."""
        overtaken = False

        def overtake(_) -> None:
            nonlocal overtaken
            if not overtaken:
                overtaken = True
                self.change(Share(2 - machine, MACHINES))
                self.embed(1 - machine)
                self.go_to(machine)

        try:
            self.embed(machine, overtake)
        except StoreError as error:
            assert "changed at the URL during this run" in str(error)  # noqa: PT017

    def fail(self, machine: int) -> None:
        """Let the upload fail."""

        def upload(*_) -> None:
            raise OutputError("full")

        with self.patch.context() as ill:
            ill.setattr(RemoteFiles, "upload", upload)
            expected = dict(self.expected)
            try:
                self.embed(machine)
            except OutputError:
                self.expected = expected

    def interrupt(self, machine: int) -> None:
        """Stop a run after its first rows."""
        expected = dict(self.expected)

        def stop(_) -> None:
            raise KeyboardInterrupt

        try:
            self.embed(machine, stop)
        except KeyboardInterrupt:
            self.expected = expected

    def forget(self, machine: int) -> None:
        """Lose the note of a cache, or spoil it."""
        for note in (self.folder / f"cache-{machine}").rglob(".note"):
            if self.rng.random() < 0.5:
                note.unlink()
            else:
                note.write_text('["damaged"]')

    def check(self) -> None:
        for machine in range(MACHINES):
            self.go_to(machine)
            found: dict[bytes, bytes] = {}
            try:
                store = open_store(self.url)
            except HeadstartError as error:
                assert "there is no embedding store" in str(error)  # noqa: PT017
            else:
                found = dict(zip(store.rows.path.tolist(), map(bytes, store.rows.sha256), strict=True))
            assert found == {path: sha256(data).digest() for path, data in self.expected.items()}


STEPS = {"change": 0.3, "embed": 0.25, "refuse": 0.15, "fail": 0.1, "interrupt": 0.1, "forget": 0.1}


def run_interleaving(world: World, steps: int) -> None:
    for step in world.rng.choice(list(STEPS), steps, p=list(STEPS.values())):
        machine = int(world.rng.integers(MACHINES))
        if step == "change":
            world.change()
        elif step == "embed":
            world.embed(machine, may_take_all=True)
        else:
            getattr(world, step)(machine)
        world.check()
    for machine in range(MACHINES):
        world.embed(machine)
    world.check()
    assert set(world.expected) == {path.name.encode() for path in world.photos.iterdir()}


@pytest.mark.parametrize("seed", range(int(os.environ.get("HEADSTART_INTERLEAVINGS", "10"))))
def test_no_published_row_is_lost_or_reverted(tmp_path, tiny_backbone, picture, monkeypatch, seed):
    run_interleaving(World(tmp_path, tiny_backbone, picture, monkeypatch, seed), steps=8)


def test_shards_that_were_never_uploaded_do_not_outrank_what_was_published_since(
    tmp_path, tiny_backbone, picture, monkeypatch
):
    world = World(tmp_path, tiny_backbone, picture, monkeypatch, 0)
    world.url = world.url.replace(".h5", ".emb")
    world.embed(0)
    world.embed(1)
    mine, other = NAMES[0], NAMES[-1]
    world.draw(mine)
    world.draw(other)
    world.fail(0)
    world.draw(mine)
    world.go_to(1)
    embed(world.photos, tiny_backbone, world.url, options=OPTIONS)
    published = (world.photos / mine).read_bytes()
    world.go_to(0)
    embed(world.photos, tiny_backbone, world.url, share=Share(2, 2), options=OPTIONS)
    store = open_store(world.url)
    digests = dict(zip(store.rows.path.tolist(), map(bytes, store.rows.sha256), strict=True))
    assert digests[mine.encode()] == sha256(published).digest()
    assert len(store) == len(NAMES)
