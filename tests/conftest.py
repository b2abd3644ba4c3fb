"""What every test may ask for: the real weights and photos where they are, and files made from them once a session."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = "weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture(scope="session")
def shared():
    """Give the path of a real file or folder beside the checkout; skip where there are none.

    With ``HEADSTART_REQUIRE_SHARED=1`` a part that is missing from an existing ``../shared`` fails instead of skipping.
    """

    def find(part: str) -> Path:
        path = SHARED / part
        if path.exists():
            return path
        if SHARED.exists() and os.environ.get("HEADSTART_REQUIRE_SHARED") == "1":
            pytest.fail(f"{path} is missing from {SHARED}")
        pytest.skip(f"needs real data: {path} does not exist")

    return find


@pytest.fixture(scope="session")
def real_weights(shared) -> Path:
    return shared(WEIGHTS)
