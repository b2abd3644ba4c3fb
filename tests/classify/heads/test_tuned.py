"""A store from elsewhere may hold any text where the tuned head is noted."""

import json
from dataclasses import replace

import numpy as np
import pytest

from headstart.classify.heads import tuned
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS
from headstart.extract.errors import StoreError

SOUND = {
    "classes": ["ash", "birch", "cedar"],
    "weights": np.ones((16, 3), "<f4").tobytes().hex(),
    "bias": np.zeros(3, "<f4").tobytes().hex(),
}


@pytest.fixture
def store(clustered):
    made = clustered()
    return replace(made, header=replace(made.header, model={**made.header.model, "tuned": {"images": 3}}))


def test_a_sound_head_is_used(store, monkeypatch):
    monkeypatch.setattr(tuned, "_noted", lambda *_: json.dumps(SOUND))
    assert tuned.tuned_head(store, HEADS["logreg"], HeadOptions()) is not None


@pytest.mark.parametrize(
    "text",
    [
        "{", "[1]", "null", "{}", "[" * 100_000,
        *(
            json.dumps(SOUND | change)
            for change in (
                {"classes": 3}, {"classes": SOUND["classes"][:2]}, {"weights": "zz"}, {"weights": "00"},
                {"weights": None}, {"bias": "00000000"}, {"bias": np.full(3, np.nan, "<f4").tobytes().hex()},
                {"weights": np.full((16, 3), np.inf, "<f4").tobytes().hex()},
            )
        ),
    ],
)  # fmt: skip
def test_a_damaged_head_is_an_error_that_names_the_store(store, monkeypatch, text):
    monkeypatch.setattr(tuned, "_noted", lambda *_: text)
    with pytest.raises(StoreError, match=r"made\.h5: the head that was tuned with its backbone is damaged"):
        tuned.tuned_head(store, HEADS["logreg"], HeadOptions())


@pytest.mark.parametrize("images", [float("inf"), "many", None])
def test_a_damaged_number_of_images_is_one_too(store, monkeypatch, images):
    monkeypatch.setattr(tuned, "_noted", lambda *_: json.dumps(SOUND))
    store = replace(store, header=replace(store.header, model={**store.header.model, "tuned": {"images": images}}))
    with pytest.raises(StoreError, match=r"made\.h5: the head that was tuned with its backbone is damaged"):
        tuned.tuned_head(store, HEADS["logreg"], HeadOptions())
