import pytest

from headstart.classify.heads.candidate import Candidate


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "logreg"),
        ({"c": 0.03}, "logreg with C = 0.03"),
        ({"c": 3e-5, "epochs": 12, "scaling": "raw"}, "logreg with C = 3e-05 and epochs = 12 on raw embeddings"),
    ],
)
def test_a_candidate_names_its_settings(settings, words):
    candidate = Candidate("logreg", settings, 0.25, 0.9)
    assert candidate.words == words
    expected = {"head": "logreg", "c": settings.get("c"), "settings": settings, "log_loss": 0.25, "accuracy": 0.9}
    assert candidate.to_json() == expected
