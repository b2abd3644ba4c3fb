"""The images of a request: its whole body, or the files of a form (multipart/form-data)."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from headstart.files.errors import one_line
from headstart.serve.errors import RefusedError
from headstart.serve.options import ServeOptions

Upload = tuple[str, bytes]
"""The name that the client gave to an image, and its bytes."""

FORM = "multipart/form-data"
BYTES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Types of a body that is one image, besides image/*; curl gives the last to any file (`--data-binary`)."""
LINGER_SECONDS = 1.0


class _Parser(MultiPartParser):
    spool_max_size = sys.maxsize
    """Never on disk: the body's limit bounds the memory."""
    is_complete = False

    def on_end(self) -> None:
        """Note the last boundary: of a form that is cut off before it, the file that has begun would be missing."""
        self.is_complete = True

    def on_headers_finished(self) -> None:
        """Refuse a part that is no file, before its bytes arrive: its sender would miss an answer for it."""
        super().on_headers_finished()
        part = self._current_part
        if part.file is None:
            raise MultiPartException(f"the part {part.field_name[:100]!r} has no file name; send each image with one")


async def read_uploads(request: Request, options: ServeOptions) -> list[Upload]:
    """Read the images of a request.

    Raises
    ------
    RefusedError
        If the body has another type, is too large, has too many images or none, or does not arrive in time.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM and kind not in BYTES and not kind.startswith("image/"):
        raise RefusedError(415, f"expected an image, application/octet-stream or {FORM}, found {kind}")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > options.max_bytes:
        raise _too_large(options, int(length))
    try:
        async with asyncio.timeout(options.read_seconds):
            uploads = await (_files if kind == FORM else _body)(request, options)
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {options.read_seconds:g} s") from None
    except ClientDisconnect:
        raise RefusedError(400, "the client closed the connection before the end of the body") from None
    if not uploads:
        raise RefusedError(400, "expected an image in the body, found none; post its bytes, or a form with files")
    return uploads


async def discard(request: Request, options: ServeOptions) -> None:
    """Read what a refused client still sends, for a moment: a closed connection would hide the answer from it."""
    if (
        getattr(request.state, "is_read", False) or "expect" in request.headers
    ):  # it sends nothing, or waits to be asked
        return
    left = options.max_bytes
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0 and (message := await request.receive()).get("more_body"):
                left -= len(message["body"])


async def _limited(request: Request, options: ServeOptions) -> AsyncGenerator[bytes]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > options.max_bytes:
            raise _too_large(options, total)
        yield chunk
    request.state.is_read = True


def _too_large(options: ServeOptions, size: int) -> RefusedError:
    return RefusedError(413, f"expected at most {options.max_bytes:,} bytes, found {size:,}; send fewer images at once")


async def _body(request: Request, options: ServeOptions) -> list[Upload]:
    data = b"".join([chunk async for chunk in _limited(request, options)])
    return [("image", data)] if data else []


async def _files(request: Request, options: ServeOptions) -> list[Upload]:
    parser = _Parser(request.headers, _limited(request, options), max_files=options.max_images)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if error.message.startswith("Too many files") else 400
        raise RefusedError(status, " ".join(error.message.split())) from None
    except UnicodeError as error:  # of charsets that are none, as `undefined` and `punycode`
        raise RefusedError(400, f"Content-Type: its charset does not fit the form: {one_line(error)}") from None
    if not parser.is_complete:
        raise RefusedError(400, "the form ends before its last boundary; send all of it")
    parts = [(name, part) for name, part in form.multi_items() if isinstance(part, UploadFile)]
    try:
        return [(part.filename or name, await part.read()) for name, part in parts]
    finally:
        await form.close()
