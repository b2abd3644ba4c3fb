"""pyarrow, the extra that reads and writes Parquet files."""

from typing import Any

from headstart.files.errors import MissingExtraError, one_line


def load_parquet(where: object) -> Any:
    """Import `pyarrow.parquet` for a file, which messages call `where`.

    Raises
    ------
    MissingExtraError
        If pyarrow cannot be imported; the message has the command that installs it.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            f'{where}: Parquet files need pyarrow ({one_line(error)}): pip install "headstart[parquet]"'
        ) from None
    return pyarrow.parquet
