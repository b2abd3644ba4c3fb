import os

import pytest

from headstart.export import OutputError, ParityError, export_backbone
from headstart.export.output import check_output, write_atomically


def test_a_write_replaces_the_file_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "b.onnx"
    for content in (b"old", b"new content"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "b.onnx"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"b\.onnx: writing 3 bytes failed .*No space left") as error:
        write_atomically(path, b"new")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("where", "expected"), [("", "is a folder"), ("no/b.onnx", "does not exist"), ("file/b.onnx", "does not exist")]
)
def test_an_impossible_output_is_found_first(where, expected, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=expected) as error:
        export_backbone(tmp_path / where, weights="random")
    assert "\n" not in str(error.value)
    assert str(tmp_path / where) in str(error.value)


@pytest.mark.parametrize("name", ["backbone", "backbone.h5", "backbone.onnx.bak", "photo.jpg"])
def test_another_suffix_is_refused(name, tmp_path):
    with pytest.raises(OutputError, match=r"expected a name that ends in \.onnx") as error:
        check_output(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("content", [b"", b"another network", b"a headstart-classifier"])
def test_another_file_under_the_name_is_refused_and_kept(content, tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"mine\.onnx: exists and is no backbone of Headstart: choose another name"):
        export_backbone(path, weights="random")
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_backbone_may_be_replaced(make_backbone, tmp_path):
    assert check_output(make_backbone(tmp_path / "b.onnx")) is None


def test_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    def denied(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    with pytest.raises(OutputError, match=r"cannot write in the folder .*Permission denied"):
        check_output(tmp_path / "b.onnx")


def test_an_impossible_output_costs_no_import_of_tensorflow(python, tmp_path):
    program = (
        "import export, sys\n"
        f"try: headstart.export.export_backbone({str(tmp_path)!r}, weights='random')\n"
        "except export.OutputError: print('tensorflow' in sys.modules)"
    )
    assert python(program).stdout == "False\n"


def test_a_parity_failure_writes_nothing(frameworks, tmp_path, monkeypatch):
    import headstart.export.conversion.parity

    run = headstart.export.conversion.parity.run_onnx
    monkeypatch.setattr(headstart.export.conversion.parity, "run_onnx", lambda *a: run(*a) * 1.01)
    path = tmp_path / "b.onnx"
    path.write_bytes(b"an old headstart-backbone")
    with pytest.raises(ParityError, match="ONNX and Keras differ by"):
        export_backbone(path, weights="random", image_size=96, width=0.35)
    assert path.read_bytes() == b"an old headstart-backbone"
    assert list(tmp_path.iterdir()) == [path]
