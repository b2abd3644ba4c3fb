import pytest

from headstart.classify.report.text import counted, percent, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain café 中文 👩‍🌾", "plain café 中文 👩‍🌾"),
        ("a\nb\tc\x00", r"a\nb\tc\x00"),
        ("\u202e\u2066\ufeff", r"\u202e\u2066\ufeff"),
        ("\udcff\ud800", r"\xff\ud800"),
        ("a" * 100 + "b" * 200, "a" * 66 + "…" + "b" * 133),
    ],
)
def test_names_become_text_that_can_be_shown(text, expected):
    assert printable(text) == expected
    assert printable(text).encode()


def test_figures_are_never_rounded_to_certainty():
    shown = ["0%", "100%", "over 99.9%", "under 0.1%", "50.0%"]
    assert [percent(share) for share in (0, 1, 0.9999, 0.0001, 0.5)] == shown
    assert [counted(1, "photo"), counted(1200, "class", "classes")] == ["1 photo", "1,200 classes"]
