"""Few photos, so that a run has four shards and takes a fraction of a second."""

from collections.abc import Iterator

import pytest

from torture.scene import Scene

PHOTOS = 13


@pytest.fixture(scope="session")
def scene(tmp_path_factory) -> Iterator[Scene]:
    """Photos, a backbone, a store and a classifier, which the faults of this room share."""
    found = Scene.make(tmp_path_factory.mktemp("torture"), PHOTOS)
    yield found
    found.close()
