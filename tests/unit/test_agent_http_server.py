"""The HTTP server before clients of every kind: well-behaved, slow, silent, talkative, talking nonsense."""

import contextlib
import errno
import http.client
import logging
import random
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.observe import server as module
from agent.observe.messages import MAX_HEAD, Response
from agent.observe.server import MAX_CONNECTIONS, HttpServer, listen

BODY = b"x" * 100_000
PATIENCE = 20.0


class Application:
    """Answers everything with the same; notes what was asked."""

    def __init__(self) -> None:
        self.requests = []
        self.error: Exception | None = None
        self.body = b"here it is\n"

    def __call__(self, request):
        self.requests.append(request)
        if self.error:
            raise self.error
        return Response(HTTPStatus.OK, "text/plain", self.body, {"X-Own": "1"})


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def server(application):
    running = HttpServer(listen("127.0.0.1", 0), application)
    running.start()
    yield running
    running.close()


@pytest.fixture
def port(server):
    return int(server.address.rpartition(":")[2])


def connect(port) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def said(port, request: bytes) -> bytes:
    """Everything the server says to some bytes."""
    with connect(port) as client:
        client.sendall(request)
        return everything(client)


def everything(client) -> bytes:
    answer = b""
    while part := client.recv(65_536):
        answer += part
    return answer


def status_of(answer: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]+\r\n", answer)
    assert match, answer[:200]
    return int(match[1])


def get(port, path="/", method="GET", timeout=PATIENCE):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        client.request(method, path)
        response = client.getresponse()
        return response, response.read()
    finally:
        client.close()


def test_a_request_is_answered_and_the_connection_closed(port, application):
    response, body = get(port, "/metrics?x=1")

    assert (response.status, body) == (200, b"here it is\n")
    assert response.getheader("Content-Type") == "text/plain"
    assert response.getheader("X-Own") == "1"
    assert response.getheader("Connection") == "close"
    assert response.getheader("Server") is None
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", response.getheader("Date"))
    (request,) = application.requests
    assert (request.method, request.path, request.headers["host"]) == ("GET", "/metrics", f"127.0.0.1:{port}")


