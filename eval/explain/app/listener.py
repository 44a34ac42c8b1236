"""The listening socket: bad addresses in one line, a bound on connections, and an end to slow clients."""

import socket
import threading
import time
from contextlib import suppress
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from functools import partial
from ipaddress import ip_address
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler

from pipeline.errors import UserError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

CONNECTIONS = 32  # at once, each with a thread; further ones are refused
RECEIVING = 60.0  # seconds that a client has to send its request
PAUSE = 10.0  # seconds without a byte after which a connection ends
RECEIVED = "eval.received"  # key of the WSGI environment: call it when the whole request has arrived
BUSY = b"this page is busy; try again in a few seconds\n"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain\r\nConnection: close\r\n"
REASONS = {
    EADDRINUSE: "is in use; choose another port, or 0 for a free one",
    EACCES: "may not be opened by this user; choose a port above 1023",
    EADDRNOTAVAIL: "is not an address of this machine",
}


def is_local(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url(host: str, port: int) -> str:
    """Return the address of the page; an IPv6 host gets its brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def parse_port(text: str) -> int:
    """Return a port; raise UserError for anything but a number from 0 to 65535."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise UserError(f"--port: {text} is not a port; give a number from 1 to 65535, or 0 for a free one")
    return int(text)


class _Handler(WSGIRequestHandler):
    timeout = PAUSE  # of each read, and of a whole answer

    def make_environ(self) -> "WSGIEnvironment":
        assert isinstance(self.server, Listener)
        return super().make_environ() | {RECEIVED: partial(self.server.received, self.connection)}

    def log(self, type: str, message: str, *args: Any) -> None:
        """Keep requests, and clients that went away, out of the terminal."""


class Listener(ThreadingMixIn, BaseWSGIServer):
    """Serves an application with a bounded number of threads; port 0 is any free one.

    A client that has not sent its request after RECEIVING seconds, or pauses for PAUSE, is disconnected. Raises
    UserError if the host or the port cannot be used.
    """

    multithread = True
    daemon_threads = True

    def __init__(self, host: str, port: int, app: "WSGIApplication") -> None:
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._deadlines: dict[socket.socket, float] = {}
        with _bind(host, port) as bound:
            address, port = bound.getsockname()[:2]
            super().__init__(address, port, app, _Handler, fd=bound.fileno())

    def received(self, connection: socket.socket) -> None:
        """Stop the clock of a connection, because its request has arrived."""
        self._deadlines.pop(connection, None)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or refuse it if there are too many."""
        if self._places.acquire(blocking=False):
            self._deadlines[request] = time.monotonic() + RECEIVING
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(0.1)
            request.sendall(REFUSAL + b"Content-Length: %d\r\n\r\n" % len(BUSY) + BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the request of a connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._deadlines.pop(request, None)
            self._places.release()

    def service_actions(self) -> None:
        """Disconnect clients that take too long; the server calls this twice a second."""
        now = time.monotonic()
        for connection, deadline in list(self._deadlines.items()):
            if now > deadline:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise UserError(f"--host: {host} is not known; give an address of this machine, such as 127.0.0.1") from None
    family, kind, _, _, address = found[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        option = "--host" if error.errno == EADDRNOTAVAIL else "--port"
        reason = REASONS.get(error.errno or 0, f"cannot be opened ({error.strerror})")
        raise UserError(f"{option}: {host}:{port} {reason}") from None
    return listener
