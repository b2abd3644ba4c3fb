import sys

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest

import extract.providers
from extract.errors import ProviderError
from extract.model import parse_model, read_model
from extract.providers import AUTO, PROVIDERS, Provider, open_session


@pytest.fixture(scope="module")
def model(backbone):
    return read_model(backbone)


@pytest.fixture
def offered(monkeypatch):
    """Let onnxruntime claim to hold these providers, whether they run here or not."""

    def offered(*names: str) -> None:
        claimed = [PROVIDERS[name].name for name in names]
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda: claimed)

    return offered


def refusal(model, provider: str) -> str:
    with pytest.raises(ProviderError) as caught:
        open_session(model, provider)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_name_is_one_of_onnxruntime():
    assert {entry.name for entry in PROVIDERS.values()} <= set(onnxruntime.get_all_providers())
    assert set(AUTO) <= set(PROVIDERS)
    assert AUTO[-1] == "cpu"


def test_the_processor_runs_everywhere_and_says_so(model):
    session = open_session(model, "cpu")
    assert session.provider == session.active[0] == "CPUExecutionProvider"
    assert not session.exclusive
    assert session.passed_over == []


def test_it_computes_what_the_graph_says(model):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = onnx.reference.ReferenceEvaluator(onnx.load_model_from_string(model.data)).run(None, {"image": pixels})
    given = open_session(model, "cpu").run(pixels)
    assert (given.dtype, given.shape) == (np.float32, (3, 16))
    np.testing.assert_allclose(given, expected[0], rtol=1e-4, atol=1e-5)


def test_an_unknown_name_is_answered_with_the_known_ones(model):
    assert refusal(model, "gpu").endswith(
        "'gpu'; expected auto or one of tensorrt, cuda, openvino, coreml, directml, cpu"
    )


def test_an_absent_provider_is_answered_with_those_that_are_here(model, offered):
    offered("cpu", "coreml")
    assert refusal(model, "cuda") == "provider 'cuda' is not in the installed onnxruntime; here: coreml, cpu"


def test_a_provider_that_is_claimed_but_does_not_run_is_refused(model, offered):
    offered("directml", "cpu")
    assert f"{model.source}: does not run on provider 'directml': " in refusal(model, "directml")


def test_a_provider_that_onnxruntime_replaces_by_another_is_refused(model, monkeypatch):
    monkeypatch.setattr("extract.providers.Session.active", ["OtherExecutionProvider"])
    assert "'cpu' does not run here (onnxruntime offered ['OtherExecutionProvider'])" in refusal(model, "cpu")


def test_a_session_that_cannot_be_made_is_told_in_one_line(model, monkeypatch):
    def fail(*_):
        raise RuntimeError("first line\n\tsecond line")

    monkeypatch.setattr("extract.providers.Session", fail)
    assert refusal(model, "cpu") == f"{model.source}: does not run on provider 'cpu': first line second line"


def test_a_session_that_cannot_run_a_batch_is_refused_before_any_work(model, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("extract.providers.Session.run", fail)
    assert "out of memory" in refusal(model, "cpu")


def test_a_graph_that_does_not_hold_together_is_refused(make_backbone):
    proto = onnx.load_model_from_string(make_backbone())
    proto.graph.node[3].input[1] = "nothing"
    assert "does not run on provider 'cpu'" in refusal(parse_model(proto.SerializeToString(), "my.onnx"), "cpu")


def test_auto_takes_the_first_that_runs_and_tells_of_the_others(model, monkeypatch, offered):
    offered("tensorrt", "cuda", "directml", "cpu")
    opened, real = [], extract.providers._open

    def open_some(model, name, output):
        opened.append(name)
        if name != "cpu":
            raise ProviderError(f"no {name} here")
        return real(model, name, output)

    monkeypatch.setattr("extract.providers._open", open_some)
    session = open_session(model, "auto")
    assert opened == ["cuda", "directml", "cpu"]
    assert session.provider == "CPUExecutionProvider"
    assert session.passed_over == ["no cuda here", "no directml here"]


def test_auto_where_nothing_runs_gives_every_reason(model, monkeypatch, offered):
    offered("cuda", "cpu")

    def refuse(model, name, output):
        raise ProviderError(f"no {name} here")

    monkeypatch.setattr("extract.providers._open", refuse)
    assert refusal(model, "auto") == "no provider runs here: no cuda here; no cpu here"


def test_the_options_of_a_provider_reach_onnxruntime(model, monkeypatch):
    asked, real = [], onnxruntime.InferenceSession

    def session(data, options, providers):
        asked.append(providers)
        return real(data, options, providers=providers)

    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    monkeypatch.setitem(PROVIDERS, "cpu", Provider("CPUExecutionProvider", {"key": "value"}, exclusive=False))
    open_session(model, "cpu")
    assert asked == [[("CPUExecutionProvider", {"key": "value"})]]


def test_a_missing_onnxruntime_is_told_with_what_installs_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert refusal(model, "auto").startswith("onnxruntime is not installed; ")
