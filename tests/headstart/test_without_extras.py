"""What an installation without extras does: everything with folders, and a clear word where a package is missing."""

import subprocess
import sys

import pytest

BLOCKED = (
    "pyarrow",
    "pandas",
    "tensorflow",
    "keras",
    "tf2onnx",
    "s3fs",
    "ray",
    "openvino",
    "cleanlab",
    "jinja2",
    "skl2onnx",
    "starlette",
    "uvicorn",
)
PROGRAM = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None
from headstart.cli import main
main()
"""


@pytest.fixture
def bare(tmp_path):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    return run


def test_photos_go_to_predictions_without_any_extra(bare, tiny_photos, tiny_backbone, tmp_path):
    for line in (
        ["train", tiny_photos, "--backbone", tiny_backbone, "-o", "trees.onnx"],
        ["evaluate", "trees.h5", "--classifier", "trees.onnx"],
        ["score", tiny_photos, "--classifier", "trees.onnx", "-o", "p.csv"],
        ["predict", "trees.onnx", tiny_photos / "ash" / "000.png"],
        ["inspect", "trees.onnx"],
    ):
        done = bare(*line)
        assert done.returncode == 0, done.stderr


def test_parquet_files_name_the_extra(bare, tiny_photos, tiny_classifier, tiny_backbone, tmp_path):
    import pyarrow
    import pyarrow.parquet

    images = [path.read_bytes() for path in sorted((tiny_photos / "birch").iterdir())[:3]]
    paths = [f"{tiny_photos}/birch/{number:03}.png" for number in range(3)]
    (tmp_path / "shards").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"image": images}), tmp_path / "shards" / "0.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"path": paths}), tmp_path / "list.parquet")
    for line in (
        ["embed", "shards", "--model", tiny_backbone],
        ["embed", "shards/0.parquet", "--model", tiny_backbone],
        ["embed", "list.parquet", "--model", tiny_backbone],
        ["score", tiny_photos, "--classifier", tiny_classifier, "-o", "p.parquet"],
        ["predict", tiny_classifier, tiny_photos / "ash" / "000.png", "-o", "p.parquet"],
    ):
        done = bare(*line)
        assert done.returncode == 1, line
        assert "Parquet files need pyarrow" in done.stderr
        assert 'pip install "headstart[parquet]"' in done.stderr
        assert done.stderr.count("\n") == 1
        assert not list(tmp_path.glob("p.*"))
