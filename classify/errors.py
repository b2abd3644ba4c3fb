"""Everything that `classify` raises on purpose.

ClassifyError
├── LabelError        the labels do not allow training or evaluation
├── HeadError         the head is unknown, or its options do not fit
├── ClassifierError   the classifier file is damaged, of another kind, or for another store
└── PredictionError   predictions cannot be written as requested
"""

from headstart.files.errors import HeadstartError


class ClassifyError(HeadstartError):
    """A foreseeable fault; its message is one line that says what is wrong and what to do."""


class LabelError(ClassifyError):
    """The labels do not allow training or evaluation."""


class HeadError(ClassifyError):
    """The head is unknown, or its options do not fit."""


class ClassifierError(ClassifyError):
    """The classifier file is damaged, of another kind, or for another store."""


class PredictionError(ClassifyError):
    """Predictions cannot be written as requested."""
