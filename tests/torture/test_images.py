from collections import Counter

import pytest

from headstart.extract import EngineOptions
from torture.pictures.contents import CUTS, FORMATS
from torture.pictures.folder import cases, check, images


def test_there_are_more_than_sixty_and_no_name_stands_twice():
    names = Counter(case.name for case in cases())
    assert len(names) > 250
    assert set(names.values()) == {1}
    assert sum(name.startswith(b"cut/") for name in names) == len(FORMATS) * (CUTS + 1)
    assert {case.like for case in cases()} - {b""} <= set(names)


@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.filterwarnings("ignore::Warning")  # pytest's own filters take the place of those that silence Pillow
def test_each_is_embedded_or_a_failure_with_the_right_reason(tmp_path, tiny_backbone, isolate):
    counts, wrong = check(tmp_path, tiny_backbone, EngineOptions(isolate=isolate))
    assert wrong == []
    assert counts["inputs"] == counts["embedded"] + counts["failed"] == counts["files"]
    assert counts["embedded"] > 100 < counts["failed"]


@pytest.mark.filterwarnings("ignore::Warning")
def test_wrong_results_are_reported(tmp_path, tiny_backbone, monkeypatch):
    monkeypatch.setattr("headstart.extract.decoding.decode.orientation_of", lambda image: 1)
    monkeypatch.setattr("headstart.extract.decoding.decode.MAX_PIXELS", 1 << 40)
    monkeypatch.setattr("torture.pictures.folder.bombs", list)
    monkeypatch.setattr("torture.pictures.folder.cut_off", list)
    _, wrong = check(tmp_path, tiny_backbone, EngineOptions(isolate=False))
    assert {line.partition(":")[0] for line in wrong} == {
        repr(f"turned/{number}.{form}".encode()) for number in range(2, 9) for form in ("jpeg", "png", "webp")
    }


@pytest.mark.filterwarnings("ignore::Warning")
def test_the_figures_of_many_runs(tiny_backbone, monkeypatch):
    monkeypatch.setattr("torture.pictures.folder.bombs", list)
    monkeypatch.setattr("torture.pictures.folder.cut_off", list)
    figures = images(2, tiny_backbone)
    assert (figures["runs"], figures["wrong"]) == (2, [])
    assert figures["embedded"] + figures["failed"] == figures["files"]
