import numpy as np
import pytest

from headstart.classify.errors import HeadError
from headstart.classify.heads.kinds import fit_head
from headstart.classify.heads.logreg import DEFAULT_C
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS, make_head


def numbers(head) -> list[np.ndarray]:
    """All that a fitted head has learnt."""
    model = head.steps[-1][1]
    return [*model.coefs_, *model.intercepts_] if hasattr(model, "coefs_") else [model.coef_, model.intercept_]


def fitted(name: str, points, codes, **options):
    chosen = HeadOptions(**options)
    return fit_head(make_head(name, chosen), points, codes, chosen)


def test_an_unknown_head_lists_the_names():
    with pytest.raises(HeadError, match=r"unknown head 'forest'; expected one of logreg, mlp$"):
        make_head("forest", HeadOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": "heavy"}, "unknown class weight 'heavy'; expected one of none, balanced"),
        ({"c": 0.0}, "C must be above 0, found 0.0"),
        ({"c": -1.0}, "C must be above 0"),
        ({"c": float("nan")}, "C must be above 0, found nan"),
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


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("k", [2, 3])
def test_a_head_learns(head, k, clusters):
    points, codes = clusters(120, k)
    model = fitted(head, points[:90], codes[:90], c=1.0)
    assert model.score(points[90:], codes[90:]) > 0.8


@pytest.mark.parametrize("head", HEADS)
def test_the_same_seed_gives_the_same_weights(head, clusters):
    points, codes = clusters(60, 3)
    first, again = (numbers(fitted(head, points, codes, seed=7)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_another_seed_gives_another_network(clusters):
    points, codes = clusters(60, 3)
    first, other = (numbers(fitted("mlp", points, codes, seed=seed))[0] for seed in (0, 1))
    assert not np.allclose(first, other)


@pytest.mark.parametrize("head", HEADS)
def test_balanced_weights_help_the_rare_class(head, clusters):
    points, codes = clusters(400, 2, spread=4.0)
    kept = np.flatnonzero((codes == 0) | (np.arange(len(codes)) % 16 == 1))
    points, codes = points[kept], codes[kept]
    plain, balanced = (fitted(head, points, codes, class_weight=w, c=1.0).predict(points) for w in ("none", "balanced"))
    assert (balanced == 1).sum() > (plain == 1).sum()


def test_balanced_weights_change_nothing_where_classes_are_even(clusters):
    points, codes = clusters(60, 3)
    plain, balanced = (numbers(fitted("logreg", points, codes, class_weight=w)) for w in ("none", "balanced"))
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(plain, balanced, strict=True))


def test_without_a_c_there_is_a_default():
    assert make_head("logreg", HeadOptions())[-1].C == DEFAULT_C
    assert make_head("logreg", HeadOptions(c=3.0))[-1].C == 3


def test_a_network_may_have_three_large_hidden_layers(clusters):
    points, codes = clusters(40, 2)
    options = HeadOptions(hidden=(1024, 1024, 512))
    model = fit_head(make_head("mlp", options).set_params(mlpclassifier__max_iter=8), points, codes, options)
    assert [weights.shape for weights in model.steps[-1][1].coefs_] == [(16, 1024), (1024, 1024), (1024, 512), (512, 1)]
    assert model.score(points, codes) == 1


@pytest.mark.parametrize("head", HEADS)
def test_fitting_warns_of_nothing_on_rows_that_are_few_or_constant(head):
    points = np.zeros((4, 16), np.float32)
    points[2:, 0] = 1
    assert fitted(head, points, np.array([0, 0, 1, 1], np.int32)).predict_proba(points).shape == (4, 2)
