import numpy as np
import pytest

from headstart.classify.errors import HeadError
from headstart.classify.heads.kinds import fit_head
from headstart.classify.heads.linear.logreg import DEFAULT_C
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS, make_head


def fitted(name: str, points, codes, **options):
    chosen = HeadOptions(**options)
    return fit_head(make_head(name, chosen), points, codes, chosen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": "heavy"}, "unknown class weight 'heavy'; expected one of none, balanced"),
        ({"c": 0.0}, r"C must be above 0 and at most 1e\+06, found 0.0"),
        ({"c": -1.0}, "C must be above 0"),
        ({"c": float("nan")}, r"C must be above 0 and .*, found nan"),
        ({"c": float("inf")}, r"C must be above 0 and .*, found inf"),
        ({"c": 1e30}, r"C must be above 0 and .*, found 1e\+30"),
        ({"hidden": ()}, "at least one unit each"),
        ({"hidden": (8, 0)}, "at least one unit each"),
        ({"seed": -1}, "seed must lie between 0 and 4294967295, found -1"),
        ({"seed": 2**32}, "seed must lie between 0 and 4294967295, found 4294967296"),
    ],
)
@pytest.mark.parametrize("head", HEADS)
def test_an_option_out_of_range_is_refused(head, options, message):
    with pytest.raises(HeadError, match=message):
        make_head(head, HeadOptions(**options))


def test_another_seed_gives_another_network(clusters):
    points, codes = clusters(60, 3)
    first, other = (fitted("mlp", points, codes, seed=seed).predict_proba(points) for seed in (0, 1))
    assert not np.allclose(first, other)


def test_balanced_weights_change_nothing_where_classes_are_even(clusters):
    points, codes = clusters(60, 3)
    plain, balanced = (fitted("logreg", points, codes, class_weight=w) for w in ("none", "balanced"))
    assert plain.predict_proba(points) == pytest.approx(balanced.predict_proba(points), abs=1e-4)


def test_without_a_c_there_is_a_default():
    assert make_head("logreg", HeadOptions())[-1].C == DEFAULT_C
    assert make_head("logreg", HeadOptions(c=3.0))[-1].C == 3


def test_a_network_may_have_three_large_hidden_layers(clusters):
    points, codes = clusters(40, 2)
    options = HeadOptions(hidden=(1024, 1024, 512))
    model = fit_head(make_head("mlp", options).set_params(mlpclassifier__max_iter=8), points, codes, options)
    assert [weights.shape for weights in model.steps[-1][1].coefs_] == [(16, 1024), (1024, 1024), (1024, 512), (512, 1)]
    assert model.score(points, codes) == 1
