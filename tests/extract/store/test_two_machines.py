"""Two machines and one store at a URL: in whatever order they work, no published row is lost or reverted.

``HEADSTART_INTERLEAVINGS=200`` tries more orders.
"""

import os
import shutil
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
OPTIONS = EngineOptions(isolate=False, workers=1, batch_size=len(NAMES))
Content = bytes | None
"""Of the photo that a row is of; None without a row."""


class World:
    """A folder of photos, a store at a URL, and what the store must hold after every publication.

    Each machine embeds its own share, and sometimes all photos. A photo that changes keeps its published row until a
    machine publishes another.

    Attributes
    ----------
    expected
        What is published, by path.
    pending
        Of each machine, by path, what was published when it made a row that it has not published, and that row: its
        next run may publish it, unless another machine has published the path since.
    """

    def __init__(self, folder: Path, backbone: Path, picture, monkeypatch, seed: int, layout: str = "h5") -> None:
        self.folder, self.backbone, self.picture, self.patch = folder, backbone, picture, monkeypatch
        self.rng = np.random.default_rng(seed)
        self.url = f"memory://two-{time.time_ns()}/photos.{layout}"
        self.photos = folder / "photos"
        self.photos.mkdir(parents=True)
        self.number = 0
        self.expected: dict[str, Content] = dict.fromkeys(NAMES)
        self.pending: list[dict[str, tuple[Content, Content]]] = [{} for _ in range(MACHINES)]
        monkeypatch.setattr("headstart.extract.store.writer.ROWS_A_SHARD", 2)
        monkeypatch.setattr(os, "fsync", lambda _: None)
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

    def go_to(self, machine: int | str) -> None:
        self.patch.setenv("HEADSTART_CACHE", str(self.folder / f"cache-{machine}"))

    def content(self, name: str) -> Content:
        return (self.photos / name).read_bytes() if (self.photos / name).exists() else None

    def embed(self, machine: int, progress=None) -> None:
        """Embed a share or all photos, and expect what a run that ends thus may publish, and nothing else."""
        self.go_to(machine)
        share = Share(1, 1) if self.rng.random() < 0.3 else Share(machine + 1, MACHINES)
        before, new = dict(self.expected), {name: self.content(name) for name in NAMES if share.holds(name.encode())}
        has_ended = False
        try:
            store, _ = embed(self.photos, self.backbone, self.url, share=share, options=OPTIONS, progress=progress)
            del store
            has_ended = True
        except StoreError as error:
            assert "changed at the URL during this run" in str(error)  # noqa: PT017
        except (OutputError, KeyboardInterrupt):
            pass
        self.settle(machine, before, new, has_ended=has_ended)

    def settle(self, machine: int, before: dict[str, Content], new: dict[str, Content], *, has_ended: bool) -> None:
        """Read what a run has published, and compare it with what it may and what it must publish."""
        found, pending = self.read("published"), self.pending[machine]
        for name in NAMES:
            now = self.expected[name]  # `before`, unless the other machine has published meanwhile
            may, must = {now}, now
            if now == before[name]:
                may |= {row for base, row in [pending.get(name, (0, None))] if base == now}
                may |= {new.get(name, now)}
                must = new.get(name)
            if has_ended and name in new:
                may = {must}
            assert found[name] in {digest(content) for content in may}, (name, has_ended)
            self.expected[name] = next(content for content in may if digest(content) == found[name])
            if has_ended:
                pending.pop(name, None)
            elif name in new:
                pending[name] = (self.expected[name], new[name])

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

        self.embed(machine, overtake)

    def fail(self, machine: int) -> None:
        """Let the uploads fail, perhaps after some."""
        left, whole = int(self.rng.integers(3)), RemoteFiles.upload

        def upload(*arguments) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OutputError("full")
            whole(*arguments)

        with self.patch.context() as ill:
            ill.setattr(RemoteFiles, "upload", upload)
            self.embed(machine)

    def interrupt(self, machine: int) -> None:
        """Stop a run after some rows."""
        rows = int(self.rng.integers(1, 5))

        def stop(state) -> None:
            if state.done >= rows:
                raise KeyboardInterrupt

        self.embed(machine, stop)

    def forget(self, machine: int) -> None:
        """Lose the note of a cache, or spoil it."""
        for note in (self.folder / f"cache-{machine}").rglob(".note"):
            if self.rng.random() < 0.5:
                note.unlink()
            else:
                note.write_text('["damaged"]')

    def read(self, machine: int | str) -> dict[str, Content]:
        """Return the digests that a reader sees, on a machine or with an empty cache."""
        shutil.rmtree(self.folder / "cache-published", ignore_errors=True)
        self.go_to(machine)
        try:
            store = open_store(self.url)
        except HeadstartError as error:
            assert "there is no embedding store" in str(error)  # noqa: PT017
            return dict.fromkeys(NAMES)
        digests = dict(zip(store.paths, map(bytes, store.rows.sha256), strict=True))
        assert set(digests) <= set(NAMES)
        return {name: digests.get(name) for name in NAMES}

    def check(self, machine: int | str) -> None:
        assert self.read(machine) == {name: digest(content) for name, content in self.expected.items()}


