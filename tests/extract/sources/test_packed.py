"""Photos in tar archives: rows are those of the same photos in a folder, and nothing in an archive does harm."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from headstart.extract import EngineOptions, Share, embed, find_images
from headstart.extract.decoding.formats import FORMATS
from headstart.extract.errors import SourceError, TryAgainError
from headstart.extract.sources.archives.tar_members import WINDOW
from headstart.extract.sources.archives.tars import tar_items
from headstart.extract.sources.items import Item
from headstart.extract.sources.names import IMAGE_SUFFIXES
from headstart.extract.sources.readers import LocalReader

QUICK = EngineOptions(isolate=False)


def make_tar(path: Path, members, form: int = tarfile.PAX_FORMAT) -> Path:
    """Write members, each a name and its bytes or a `TarInfo` as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, data = member
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def in_tars(folder: Path, place: Path, number: int = 3) -> Path:
    """Pack a folder of photos into archives, one photo after another."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for i in range(number):
        make_tar(place / f"{i}.tar", [(f.relative_to(folder).as_posix(), f.read_bytes()) for f in files[i::number]])
    return place


def listed(source) -> dict[str, tuple[str | None, str, str]]:
    return {os.fsdecode(item.path): (item.label, item.split, item.reason) for item in find_images(source).items}


def vectors(store) -> dict[bytes, np.ndarray]:
    return {row.tobytes(): vector for row, vector in zip(store.rows.sha256, store.embeddings(), strict=True)}


def by_content(store) -> list[tuple]:
    labels = [store.header.classes[code] if code >= 0 else None for code in store.rows.label]
    rows = store.rows
    return sorted(
        (digest.tobytes(), label or "", int(status), reason)
        for digest, label, status, reason in zip(rows.sha256, labels, rows.status, rows.reason.tolist(), strict=True)
    )


def test_rows_are_those_of_the_folder_and_nothing_is_read_again(photos, backbone, tmp_path, monkeypatch):
    local, _ = embed(photos, backbone, tmp_path / "local.h5", options=QUICK)
    shards = in_tars(photos, tmp_path / "shards")
    store, summary = embed(shards, backbone, tmp_path / "tars.h5", options=QUICK)
    assert by_content(store) == by_content(local)
    one, other = vectors(store), vectors(local)
    assert all(np.allclose(one[key], other[key], rtol=2e-3, equal_nan=True) for key in other)
    assert (summary.inputs, summary.failed) == (25, 3)
    monkeypatch.setattr(LocalReader, "read", None)
    _, again = embed(shards, backbone, tmp_path / "tars.h5", options=QUICK)
    assert (again.computed, again.reused) == (0, 25)


def test_shares_of_archives_are_all_of_them(photos, backbone, tmp_path):
    shards = in_tars(photos, tmp_path / "shards")
    stores = [embed(shards, backbone, tmp_path / f"{i}.h5", share=Share(i, 3), options=QUICK)[0] for i in (1, 2, 3)]
    assert sorted(path for store in stores for path in store.paths) == sorted(listed(shards))


def test_a_sample_is_a_key_and_its_class_the_cls_beside_it(tmp_path):
    samples = [
        ("7.cls", b"owl\n"),
        ("7.jpg", b"a"),
        ("7.json", b"{}"),
        ("8.left.jpg", b"b"),
        ("8.right.PNG", b"c"),
        ("8.cls", b"3"),
        ("a/9.webp", b"d"),
        ("9.heic", b"e"),
        ("10.txt", b"no image here"),
        ("._7.jpg", b"left by a desktop"),
    ]
    assert listed(make_tar(tmp_path / "x.tar", samples)) == {
        "x.tar/7.jpg": ("owl", "", ""),
        "x.tar/8.left.jpg": ("3", "", ""),
        "x.tar/8.right.PNG": ("3", "", ""),
        "x.tar/a/9.webp": ("a", "", ""),
        "x.tar/9.heic": (None, "", ""),
    }


@pytest.mark.parametrize(
    ("archives", "expected"),
    [
        ({"x.tar": ["daisy/1.jpg", "rose/2.jpg"]}, {("daisy", ""), ("rose", "")}),
        ({"x.tar": ["photos/daisy/1.jpg", "photos/rose/2.jpg"]}, {("daisy", ""), ("rose", "")}),
        ({"daisy/0.tar": ["1.jpg"], "rose/0.tar": ["2.jpg"]}, {("daisy", ""), ("rose", "")}),
        ({"train/0.tar": ["daisy/1.jpg"], "val/0.tar": ["daisy/1.jpg"]}, {("daisy", "train"), ("daisy", "val")}),
        ({"x.tar": ["train/daisy/1.jpg"]}, {("daisy", "train")}),
        ({"0.tar": ["1.jpg"], "1.tar": ["./2.jpg"]}, {(None, "")}),
    ],
)
def test_classes_are_those_of_the_unpacked_folder(tmp_path, archives, expected):
    for name, members in archives.items():
        make_tar(tmp_path / name, [(member, b"x") for member in members])
    assert {(label, split) for label, split, _ in listed(tmp_path).values()} == expected


def test_an_archive_among_photos_is_a_file_like_others(tmp_path, picture):
    make_tar(tmp_path / "x.tar", [("1.jpg", b"x")])
    (tmp_path / "2.png").write_bytes(picture())
    assert set(listed(tmp_path)) == {"2.png", "x.tar"}


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar"])
def test_a_compressed_archive_is_refused_in_one_line(tmp_path, name):
    with tarfile.open(tmp_path / name, "w:gz") as archive:
        archive.addfile(info("1.jpg", size=5000), io.BytesIO(os.urandom(5000)))
    for given in (tmp_path, tmp_path / name):
        with pytest.raises(SourceError, match=r"x\.t.*: expected an uncompressed .*tar.*; unpack it") as caught:
            find_images(given)
        assert "\n" not in str(caught.value)


def info(name: str, **said) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in said.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_made_to_attack_are_failure_rows(tmp_path, backbone, picture, form):
    photo = picture()
    place = make_tar(
        tmp_path / "x.tar",
        [
            ("/etc/1.jpg", photo),
            ("../2.jpg", photo),
            ("a/../../3.jpg", photo),
            info("4.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
            info("5.jpg", type=tarfile.LNKTYPE, linkname="good.jpg"),
            info("6.jpg", type=tarfile.FIFOTYPE),
            info("7.jpg", type=tarfile.CHRTYPE, devmajor=1),
            info("folder.jpg", type=tarfile.DIRTYPE),
            ("twice.png", b"no image"),
            ("twice.png", photo),
            ("two\nlines.png", photo),
            ("not \udcff\udcfe utf-8.png", photo),
            ("x" * 300 + ".png", photo),
            ("x" * 5000 + ".png", photo),
            ("empty.png", b""),
            ("good.png", photo),
        ],
        form,
    )
    store, summary = embed(place, backbone, tmp_path / "a.h5", options=QUICK)
    failed = {os.fsdecode(path).removeprefix("x.tar/"): reason for path, reason in store.failures.items()}
    outside = "a name that leads out of the archive; not read"
    assert failed.pop("x" * 4096) == "a name of more than 4,096 bytes"
    assert failed == {
        "/etc/1.jpg": outside,
        "../2.jpg": outside,
        "a/../../3.jpg": outside,
        "4.jpg": "a symbolic link inside an archive; not followed",
        "5.jpg": "a hard link to a file that the archive does not contain before it",
        "6.jpg": "not a regular file but a device or pipe",
        "7.jpg": "not a regular file but a device or pipe",
        "twice.png~1": "a later member of the archive has the same name",
        "empty.png": "empty file",
    }
    assert summary.embedded == 5
    assert sorted(os.listdir(tmp_path)) == [".a.h5.lock", "a.h5", "x.tar"]


def test_sparse_members_are_failures_and_what_follows_is_found(tmp_path, picture):
    whole = make_tar(tmp_path / "x.tar", [("1.png", b"-" * 700), ("2.png", picture())], tarfile.GNU_FORMAT)
    data = bytearray(whole.read_bytes())
    data[156:157] = tarfile.GNUTYPE_SPARSE
    data[482] = 1  # one more header with a map follows
    data[512:512] = bytes(512)
    rewrite_checksum(data)
    whole.write_bytes(data)
    assert {path: reason for path, (_, _, reason) in listed(whole).items()} == {
        "x.tar/1.png": "a sparse file inside an archive; not read",
        "x.tar/2.png": "",
    }
    pax = info("3.png", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.name": "4.png"})
    assert "sparse" in listed(make_tar(tmp_path / "y.tar", [pax]))["y.tar/4.png"][2]


def test_a_size_that_only_the_extended_header_says_is_believed(tmp_path, picture):
    first, photo = picture(), picture(1)
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(info("1.png", size=len(first), pax_headers={"size": str(len(first))}), io.BytesIO(first))
        archive.addfile(info("2.png", size=len(photo)), io.BytesIO(photo))
    data = bytearray(path.read_bytes())
    data[1024 + 124 : 1024 + 135] = b"0" * 11
    rewrite_checksum(data, 1024)
    path.write_bytes(data)
    items = find_images(path).items
    reader = LocalReader(tmp_path)
    assert [reader.read(item)[0] for item in items] == [first, photo]


def rewrite_checksum(data: bytearray, at: int = 0) -> None:
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])


def test_a_size_beyond_the_end_or_below_zero_is_told(tmp_path, picture):
    place = make_tar(tmp_path / "x.tar", [("1.png", picture()), ("2.png", picture(1))])
    second = 512 + -(-len(picture()) // 512) * 512
    whole = place.read_bytes()
    for size, reasons in {
        b"77777777777\0": {"x.tar/2.png": "cut off", "x.tar": "the archive is cut off at byte"},
        b"\x80" + b"\xff" * 11: {"x.tar/2.png": "cut off", "x.tar": "the archive is cut off at byte"},
        b"\xff" * 12: {"x.tar": "the archive is damaged at byte"},
    }.items():
        data = bytearray(whole)
        data[second + 124 : second + 136] = size
        rewrite_checksum(data, second)
        place.write_bytes(data)
        found = {path: reason for path, (_, _, reason) in listed(place).items() if reason}
        assert found.keys() == reasons.keys()
        assert all(found[path].startswith(reason) for path, reason in reasons.items())


def test_wherever_an_archive_is_cut_each_photo_is_found_or_the_loss_is_told(tmp_path, picture):
    path = make_tar(tmp_path / "x.tar", [(f"{n}.png", picture(n)) for n in range(3)])
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))
    for cut in (0, 100, 512, 600, end // 2, end - 1):
        path.write_bytes(whole[:cut])
        found = listed(path)
        assert found["x.tar"][2].startswith("the archive is cut off at byte"), cut
    for end_mark in (0, 512):
        path.write_bytes(whole[: -(-end // 512) * 512 + end_mark])
        assert list(listed(path)) == ["x.tar/0.png", "x.tar/1.png", "x.tar/2.png"]


def test_whatever_bytes_are_flipped_there_are_items_or_one_clear_error(tmp_path, picture):
    path = make_tar(tmp_path / "x.tar", [("é" * 60 + f"{n}.png", picture(n)) for n in range(3)] + [("0.cls", b"3")])
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        at = int(rng.integers(0, len(data) // 512)) * 512
        data[at + int(rng.integers(0, 512))] = int(rng.integers(0, 256))
        rewrite_checksum(data, at)
        path.write_bytes(data)
        try:
            assert find_images(path).items
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_an_archive_that_changes_meanwhile_gives_no_wrong_photo(tmp_path, picture):
    path = make_tar(tmp_path / "x.tar", [("1.png", picture())])
    source = find_images(path)
    make_tar(path, [("0.png", picture(3)), ("1.png", picture(4))])
    with pytest.raises(Exception, match="changed meanwhile"):
        LocalReader(source.root).read(source.items[0])


def test_rows_of_an_archive_that_cannot_be_listed_are_kept(photos, backbone, tmp_path, monkeypatch):
    shards = in_tars(photos, tmp_path / "shards")
    embed(shards, backbone, tmp_path / "a.h5", options=QUICK)
    with monkeypatch.context() as ill:
        original = LocalReader.part

        def part(self, path, start, end):
            if path == b"1.tar":
                raise TryAgainError("timed out")
            return original(self, path, start, end)

        ill.setattr(LocalReader, "part", part)
        store, summary = embed(shards, backbone, tmp_path / "a.h5", options=QUICK)
        assert (len(store), summary.removed, summary.computed) == (26, 0, 1)
        assert store.failures["1.tar"].endswith("cannot be listed: timed out")
    store, summary = embed(shards, backbone, tmp_path / "a.h5", options=QUICK)
    assert (len(store), summary.removed, summary.computed) == (25, 1, 0)


def test_the_report_shows_photos_in_archives(tmp_path, picture):
    from headstart.extract.thumbnails import thumbnail

    photo = picture()
    make_tar(tmp_path / "in" / "x.tar", [("a/1.png", photo), ("../2.png", photo)])
    digest = hashlib.sha256(photo).digest()
    assert thumbnail(tmp_path, b"in/x.tar/a/1.png", sha256=digest) == thumbnail_of(photo, tmp_path)
    assert thumbnail(tmp_path, b"in/x.tar/a/1.png", sha256=bytes(32)) is None
    assert thumbnail(tmp_path, b"in/x.tar/../2.png") is None
    assert thumbnail(tmp_path, b"in/x.tar/3.png") is None


def thumbnail_of(photo: bytes, folder: Path) -> bytes | None:
    from headstart.extract.thumbnails import thumbnail

    (folder / "alone.png").write_bytes(photo)
    return thumbnail(folder, b"alone.png")


def test_the_suffixes_of_images_are_those_of_the_formats():
    Image.init()
    original = {suffix for suffix, form in Image.registered_extensions().items() if form in (*FORMATS, "MPO")}
    assert {suffix.decode() for suffix in IMAGE_SUFFIXES} >= original - {".pfm"}  # which has floating-point pixels


@pytest.mark.parametrize(("size", "most"), [(1000, 20), (50_000, 401)])
def test_a_listing_asks_for_headers_alone_but_reads_through_tiny_members(tmp_path, size, most):
    data = make_tar(tmp_path / "x.tar", [(f"{number}.png", bytes(size)) for number in range(400)]).read_bytes()
    asked = []

    def fetch(start: int, end: int) -> bytes:
        asked.append(end - start)
        return data[start:end]

    items = tar_items(Item(b"x.tar", len(data), 7), fetch, "x.tar")
    assert [item.size for item in items] == [size] * 400
    assert len(asked) <= most
    assert sum(asked) <= min(len(data), 400 * WINDOW + tarfile.RECORDSIZE)


def test_images_that_are_sidecars_in_archives_are_told_of_once(tmp_path, picture):
    for name in ("a.tar", "b.tar"):
        make_tar(tmp_path / name, [("1.png", picture()), ("1.seg.png", picture())])
    assert find_images(tmp_path).notes == ["2 images are sidecars, and not embedded: a.tar/1.seg.png"]


@pytest.mark.parametrize("at_url", [False, True])
def test_a_table_beside_the_archive_of_its_name_is_told_of_if_it_holds_images(tmp_path, picture, at_url):
    for name in ("train", "val"):  # as img2dataset leaves them
        make_tar(tmp_path / f"{name}.tar", [("1.png", picture())])
        columns = {"key": ["1"], "url": ["https://example.org/1"], "sha256": ["0" * 64], "status": ["success"]}
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / f"{name}.parquet")

    def notes() -> list[str]:
        for path in tmp_path.iterdir():
            MemoryFileSystem().pipe(f"/told_of/{path.name}", path.read_bytes())
        return find_images("memory://told_of" if at_url else tmp_path).notes

    assert notes() == []
    pyarrow.parquet.write_table(pyarrow.table({"image": [picture()]}), tmp_path / "val.parquet")
    (note,) = notes()
    assert note.startswith("1 table of images is ")
    assert "not read: val.parquet" in note
