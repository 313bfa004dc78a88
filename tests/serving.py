"""Retrieval services for tests: the real one, in a thread, and one that answers whatever bytes a test wants."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from igsearch.config import RetrievalConfig
from igsearch.retrieval.limits import LIMITS, Limits
from igsearch.retrieval.service import Service, listen, server

Answer = Callable[[socket.socket], None]


@contextmanager
def served(retriever: Any, config: RetrievalConfig, limits: Limits = LIMITS, token: str | None = None) -> Iterator[str]:
    """The URL of a service over an open index; without one (None), the index never opens."""
    service, bound = Service(limits, config), listen("127.0.0.1", 0, token)
    http = server(service, token)

    async def work() -> None:
        if retriever is not None:
            await service.open(lambda: retriever)
        await http.serve([bound])

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    thread.start()
    try:
        _wait_for(lambda: http.started)
        yield url
    finally:
        http.should_exit = True
        thread.join(20)
        service.close()
    assert not thread.is_alive()


def _wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def dial(url: str) -> socket.socket:
    """A connection to a service."""
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(length: int, path: str = "/retrieve") -> bytes:
    """The head of a request whose body has so many bytes."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def response(body: bytes | str | Any, status: str = "200 OK", headers: Sequence[str] = ()) -> bytes:
    """A whole HTTP answer; what is neither bytes nor text goes as JSON."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def sends(data: bytes) -> Answer:
    """Answer with these bytes and hang up."""
    return lambda connection: connection.sendall(data)


class Faulty:
    """A server on a real socket: the n-th connection is answered by the n-th function, all further ones by the last."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self.requests: list[bytes] = []
        self.times: list[float] = []
        self.ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Faulty":
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                number = min(len(self.times), len(self._answers) - 1)
                self.times.append(time.monotonic())
                threading.Thread(target=self._serve, args=(connection, self._answers[number]), daemon=True).start()

    def _serve(self, connection: socket.socket, answer: Answer) -> None:
        with suppress(OSError), connection:
            connection.settimeout(10)
            self.requests.append(_read_request(connection))
            answer(connection)


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16) or b"\r\n\r\n"
    top, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in top.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while lengths and len(body) < int(lengths[0]):
        body += connection.recv(1 << 16)
    return top + b"\r\n\r\n" + body
