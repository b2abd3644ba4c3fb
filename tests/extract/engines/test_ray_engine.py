"""The Ray engine on real clusters: one node, two nodes of which one dies, and none."""

import csv
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.extract import EngineOptions, Share, embed, merge, open_store
from headstart.extract.decoding.jpeg import NO_END
from headstart.extract.decoding.png import BAD_METADATA
from headstart.extract.engines.ray_cluster import original_error
from headstart.extract.errors import EngineError, ProviderError
from headstart.extract.store.schema import ROW_DTYPES
from headstart.files.errors import MissingExtraError, OptionError, OutputError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def folder(picture, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("ray") / "photos"
    for number in range(150):
        path = place / ("ash", "oak", "fir")[number % 3] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number) if number % 50 != 7 else b"no image")
    (place / "ash" / "gone.png").symlink_to(place / "nowhere.png")
    return place


@pytest.fixture(scope="module")
def whole(folder, backbone, tmp_path_factory):
    return embed(folder, backbone, tmp_path_factory.mktemp("local") / "photos.h5")[0]


@pytest.fixture(scope="module")
def cluster():
    """One node with two cores, for all tests that need not start their own."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def assert_same(one, other) -> None:
    for name in ROW_DTYPES:
        assert getattr(one.rows, name).tolist() == getattr(other.rows, name).tolist(), name
    np.testing.assert_allclose(one.embeddings(), other.embeddings(), rtol=2e-3)  # float16, in other batches
    assert one.header == other.header


@pytest.mark.parametrize("suffix", [".h5", ".emb"])
def test_rows_are_those_of_the_local_engine(folder, backbone, whole, cluster, tmp_path, suffix):
    seen = []
    options = EngineOptions(engine="ray", isolate=False)
    store, summary = embed(folder, backbone, tmp_path / f"a{suffix}", options=options, progress=seen.append)
    assert_same(store, whole)
    assert (summary.inputs, summary.failed, summary.computed) == (151, 4, 151)
    assert (summary.provider, seen[-1].done, seen[-1].failed) == ("CPUExecutionProvider", 151, 4)
    assert summary.stages["infer"] > 0 < summary.stages["decode"]
    _, again = embed(folder, backbone, tmp_path / f"a{suffix}", options=options)
    assert (again.computed, again.reused) == (0, 151)


def test_workers_read_metadata(backbone, picture, cluster, tmp_path):
    exif = Image.Exif()
    exif[0x110] = "EOS"
    (tmp_path / "photos").mkdir()
    for number in range(40):
        (tmp_path / "photos" / f"{number:02}.jpg").write_bytes(picture(number, "JPEG", exif=exif.tobytes()))
    options = EngineOptions(engine="ray", isolate=False)
    store, _ = embed(tmp_path / "photos", backbone, tmp_path / "a.h5", options=options, metadata=True)
    assert store.metadata["camera"].tolist() == [b"EOS"] * 40
    assert not store.lacks_metadata.any()


def test_notes_come_back_from_the_workers(backbone, picture, cluster, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(40):
        (tmp_path / "photos" / f"{number:02}.jpg").write_bytes(
            picture(number, "JPEG")[: -2 if number in (5, 36) else None]
        )
    (tmp_path / "photos" / "a.png").write_bytes(picture(1)[:33] + bytes(4) + b"tEXtbad!" + picture(1)[33:])
    _, summary = embed(tmp_path / "photos", backbone, tmp_path / "a.h5", options=EngineOptions(engine="ray"))
    assert {(note.text, note.count) for note in summary.notes} == {(NO_END, 2), (BAD_METADATA, 1)}
    assert {note.example for note in summary.notes} <= {"05.jpg", "36.jpg", "a.png"}


def test_workers_read_archives_and_tables(folder, backbone, cluster, tmp_path):
    import pyarrow.parquet

    photos = sorted(path for path in folder.rglob("*.png") if path.is_file())
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "x.tar", "w") as archive:
        for path in photos[:75]:
            archive.add(path, path.relative_to(folder))
    table = pyarrow.table({"image": [path.read_bytes() for path in photos[75:]]})
    pyarrow.parquet.write_table(table, packed / "y.parquet", row_group_size=20)
    local, _ = embed(packed, backbone, tmp_path / "local.h5")
    store, summary = embed(packed, backbone, tmp_path / "ray.h5", options=EngineOptions(engine="ray", isolate=False))
    assert_same(store, local)
    assert (summary.inputs, summary.failed) == (150, 3)


def test_shares_and_engines_may_be_mixed(folder, backbone, whole, cluster, tmp_path):
    parts = [tmp_path / f"{number}.h5" for number in range(1, 5)]
    for number, part in enumerate(parts, start=1):
        options = EngineOptions(engine="ray" if number % 2 else "local", isolate=False)
        embed(folder, backbone, part, share=Share(number, 4), options=options)
    assert_same(merge(parts, tmp_path / "all.h5"), whole)


@pytest.mark.parametrize("engines", [("local", "ray"), ("ray", "local")])
def test_a_store_begun_on_one_engine_is_continued_on_the_other(folder, backbone, whole, cluster, tmp_path, engines):
    class StopError(Exception):
        pass

    def stop(progress):
        if progress.done >= 40:
            raise StopError

    options = EngineOptions(engine=engines[0], isolate=False)
    with pytest.raises(StopError):
        embed(folder, backbone, tmp_path / "a.h5", options=options, progress=stop)
    assert not (tmp_path / "a.h5").exists()
    store, summary = embed(folder, backbone, tmp_path / "a.h5", options=EngineOptions(engine=engines[1], isolate=False))
    assert_same(store, whole)
    assert summary.reused >= 32


def test_images_are_decoded_apart_on_ray_too(folder, backbone, whole, cluster, tmp_path):
    store, _ = embed(folder, backbone, tmp_path / "a.h5", options=EngineOptions(engine="ray", isolate=True))
    assert_same(store, whole)


def test_scoring_goes_the_same_way(tiny_classifier, tiny_photos, cluster, assert_same_predictions, tmp_path):
    from headstart.classify import score

    for engine in ("local", "ray"):
        options = EngineOptions(engine=engine, isolate=False)
        summary = score(tiny_photos, tiny_classifier, tmp_path / f"{engine}.csv", options=options)
        assert summary.provider == "CPUExecutionProvider"
    rows = [list(csv.DictReader((tmp_path / f"{engine}.csv").read_text().splitlines())) for engine in ("local", "ray")]
    assert_same_predictions(*rows)


def test_what_a_worker_cannot_do_is_told_in_one_line(folder, backbone, cluster, tmp_path):
    with pytest.raises(ProviderError, match="unknown provider 'abacus'") as caught:
        embed(folder, backbone, tmp_path / "a.h5", options=EngineOptions("abacus", engine="ray"))
    assert "\n" not in str(caught.value)


def test_a_cluster_that_is_not_there_is_told_in_one_line(folder, backbone, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    command = [sys.executable, "-m", "headstart", "embed", str(folder), "--model", str(backbone)]
    options = ["-o", str(tmp_path / "a.h5"), "--engine", "ray", "--address", address]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the Ray cluster at {address} cannot be reached: ")
    assert done.stderr.count("\n") == 1


def test_without_ray_the_extra_is_named(folder, backbone, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "headstart\[ray\]"'):
        embed(folder, backbone, tmp_path / "a.h5", options=EngineOptions(engine="ray"))


@pytest.mark.parametrize("settings", [{"engine": "spark"}, {"address": "auto"}, {"gpus_per_worker": 1}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(OptionError):
        EngineOptions(**settings)


TWO_NODES = """
import json, os, signal, sys, threading, time
from ray.cluster_utils import Cluster
import ray
from headstart.extract import EngineOptions, embed

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
killed = []

