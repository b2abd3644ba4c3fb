import pytest

from headstart.classify.errors import LabelError
from headstart.classify.labels.where import parse_condition

ROW = {
    "site": "3", "code": "03", "name": "Ann", "empty": None, "size": "2.5", "taken": "2024-05-01T12:30:00",
    "camera model": "EOS 5D", "class": "pug", "good": "True", "other": "4",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("site == 3", True),
        ("site != 3", False),
        ("site == 3.0 and code == 3", True),
        ("site == '3' and code != '3'", True),
        ("size > 2 and size <= 2.5", True),
        ("2 < site < 4", True),
        ("2 < site < 3", False),
        ("size > -1", True),
        ("name == 3", False),
        ("name != 3", True),
        ("name in ('Bob', 'Ann')", True),
        ("site in [1, 3]", True),
        ("site not in (1, 3)", False),
        ("not (name == 'Ann' or site == 4)", False),
        ("taken >= '2024-05' and taken < '2024-06'", True),
        ("`camera model` == 'EOS 5D' and `class` == 'pug'", True),
        ("name == '`class`'", False),
        ("good == True", True),
        ("good == False", False),
        ("site < other", True),
        ("site != code", False),
        ("name < other", False),
        ("empty == 3", None),
        ("empty != 3", None),
        ("not empty == 3", None),
        ("empty in (3, 4)", None),
        ("empty == 3 and site == 4", False),
        ("empty == 3 or site == 3", True),
        ("empty is None", True),
        ("empty == None or site == 3", True),
        ("site is not None", True),
        ("empty != 3 or empty is None", True),
    ],
)
def test_conditions(text, holds):
    condition = parse_condition(text)
    assert condition.holds(ROW, "row 1") is holds
    assert {*condition.columns} <= ROW.keys()


@pytest.mark.parametrize(
    "text",
    [
        "", "site", "site =", "site = 3", "3 == 3", "site == name()", "__import__('os').system('true')", "site.x == 3",
        "site == (lambda: 3)", "site == 3 if name else 4", "[x for x in site]", "site in name", "site in 'abc'",
        "f'{x}' == 1", "site == b'3'",
        "site == 3; name == 4", "site is 3", "site < None", "class == 'pug'", "camera model == 'A'", "site + 1 == 3",
        "site == 3 #" + "x" * 20_000, "not " * 5_000 + "site == 3", "(" * 5_000 + "site == 3" + ")" * 5_000,
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(LabelError, match="expected a condition such as") as caught:
        parse_condition(text)
    assert "\n" not in str(caught.value)


def test_ordering_text_against_a_number_names_the_row():
    with pytest.raises(LabelError, match=r"^labels.csv: row 7, column 'name': expected a number .* 3, .* found 'Ann'$"):
        parse_condition("name < 3").holds(ROW, "labels.csv: row 7")
