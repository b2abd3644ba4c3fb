"""What the report raises on purpose; a branch of the tree in `headstart.classify.errors`."""

from headstart.classify.errors import ClassifyError


class ReportError(ClassifyError):
    """The report cannot be made: a package is missing, or the name is not one for a report."""
