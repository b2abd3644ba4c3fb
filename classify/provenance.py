"""Where a classifier came from, as recorded in its file."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from headstart.classify.confidence.calibrated_head import CalibratedHead
from headstart.classify.evaluation.measure import Measured
from headstart.classify.evaluation.metrics import none_if_nan
from headstart.classify.heads.fitting import Fitted
from headstart.classify.heads.options import SETTINGS
from headstart.classify.split.duplicates import Duplicates
from headstart.classify.split.holdout import digest_of_rows
from headstart.extract.store.store import Store


def provenance_of(
    store: Store,
    classes: list[str],
    fitted: Fitted,
    head: CalibratedHead,
    measured: Measured,
    duplicates: Duplicates,
    holdout: float,
) -> dict[str, dict[str, Any]]:
    """Record what a classifier was made from, how, and how it did, as entries of its file's metadata.

    ``head`` has its name, its own settings and the other options, ``calibration`` the errors before and after,
    ``trained_on`` the store, the rows used, the classes left out and the versions, and ``measured`` the metrics on rows
    that it was not trained on. If the head was then fitted on all rows, ``trained_on`` says ``refitted``, and
    ``measured`` how many the evaluated one had.

    Parameters
    ----------
    classes
        Those of the store before any was left out.
    """
    calibration, evaluation = head.calibration, measured.evaluation
    chosen, options = fitted.search.chosen, asdict(fitted.options)
    unused = {"budget", *(name for name in SETTINGS if name not in chosen.settings)}
    refitted = {} if fitted is measured.fitted else {"refitted": True}
    errors = calibration and {"error_before": calibration.before.error, "error_after": calibration.after.error}
    return {
        "head": {"name": chosen.head, **{name: value for name, value in options.items() if name not in unused}},
        "calibration": errors or {},
        "trained_on": {
            "store": store.location.name,
            "rows_sha256": digest_of_rows(store),
            "versions": {name: version(name) for name in ("headstart", "scikit-learn", "numpy", "onnx")},
            "images": fitted.trained_images,
            "judged_on": evaluation.judged_on,
            "holdout": holdout,
            "left_out": sorted(set(classes) - set(store.classes)),
            "copies": [group.rows for group in duplicates.groups],
            **refitted,
        },
        "measured": {
            "images": evaluation.images,
            "trained_images": measured.fitted.trained_images,
            "accuracy": none_if_nan(evaluation.accuracy),
            "log_loss": none_if_nan(evaluation.log_loss),
            "calibration_error": none_if_nan(evaluation.reliability.error),
        },
    }
