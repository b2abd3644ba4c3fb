import pytest

from headstart.files.errors import LocationError
from headstart.files.urls import is_url, local_path, without_scheme


@pytest.mark.parametrize("name", ["file", "local", "photos/file", "a:b"])
def test_a_path_named_like_a_scheme_stays_a_path(name):
    assert without_scheme(name) == name
    assert str(local_path(name)) == name


def test_urls_of_this_machine_are_paths_and_others_stay():
    assert without_scheme("file:///a/b.jpg") == "/a/b.jpg"
    assert without_scheme("s3://a/b") == "s3://a/b"
    assert is_url("s3://a/b")
    with pytest.raises(LocationError, match="expected a local path, found a URL"):
        local_path("s3://a/b.onnx")
