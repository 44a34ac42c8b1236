"""What the page refuses: requests that other pages cause, and more pictures than one machine can explain."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from flask import Flask, Request, Response, request
from werkzeug.exceptions import Forbidden, HTTPException, RequestEntityTooLarge, ServiceUnavailable

from eval.explain.app.listener import RECEIVED, is_local

WAITING = 4  # pictures that wait while one is explained; further ones are refused
RETRY_AFTER = 5  # seconds
CHUNK = 1 << 16  # bytes
# The page loads nothing from other hosts, and no other page may embed it.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_guards(app: Flask, *, only_local: bool, megabytes: int) -> None:
    """Check each request before its body is read, and answer every error with {"error": one line}."""
    app.config["MAX_CONTENT_LENGTH"] = megabytes * 10**6

    @app.before_request
    def _refuse() -> None:
        if only_local and not is_local(urlsplit(f"//{request.host}").hostname or ""):
            raise Forbidden("this page accepts requests from this machine only")
        if _is_foreign(request):
            raise Forbidden("this page accepts requests from itself only; another page has caused this one")

    @app.after_request
    def _add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(HTTPException)
    def _answer_error(error: HTTPException) -> Response:
        message = error.description or error.name
        if isinstance(error, RequestEntityTooLarge):
            message = f"the file is larger than {megabytes} MB; choose a smaller picture, or use --max-megabytes"
        headers = {"Retry-After": str(RETRY_AFTER)} if isinstance(error, ServiceUnavailable) else {}
        return Response(json.dumps({"error": message}), error.code, headers, content_type="application/json")


def _is_foreign(caused: Request) -> bool:
    """Return whether a browser says that another page caused a request; a link to the page itself is welcome."""
    origin = caused.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != caused.host:
        return True
    site = caused.headers.get("Sec-Fetch-Site", "same-origin")
    return site not in ("same-origin", "none") and (caused.method, caused.path) != ("GET", "/")


class Queue:
    """Lets one request at a time work on its picture; at most `waiting` others may hold theirs in memory."""

    def __init__(self, waiting: int = WAITING) -> None:
        self._places = threading.BoundedSemaphore(waiting + 1)
        self._turn = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[bytes]:
        """Yield the body of the current request when it is its turn; raise ServiceUnavailable if too many wait."""
        if not self._places.acquire(blocking=False):
            raise ServiceUnavailable("other pictures are being explained; try again in a few seconds")
        try:
            data = _body()
            with self._turn:
                yield data
        finally:
            self._places.release()


def _body() -> bytes:
    data = bytearray()
    while chunk := request.stream.read(CHUNK):
        data += chunk
    request.environ.get(RECEIVED, bool)()
    return bytes(data)
