from contextlib import suppress
from unittest import SkipTest

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from headstart.classify.heads.linear.estimators import CommonScaler


@parametrize_with_checks([CommonScaler()])
def test_it_is_a_transformer_of_scikit_learn(estimator, check):
    with suppress(SkipTest):  # some are about SCIPY_ARRAY_API
        check(estimator)


def test_all_features_are_divided_by_one_number():
    points = np.random.default_rng(0).normal(5, 1, (50, 8)) * np.arange(8)
    found = CommonScaler().fit(points)
    assert len(set(found.scale_.tolist())) == 1
    assert found.transform(points).var() == pytest.approx(1)
    assert found.inverse_transform(found.transform(points)) == pytest.approx(points)
    assert CommonScaler().fit_transform(np.ones((3, 2))).tolist() == [[0, 0]] * 3
