import pytest

from headstart.export import OutputError, ParityError, export_backbone


@pytest.mark.parametrize(
    ("where", "expected"), [("", "found a folder"), ("no/b.onnx", "does not exist"), ("file/b.onnx", "does not exist")]
)
def test_an_impossible_output_is_found_first(where, expected, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=expected) as error:
        export_backbone(tmp_path / where, weights="random")
    assert "\n" not in str(error.value)
    assert str(tmp_path / where) in str(error.value)


def test_a_file_that_is_no_backbone_is_refused_and_kept(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"a headstart-classifier")
    with pytest.raises(OutputError, match=r"mine\.onnx: exists and is not a backbone"):
        export_backbone(path, weights="random")
    assert path.read_bytes() == b"a headstart-classifier"
    assert list(tmp_path.iterdir()) == [path]


def test_an_impossible_output_costs_no_import_of_tensorflow(python, tmp_path):
    program = (
        "import headstart.export, sys\n"
        f"try: headstart.export.export_backbone({str(tmp_path)!r}, weights='random')\n"
        "except headstart.export.OutputError: print('tensorflow' in sys.modules)"
    )
    assert python(program).stdout == "False\n"


def test_a_parity_failure_writes_nothing(frameworks, tmp_path, monkeypatch):
    import headstart.export.conversion.parity

    run = headstart.export.conversion.parity.run_onnx
    monkeypatch.setattr(headstart.export.conversion.parity, "run_onnx", lambda *a: run(*a) * 1.01)
    path = tmp_path / "b.onnx"
    path.write_bytes(b"an old headstart-backbone")
    with pytest.raises(ParityError, match="ONNX and the reference differ by"):
        export_backbone(path, weights="random", image_size=96, width=0.35)
    assert path.read_bytes() == b"an old headstart-backbone"
    assert list(tmp_path.iterdir()) == [path]