def kill(progress):
    if progress.done > 200 and not killed:
        killed.append(progress.done)
        cluster.remove_node(second, allow_graceful=False)

images, model, output = sys.argv[1:]
_, summary = embed(images, model, output, options=EngineOptions(engine="ray", isolate=False, workers=2), progress=kill)
print(json.dumps({"killed": killed, "inputs": summary.inputs, "failed": summary.failed}), flush=True)
os._exit(0)  # a cluster in one process, one of whose nodes was killed, does not end in peace
"""


def test_a_node_that_dies_costs_no_row(picture, backbone, tmp_path):
    import json

    drawn = [picture(number, size=(400, 300)) for number in range(40)]
    for number in range(800):
        path = tmp_path / "photos" / ("ash", "oak")[number % 2] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn[number % 40] + str(number).encode())
    whole, _ = embed(tmp_path / "photos", backbone, tmp_path / "local.h5", options=EngineOptions(isolate=False))
    command = [sys.executable, "-c", TWO_NODES, tmp_path / "photos", backbone, tmp_path / "ray.h5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["killed"]
    assert said["inputs"] == 800
    assert_same(open_store(tmp_path / "ray.h5"), whole)


RAY_TEXT = """ray::MapWorker(MapBatches(EmbeddingActor)).submit() (pid=7, ip=10.0.0.1)
  File "local.py", line 3, in write_shard
OSError: [Errno 28] No space left on device

The above exception was the direct cause of the following exception:
{error}
The worker that ran this task may be short of resources. To see the logs, run `ray logs`.
"""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("headstart.files.errors.OutputError: x: no space left", OutputError, "x: no space left"),
        ("headstart.extract.errors.ProviderError: no GPU", ProviderError, "no GPU"),
        (
            "ray.exceptions.OutOfDiskError: the disk is full",
            EngineError,
            "Ray failed: OutOfDiskError: the disk is full",
        ),
        ("", EngineError, "Ray failed: OSError: [Errno 28] No space left on device; finished rows are kept"),
    ],
)
def test_the_fault_is_found_among_what_ray_says(error, kind, message):
    fault = original_error(Exception(RAY_TEXT.format(error=error)))
    assert type(fault) is kind
    assert str(fault).startswith(message)
