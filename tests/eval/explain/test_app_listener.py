"""The socket of the page: addresses in one line, a bound on connections, and an end to slow clients."""

import socket
import threading
import time

import pytest

from eval.explain.app import listener
from eval.explain.app.__main__ import main
from eval.explain.app.listener import Listener, is_local, parse_port, url
from pipeline.errors import UserError, run


def answer_ok(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ[listener.RECEIVED]()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def served():
    server = Listener("127.0.0.1", 0, answer_ok)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def trickle(client):
    """Send a byte ten times a second, for at most 20 seconds."""
    for _ in range(200):
        client.sendall(b"x")
        time.sleep(0.1)


def everything(client):
    received = b""
    while part := client.recv(4096):
        received += part
    return received


@pytest.mark.parametrize("text", ["-1", "70000", "65536", "text", "", "80.5", "٣"])
def test_a_bad_port_is_one_line(text):
    with pytest.raises(UserError, match=f"--port: {text} is not a port"):
        parse_port(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "--port: 70000 is not a port; give a number from 1 to 65535, or 0 for a free one"),
        (["--port=-1"], "--port: -1 is not a port; give a number from 1 to 65535, or 0 for a free one"),
        (["--max-megapixels", "nan"], "--max-megapixels is nan; it must be above 0"),
        (["--max-faces", "0"], "--max-faces is 0; it must be above 0"),
    ],
)
def test_the_command_refuses_a_bad_option_in_one_line(monkeypatch, options, message):
    monkeypatch.setattr("sys.argv", ["app", "--checkpoint", "missing", *options])
    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == f"error: {message}"


def test_ports_and_addresses():
    assert [parse_port(text) for text in ("0", "7860", "65535")] == [0, 7860, 65535]
    assert [is_local(host) for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost")] == [True] * 4
    assert [is_local(host) for host in ("0.0.0.0", "::", "192.168.1.2", "example.org")] == [False] * 4
    assert url("::1", 80) == "http://[::1]:80"
    assert url("localhost", 80) == "http://localhost:80"


def test_a_used_port_and_unknown_hosts_are_one_line(served):
    with pytest.raises(UserError, match=f"--port: 127.0.0.1:{served.port} is in use; choose another port"):
        Listener("127.0.0.1", served.port, answer_ok)
    with pytest.raises(UserError, match=r"--host: 192.0.2.1:0 is not an address of this machine"):
        Listener("192.0.2.1", 0, answer_ok)
    for host in ("no such host", "a" * 300):
        with pytest.raises(UserError, match=f"--host: {host} is not known"):
            Listener(host, 0, answer_ok)


def test_ipv6():
    try:
        server = Listener("::1", 0, answer_ok)
    except UserError:
        pytest.skip("this machine has no IPv6")
    assert server.server_address[:2] == ("::1", server.port)
    server.server_close()


def test_a_request_is_answered(served):
    with connect(served) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
        assert everything(client).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nHost:", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhel"])
def test_clients_that_pause_are_disconnected(served, monkeypatch, sent):
    monkeypatch.setattr(listener._Handler, "timeout", 0.3)
    with connect(served) as client:
        client.sendall(sent)
        assert b"200 OK" not in everything(client)


def test_clients_that_trickle_are_disconnected(served, monkeypatch):
    monkeypatch.setattr(listener, "RECEIVING", 0.5)
    with connect(served) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        with pytest.raises(ConnectionError):
            trickle(client)


def test_connections_are_bounded_and_the_server_recovers(served):
    idle = [connect(served) for _ in range(listener.CONNECTIONS)]
    while served._places._value:
        time.sleep(0.01)
    before = threading.active_count()
    with connect(served) as client:
        refused = everything(client)
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in refused
    assert threading.active_count() <= before
    for one in idle:
        one.close()
    while served._places._value < listener.CONNECTIONS:
        time.sleep(0.01)
    with connect(served) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in everything(client)
