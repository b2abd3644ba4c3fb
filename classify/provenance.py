"""Where a classifier came from, as its file will say it."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from headstart.classify.artifact.classifier import Provenance
from headstart.classify.confidence.calibrated_head import CalibratedHead
from headstart.classify.confidence.calibration import Calibration
from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.heads.fitting import Fitted
from headstart.classify.split.duplicates import Duplicates
from headstart.classify.split.holdout import digest_of_rows
from headstart.extract.store.store import Store


def provenance_of(
    table: Store, fitted: Fitted, answer: CalibratedHead, evaluation: Evaluation, duplicates: Duplicates, holdout: float
) -> Provenance:
    """Say what a classifier was made from, how, and what was measured of it."""
    split = fitted.split
    return Provenance(
        head={"name": fitted.search.chosen.head, **asdict(fitted.options)},
        calibration=_said_of(answer.calibration),
        trained_on={
            **_origin(table), "images": len(split.train), "judged_on": split.origin, "holdout": holdout,
            "copies": [group.rows for group in duplicates.groups],
        },
        measured={
            "images": evaluation.images, "accuracy": evaluation.accuracy, "log_loss": evaluation.log_loss,
            "calibration_error": evaluation.reliability.error,
        },
    )  # fmt: skip


def _said_of(calibration: Calibration | None) -> dict[str, float]:
    if calibration is None:
        return {}
    return {"error_before": calibration.before.error, "error_after": calibration.after.error}


def _origin(table: Store) -> dict[str, Any]:
    """Name the data and the programs that a head was made from."""
    return {
        "store": table.location.name,
        "rows_sha256": digest_of_rows(table),
        "versions": {name: version(name) for name in ("headstart", "scikit-learn", "numpy", "onnx")},
    }