def digest(content: Content) -> Content:
    return None if content is None else sha256(content).digest()


STEPS = {"change": 0.3, "embed": 0.25, "refuse": 0.15, "fail": 0.1, "interrupt": 0.1, "forget": 0.1}


def run_interleaving(world: World, steps: int) -> None:
    for step in world.rng.choice(list(STEPS), steps, p=list(STEPS.values())):
        machine = int(world.rng.integers(MACHINES))
        if step == "change":
            world.change()
        else:
            getattr(world, step)(machine)
        world.check(world.rng.choice([*range(MACHINES), "published"]))  # not all: a reader updates the copy
    for machine in (*range(MACHINES), *range(MACHINES)):  # once more: the first time publishes what is left over
        world.embed(machine)
    for machine in range(MACHINES):
        world.check(machine)
    assert world.expected == {name: world.content(name) for name in NAMES}


@pytest.mark.parametrize("layout", ["h5", "emb"])
@pytest.mark.parametrize("seed", range(int(os.environ.get("HEADSTART_INTERLEAVINGS", "4"))))
def test_no_published_row_is_lost_or_reverted(tmp_path, tiny_backbone, picture, monkeypatch, seed, layout):
    run_interleaving(World(tmp_path, tiny_backbone, picture, monkeypatch, seed, layout), steps=8)


def test_shards_that_were_never_uploaded_do_not_outrank_what_was_published_since(
    tmp_path, tiny_backbone, picture, monkeypatch
):
    world = World(tmp_path, tiny_backbone, picture, monkeypatch, 0, "emb")
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


@pytest.mark.parametrize("layout", ["h5", "emb"])
def test_rows_of_another_model_than_what_was_published_since_are_dropped(
    tmp_path, tiny_backbone, make_backbone, picture, monkeypatch, layout
):
    world = World(tmp_path, tiny_backbone, picture, monkeypatch, 0, layout)
    other = make_backbone(tmp_path / "other.onnx", seed=1)
    with monkeypatch.context() as ill:
        ill.setattr(RemoteFiles, "upload", lambda *_: (_ for _ in ()).throw(OutputError("full")))
        world.go_to(0)
        with pytest.raises(OutputError):
            embed(world.photos, tiny_backbone, world.url, options=OPTIONS)
    world.go_to(1)
    embed(world.photos, other, world.url, share=Share(2, 2), options=OPTIONS)
    world.go_to(0)
    with pytest.raises(StoreError, match="holds rows of another model"):
        embed(world.photos, tiny_backbone, world.url, options=OPTIONS)
    store, summary = embed(world.photos, other, world.url, options=OPTIONS)
    assert (len(store), summary.computed) == (len(NAMES), len(NAMES) // 2)


def test_shards_that_were_deleted_at_the_url_do_not_return(tmp_path, tiny_backbone, picture, monkeypatch):
    import fsspec

    world = World(tmp_path, tiny_backbone, picture, monkeypatch, 0, "emb")
    world.go_to(0)
    embed(world.photos, tiny_backbone, world.url, options=OPTIONS)
    world.forget(0)
    fsspec.filesystem("memory").rm(world.url, recursive=True)
    store, summary = embed(world.photos, tiny_backbone, world.url, share=Share(1, 2), options=OPTIONS)
    assert (len(store), summary.reused) == (len(NAMES) // 2, 0)
    assert world.read("published") == world.read(0)
