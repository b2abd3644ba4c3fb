from dataclasses import replace

import pytest

from headstart.classify.labels.names import NAME, PATH, STEM, PhotoNames


def find(make_store, paths, name, root="/data/dogs/train"):
    paths = sorted(paths)
    store = make_store([None] * len(paths), paths=paths)
    photos, rank = PhotoNames(replace(store, header=replace(store.header, root=root))).find(name)
    return [paths[photo] for photo in photos], PhotoNames.kind_of(rank) if rank else None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pug/1.jpg", PATH),
        ("./pug/1.jpg", PATH),
        (" pug\\1.jpg ", PATH),
        ("/data/dogs/train/pug/1.jpg", PATH),
        ("train/pug/1.jpg", NAME),
        ("../train/pug/1.jpg", NAME),
        ("1.jpg", NAME),
        ("/kaggle/input/pug/1.jpg", NAME),
        ("1", STEM),
        ("train/pug/1", STEM),
        ("1.png", STEM),
        ("1.JPG", NAME),
        ("PUG/1", STEM),
    ],
)
def test_a_name_finds_its_photo(make_store, name, kind):
    assert find(make_store, ["pug/1.jpg", "pug/11.jpg", "boxer/2.jpg"], name) == (["pug/1.jpg"], kind)


@pytest.mark.parametrize("name", ["boxer/1.jpg", "3", "", "jpg", "pug", "1.jpg/pug", "ug/1.jpg", "test/pug/1.jpg/x"])
def test_a_folder_or_name_that_disagrees_is_another_photo(make_store, name):
    assert find(make_store, ["pug/1.jpg", "boxer/2.jpg"], name) == ([], None)


def test_the_surest_meaning_wins(make_store):
    paths = ["1.jpg", "pug/1.jpg", "pug/1.png", "pug/a.JPG", "pug/A.jpg"]
    assert find(make_store, paths, "1.jpg") == (["1.jpg"], PATH)
    assert find(make_store, paths, "pug/1") == (["pug/1.jpg", "pug/1.png"], STEM)
    assert find(make_store, paths, "1.png") == (["pug/1.png"], NAME)
    assert find(make_store, paths, "a.JPG") == (["pug/a.JPG"], NAME)
    assert find(make_store, ["c1/1.jpg", "c2/1.jpg"], "1") == (["c1/1.jpg", "c2/1.jpg"], STEM)


def test_names_that_look_the_same_are_the_same(make_store):
    assert find(make_store, ["caf\u00e9.jpg", "b.jpg"], "cafe\u0301")[0] == ["caf\u00e9.jpg"]
    assert find(make_store, ["img.001.jpg", "img.002.jpg"], "img.001")[0] == ["img.001.jpg"]


def test_a_photo_right_in_the_root_is_found_by_a_longer_path(make_store):
    assert find(make_store, ["1.jpg"], "elsewhere/1.jpg")[0] == ["1.jpg"]
