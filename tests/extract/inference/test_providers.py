import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest

import headstart.extract.inference.providers
from headstart.extract.errors import ProviderError
from headstart.extract.inference.model import parse_model, read_model
from headstart.extract.inference.providers import AUTO, PROVIDERS, Provider, open_session
from headstart.extract.inference.sessions import OnnxruntimeSession


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


def test_every_name_is_one_of_its_runtime():
    names = {entry.name for entry in PROVIDERS.values() if entry.session is OnnxruntimeSession}
    assert names <= set(onnxruntime.get_all_providers())
    assert set(AUTO) <= set(PROVIDERS)
    assert AUTO[-1] == "cpu"


def test_the_processor_runs_everywhere_and_says_so(model):
    session = open_session(model, "cpu")
    assert session.provider == "CPUExecutionProvider"
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
        "'gpu'; expected auto or one of tensorrt, tensorrt-fp16, cuda, coreml, directml, openvino, openvino-bf16, cpu"
    )


def test_an_absent_provider_is_answered_with_those_that_are_here(model, offered):
    offered("cpu", "coreml")
    said = refusal(model, "cuda")
    assert said == "provider 'cuda' is not installed; here: coreml, openvino, openvino-bf16, cpu"


def test_a_provider_that_is_claimed_but_does_not_run_is_refused(model, offered):
    offered("directml", "cpu")
    assert f"{model.source}: does not run on provider 'directml': " in refusal(model, "directml")


def test_a_provider_that_onnxruntime_replaces_by_another_is_refused(model, monkeypatch):
    monkeypatch.setattr("onnxruntime.InferenceSession.get_providers", lambda _: ["OtherExecutionProvider"])
    assert "CPUExecutionProvider does not run here (onnxruntime offered OtherExec" in refusal(model, "cpu")


def test_a_session_that_cannot_be_made_is_told_in_one_line(model, monkeypatch):
    def fail(*_):
        raise RuntimeError("first line\n\tsecond line")

    monkeypatch.setattr("headstart.extract.inference.providers.Provider.open", fail)
    assert refusal(model, "cpu") == f"{model.source}: does not run on provider 'cpu': first line second line"


def test_a_session_that_cannot_run_a_batch_is_refused_before_any_work(model, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("headstart.extract.inference.sessions.Session.run", fail)
    assert "out of memory" in refusal(model, "cpu")


def test_a_graph_that_does_not_hold_together_is_refused(backbone_bytes):
    proto = onnx.load_model_from_string(backbone_bytes())
    next(node for node in proto.graph.node if node.op_type == "Conv").input[1] = "nothing"
    assert "does not run on provider 'cpu'" in refusal(parse_model(proto.SerializeToString(), "my.onnx"), "cpu")


def test_auto_takes_the_first_that_runs_and_tells_of_the_others(model, monkeypatch, offered):
    offered("tensorrt", "cuda", "directml", "cpu")
    opened, real = [], headstart.extract.inference.providers._open

    def open_some(model, name, output):
        opened.append(name)
        if name != "cpu":
            raise ProviderError(f"no {name} here")
        return real(model, name, output)

    monkeypatch.setattr("headstart.extract.inference.providers._open", open_some)
    session = open_session(model, "auto")
    assert opened == ["cuda", "directml", "cpu"]
    assert session.provider == "CPUExecutionProvider"
    assert session.passed_over == ["no cuda here", "no directml here"]


def test_auto_where_nothing_runs_gives_every_reason(model, monkeypatch, offered):
    offered("cuda", "cpu")

    def refuse(model, name, output):
        raise ProviderError(f"no {name} here")

    monkeypatch.setattr("headstart.extract.inference.providers._open", refuse)
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


@pytest.mark.parametrize(("provider", "tolerance"), [("openvino", 1e-4), ("openvino-bf16", 3e-2)])
def test_openvino_computes_what_onnxruntime_does_from_any_thread(model, provider, tolerance):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = open_session(model, "cpu").run(pixels)
    session = open_session(model, provider)
    with ThreadPoolExecutor(4) as pool:
        for given in pool.map(lambda _: session.run(pixels), range(8)):
            np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)
    assert session.provider.startswith("OpenVINO")


def test_a_provider_that_computes_something_else_is_refused(model, monkeypatch, offered):
    class Wrong(OnnxruntimeSession):
        def _run(self, pixels):
            return np.roll(super()._run(pixels), 1, axis=1) * [[1, -1] * 8]

    offered("cuda", "cpu")
    monkeypatch.setitem(PROVIDERS, "cuda", Provider("CPUExecutionProvider", session=Wrong))
    assert "'cuda' runs here but disagrees with the CPU" in refusal(model, "cuda")
    assert "disagrees with the CPU" in open_session(model, "auto").passed_over[0]
