"""Where a classifier came from, as recorded in its file."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from headstart.classify.confidence.calibrated_head import CalibratedHead
from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.heads.fitting import Fitted
from headstart.classify.split.duplicates import Duplicates
from headstart.classify.split.holdout import digest_of_rows
from headstart.extract.store.store import Store


def provenance_of(
    store: Store,
    left_out: list[str],
    fitted: Fitted,
    head: CalibratedHead,
    evaluation: Evaluation,
    duplicates: Duplicates,
    holdout: float,
) -> dict[str, dict[str, Any]]:
    """Record what a classifier was made from, how, and how it did, as entries of its file's metadata.

    ``head`` has its name and options, ``calibration`` the errors before and after, ``trained_on`` the store, the rows
    used, the classes left out and the versions, and ``measured`` the metrics on rows that it was not trained on.
    """
    calibration = head.calibration
    errors = calibration and {"error_before": calibration.before.error, "error_after": calibration.after.error}
    return {
        "head": {"name": fitted.search.chosen.head, **asdict(fitted.options)},
        "calibration": errors or {},
        "trained_on": {
            "store": store.location.name,
            "rows_sha256": digest_of_rows(store),
            "versions": {name: version(name) for name in ("headstart", "scikit-learn", "numpy", "onnx")},
            "images": fitted.trained_images,
            "judged_on": fitted.split.origin,
            "holdout": holdout,
            "left_out": left_out,
            "copies": [group.rows for group in duplicates.groups],
        },
        "measured": {
            "images": evaluation.images,
            "accuracy": evaluation.accuracy,
            "log_loss": evaluation.log_loss,
            "calibration_error": evaluation.reliability.error,
        },
    }