def test_head_says_how_long_the_body_would_be_and_sends_none(port):
    answer = said(port, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b"\r\nContent-Length: 11\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics HTTP/1.0\r\n\r\n",
        b"GET /metrics HTTP/1.1\nHost: x\n\n",
        b"GET http://node:9464/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost:x\r\nAccept:\t*/* \t\r\n\r\nrest",
    ],
    ids=["HTTP/1.0", "bare line feeds", "absolute", "odd blanks, and something behind it"],
)
def test_unusual_but_valid_requests_are_answered(port, application, request_):
    assert status_of(said(port, request_)) == 200
    assert application.requests[0].path == "/metrics"
    assert application.requests[0].headers.get("accept") in (None, "*/*")


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, b"without TLS"),
        (b"\r\n\r\n", 400, b"not HTTP"),
        (b"GET /\r\n\r\n", 400, b"GET /metrics HTTP/1.1 would be"),
        (b"GET / HTTP/2.0\r\n\r\n", 400, b"not HTTP/1.1"),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400, b"not HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"Host"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400, b"not HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400, b"not HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, b"not HTTP/1.1"),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400, b"no URL"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MAX_HEAD + b"\r\n\r\n", 431, b"8192 bytes"),
        (b"A" * 1_000_000, 431, b"8192 bytes"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000, 431, b"8192 bytes"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(port, application, request_, status, sentence):
    answer = b""
    with connect(port) as client:
        with contextlib.suppress(ConnectionError):  # it may close before it has read a megabyte
            client.sendall(request_)
        with contextlib.suppress(ConnectionError):
            while part := client.recv(65_536):
                answer += part

    assert status_of(answer) == status
    assert sentence in answer
    assert answer.endswith(b".\n")
    assert application.requests == []


def test_a_head_of_just_the_size_allowed_is_answered(port):
    start = b"GET / HTTP/1.1\r\nHost: x\r\nX: "

    assert status_of(said(port, start + b"a" * (MAX_HEAD - len(start)) + b"\r\n\r\n")) == 200


def test_a_header_of_blanks_costs_no_time(port):
    began = time.process_time()

    assert status_of(said(port, b"GET / HTTP/1.1\r\nHost: x\r\nX:" + b" " * 8000 + b"x\r\n\r\n")) == 200
    assert time.process_time() - began < 1.0


def test_a_client_that_sends_no_request_is_told_so_and_let_go(port, monkeypatch):
    monkeypatch.setattr(module, "REQUEST_WITHIN", 0.2)

    with connect(port) as client:
        client.sendall(b"GET / HT")
        answer = everything(client)

    assert status_of(answer) == 408
    assert b"not complete after 0.2 s" in answer


def test_a_byte_now_and_then_does_not_prolong_the_time_for_the_request(port, monkeypatch):
    monkeypatch.setattr(module, "REQUEST_WITHIN", 0.5)
    began = time.monotonic()

    with connect(port) as client:
        answer = b""
        client.settimeout(0.05)
        while not answer and time.monotonic() - began < PATIENCE:
            client.sendall(b"A")
            with contextlib.suppress(TimeoutError):
                answer = client.recv(1000)

    assert status_of(answer) == 408
    assert 0.4 < time.monotonic() - began < 5


def test_a_client_that_does_not_read_is_let_go(server, port, application, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_WITHIN", 0.3)
    application.body = b"x" * 50_000_000  # more than the kernel buffers
    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        wait_until(lambda: application.requests and not server._connections)

        with contextlib.suppress(ConnectionError):
            assert len(everything(client)) < 50_000_000


def test_a_large_answer_arrives_whole_at_a_slow_reader(port, application):
    application.body = random.Random(1).randbytes(20_000_000)  # more than the kernel buffers

    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        time.sleep(0.2)
        answer = everything(client)

    assert answer.partition(b"\r\n\r\n")[2] == application.body


def test_a_request_in_pieces_is_one_request(port):
    with connect(port) as client:
        for piece in (b"GE", b"T / HTTP/1.1\r\nHost: x\r", b"\n\r", b"\n"):
            client.sendall(piece)
            time.sleep(0.05)
        assert status_of(everything(client)) == 200


def test_a_client_that_has_been_answered_may_finish_what_it_sends(port, application):
    with connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        wait_until(lambda: application.requests)
        for piece in (b"01234", b"56789"):
            time.sleep(0.05)
            client.sendall(piece)
        assert status_of(everything(client)) == 200


def test_slow_and_silent_clients_keep_nobody_out(server, port):
    """Slowloris: more connections than there may be, none of which ever asks for anything."""
    with contextlib.ExitStack() as stack:
        for _ in range(3 * MAX_CONNECTIONS):
            client = stack.enter_context(connect(port))
            client.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        began = time.monotonic()

        for _ in range(5):
            assert get(port)[0].status == 200

        assert time.monotonic() - began < 5
        assert len(server._connections) <= MAX_CONNECTIONS


def test_a_hundred_clients_at_once_are_all_answered(port, application):
    application.body = BODY
    together = threading.Barrier(100)

    def scrape(_):
        together.wait(PATIENCE)
        return get(port)[1]

    with ThreadPoolExecutor(100) as pool:
        bodies = list(pool.map(scrape, range(100)))

    assert bodies == [BODY] * 100


def test_connections_leave_nothing_behind(server, port):
    for _ in range(300):
        said(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    wait_until(lambda: not server._connections)


def test_an_answer_that_fails_is_logged_and_the_next_one_works(port, application, caplog):
    application.error = ZeroDivisionError("bug")
    with caplog.at_level(logging.ERROR):
        response, body = get(port, "/metrics")
    application.error = None

    assert (response.status, body) == (500, b"The agent has a bug: see http_answer_failed in its log.\n")
    assert [record.getMessage() for record in caplog.records] == ["http_answer_failed"]
    assert get(port)[0].status == 200


class Exhausted:
    """A listening socket for whose connections there are no file descriptors a few times."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._failures = iter(range(3))

    def __getattr__(self, name):
        return getattr(self._listening, name)

    def accept(self):
        if next(self._failures, None) is not None:
            raise OSError(24, "Too many open files")
        return self._listening.accept()


def test_no_more_file_descriptors_is_logged_once_and_got_over(application, monkeypatch, caplog):
    monkeypatch.setattr(module, "PAUSE_AFTER_FAILURE", 0.05)
    server = HttpServer(Exhausted(listen("127.0.0.1", 0)), application)
    server.start()
    began = time.process_time()
    try:
        assert get(int(server.address.rpartition(":")[2]))[0].status == 200
    finally:
        server.close()

    assert [record.getMessage() for record in caplog.records] == ["http_accept_failed"]
    assert time.process_time() - began < 0.1


def test_the_port_is_free_again_once_closed(application):
    first = HttpServer(listen("127.0.0.1", 0), application)
    first.start()
    port = int(first.address.rpartition(":")[2])
    assert get(port)[0].status == 200
    silent = connect(port)

    first.close()

    with silent, contextlib.suppress(ConnectionResetError):  # it may not have been accepted yet
        assert silent.recv(10) == b""
    listen("127.0.0.1", port).close()


def test_a_port_that_is_taken_raises(server, port):
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", port)


def test_an_address_says_what_can_be_asked(application):
    with listen("127.0.0.1", 0) as four:
        assert HttpServer(four, application).address == f"127.0.0.1:{four.getsockname()[1]}"
    try:
        six = listen("::1", 0)
    except OSError:
        return  # this machine has no IPv6
    with six:
        assert HttpServer(six, application).address == f"[::1]:{six.getsockname()[1]}"


@pytest.fixture(scope="module")
def lasting_port():
    running = HttpServer(listen("127.0.0.1", 0), Application())
    running.start()
    yield int(running.address.rpartition(":")[2])
    running.close()


WORDS = st.sampled_from(
    [
        b"GET",
        b"POST",
        b" ",
        b"/metrics",
        b"/",
        b"HTTP/1.1",
        b"\r\n",
        b"\n",
        b"Host: x",
        b":",
        b"Accept: ",
        b"%00",
        b"\x00",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(WORDS, st.binary(max_size=40)), max_size=30).map(b"".join))
def test_whatever_is_sent_the_answer_is_http_and_the_server_lives(lasting_port, request_):
    with connect(lasting_port) as client:
        client.sendall(request_)
        try:
            client.shutdown(socket.SHUT_WR)
        except OSError as error:
            assert error.errno == errno.ENOTCONN  # it has answered and closed already
        answer = everything(client)

    assert answer == b"" or status_of(answer) in (200, 400, 431)
    assert get(lasting_port)[0].status == 200


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
