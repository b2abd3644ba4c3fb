"""What a report says, and what it leaves out."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from headstart.classify.evaluation.learning_curve import LearningCurve
from headstart.classify.report import photos as photos_module
from headstart.extract import embed, open_store

OPTIONAL = {"mistakes", "label-issues", "duplicates", "baselines", "learning-curve", "unknown", "failures"}


def test_the_page_has_the_figures_of_the_result(hostile):
    page, result = hostile.page, hostile.result
    evaluation, unknown = result.evaluation, result.unknown
    for text in (
        "flowers.onnx", f"{100 * evaluation.accuracy:.1f}%", f"{100 * evaluation.majority:.1f}%",
        f"{100 * evaluation.untrained:.1f}%", f"{evaluation.log_loss:.3f}", f"{unknown.distance:.3g}",
        f"logistic regression with C = {result.search.chosen.c:g}", result.search.reason, result.judged_on,
        result.classifier.model.sha256,
    ):  # fmt: skip
        assert text in page.text, text
    for warning in result.warnings:
        assert warning[1:] in page.text
    assert np.array_equal(page.data["confusion"]["counts"], evaluation.confusion)
    assert page.data["mistakes"]["total"] == len(evaluation.mistakes) > 1
    assert {row[0]: row[2:] for row in page.data["table"]["rows"]} == {
        code: pytest.approx([one.images, one.precision, one.recall, one.f1, one.roc_auc, one.pr_auc], abs=1e-6)
        for code, one in enumerate(evaluation.classes)
    }
    assert [row[0] for row in page.data["failures"]["rows"]] == ["birch/broken<b>.png"]
    assert [one["c"] for one in page.data["search"]["candidates"] if one["chosen"]] == [result.search.chosen.c]
    points = page.data["learning_curve"]["points"]
    assert [point["images"] for point in points] == [point.images for point in result.learning_curve.points]


def test_mistakes_are_sorted_by_confidence_and_cells_have_their_own_photos(hostile):
    page = hostile.page
    shown = [page.photo(number) for number in page.data["mistakes"]["photos"]]
    assert [photo["predictions"][0][1] for photo in shown] == pytest.approx(
        [mistake.probability for mistake in hostile.result.evaluation.mistakes], abs=1e-4
    )
    for cell, numbers in page.data["confusion"]["cells"].items():
        label, prediction = map(int, cell.split(","))
        photos = [page.photo(number) for number in numbers]
        assert {(photo["label"], photo["predictions"][0][0]) for photo in photos} == {(label, prediction)}


def test_label_issues_and_duplicates_are_those_of_the_result(hostile):
    page, result = hostile.page, hostile.result
    shown = page.data["label_issues"]["items"]
    assert [page.photo(one["photo"])["path"] for one in shown] == [issue.path for issue in result.label_issues]
    assert [page.data["classes"][one["likely"]] for one in shown] == [issue.likely for issue in result.label_issues]
    (group,) = page.data["duplicates"]["groups"]
    assert (group["kind"], group["total"]) == ("exact", 2)
    assert {page.photo(number)["path"] for number in group["photos"]} == {"birch/001.png", "birch/copy.png"}


def test_thumbnails_show_the_photos_and_identical_files_share_one(hostile):
    page = hostile.page
    thumb = {photo["path"]: photo["thumb"] for photo in page.data["photos"]}
    assert thumb["birch/001.png"] == thumb["birch/copy.png"]
    assert len(thumb) == int(hostile.store.is_embedded.sum())
    assert sorted(set(thumb.values())) == list(range(len(thumb) - 1))
    with Image.open(io.BytesIO(base64.b64decode(page.data["thumbs"][0]))) as image:
        assert (image.format, image.size) == ("JPEG", (40, 30))


def test_a_deleted_photo_is_listed_without_a_thumbnail(reported, rewritten, draw_photos, tiny_backbone, tmp_path):
    photos = draw_photos(tmp_path / "photos", {"ash": 6, "birch": 6})
    trained = reported(embed(photos, tiny_backbone, tmp_path / "photos.h5")[0])
    (photos / "ash" / "000.png").unlink()
    thumb = {photo["path"]: photo["thumb"] for photo in rewritten(trained).data["photos"]}
    assert [path for path, number in thumb.items() if number is None] == ["ash/000.png"]


def test_a_section_without_data_is_left_out(hostile, reported, clustered):
    bare = reported(clustered(90, spread=0.1), false_alarms=0)
    assert hostile.page.sections - bare.page.sections == OPTIONAL - {"learning-curve"} | {"label-issues"}
    assert bare.result.evaluation.accuracy == 1


def test_a_result_without_a_learning_curve_has_no_section_for_it(hostile, rewritten):
    assert hostile.page.sections - rewritten(hostile, learning_curve=LearningCurve([])).sections == {"learning-curve"}


def test_the_baselines_are_listed_beside_this_head(hostile):
    for shown, baseline in zip(hostile.page.data["baselines"], hostile.result.baselines, strict=True):
        assert (shown["what"], shown["store"]) == (baseline.what, baseline.store)
        assert shown["accuracy"] == pytest.approx(baseline.accuracy, abs=1e-6)
        assert (shown["difference"] is None) == (baseline.difference is None)
    assert [one["row_bytes"] for one in hostile.page.data["baselines"]] == [32, 32, 32, None]


def test_a_tuned_backbone_has_the_epochs_of_its_tuning(reported, tuned_store):
    page = reported(open_store(tuned_store)).page
    text = "The layers after block_12 were tuned on 30 photos. Epoch 2 of 3 was best on 10 others and was kept."
    assert text in page.text
    epochs = page.data["tuning"]["epochs"]
    assert [(one["epoch"], one["log_loss"], one["accuracy"]) for one in epochs] == [
        (1, 0.31, 0.885), (2, 0.24, 0.92), (3, 0.26, 0.915),
    ]  # fmt: skip
    assert page.data["tuning"]["frozen"] == {"log_loss": 0.3, "accuracy": 0.89}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (0, "No photo was misclassified."),
        (0.04, "No two classes were confused more than once."),
        (0.3, "The most frequent confusion: “"),
        (0, "Clearly better than always predicting the most common class"),
        (0.7, "Not shown to be better than always predicting the most common class"),
        (0.3, "take every figure here as rough"),
    ],
)
def test_the_verdict_fits_the_figures(hostile, rewritten, with_mistakes, wrong, text):
    assert text in rewritten(hostile, **with_mistakes(hostile, wrong)).text


def test_the_same_result_gives_the_same_file(hostile, rewritten):
    assert rewritten(hostile).html == hostile.page.html


def test_the_photos_read_for_thumbnails_are_bounded(hostile, rewritten, monkeypatch):
    monkeypatch.setattr(photos_module, "MAX_READ", 20_000)
    assert 1 <= len(rewritten(hostile).data["thumbs"]) < 20


def test_figures_of_other_heads_than_the_files_are_called_so(clustered, reported):
    page = reported(clustered(60), folds=3).page
    assert "labelled image, by heads trained on 40 other photos; the classifier is trained on all of them." in page.text


def test_a_page_without_an_evaluation_tells_of_none(clustered, reported):
    page = reported(clustered(3)).page
    assert "Not evaluated: " in page.text
    assert "Evaluated on every" not in page.text
    assert "Nothing was compared: logreg with C = " in page.text
    assert "Compared on the training photos" not in page.text
