"""The service, asked over real connections: forms, limits, the door, back-pressure, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from passages import CONTENTS, write_corpus
from serving import dial, head, served

from igsearch.config import RetrievalConfig
from igsearch.errors import UserError
from igsearch.records import Hit
from igsearch.retrieval import wire
from igsearch.retrieval.limits import LIMITS, Limits
from igsearch.retrieval.lucene import LuceneRetriever, build
from igsearch.retrieval.service import is_own_name, listen

SECRET = "a-secret-of-the-tests"
HTTP = httpx.Client(verify=False, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
SMALL = Limits(body_bytes=2000, queries=5, query_characters=50, topk=4, passages=10)


@pytest.fixture(scope="module")
def url(retriever: LuceneRetriever, config: RetrievalConfig) -> Iterator[str]:
    with served(retriever, config) as address:
        yield address


def _ask(url: str, **body: Any) -> httpx.Response:
    return HTTP.post(f"{url}/retrieve", json=body)


# --- forms


def test_answers_have_the_form_of_search_r1s_server(url: str, retriever: LuceneRetriever) -> None:
    rows = _ask(url, queries=["heroes album", "xyzzy"], topk=2, return_scores=True).json()["result"]
    (hit,) = retriever.search(["heroes album"], 2)[0]
    assert rows == [[{"document": {"id": "d4", "contents": CONTENTS[3][1]}, "score": hit.score}], []]


def test_without_return_scores_the_documents_come_alone_and_k_is_the_configurations(url: str) -> None:
    (row,) = _ask(url, queries=["twin"]).json()["result"]
    assert [document["id"] for document in row] == ["twin-10", "twin-a", "twin-b"]
    assert row[0] == {"id": "twin-10", "contents": '"Twin"\nThe same words in both.'}
    assert _ask(url, queries=["twin"], topk=None, further="ignored").json()["result"] == [row]


def test_ready_tells_the_digest_of_the_index(url: str, retriever: LuceneRetriever, config: RetrievalConfig) -> None:
    about = HTTP.get(f"{url}/readyz").json()
    assert about == {
        "status": "ready",
        "index": retriever.digest,
        "corpus": retriever.card["corpus"],
        "passages": len(CONTENTS),
        "k1": config.k1,
        "b": config.b,
    }
    assert _ask(url, queries=["twin"]).headers[wire.INDEX_HEADER] == retriever.digest
    assert HTTP.get(f"{url}/healthz").json() == {"status": "alive"}


def test_before_the_index_is_open_the_process_lives_and_is_not_ready(config: RetrievalConfig) -> None:
    with served(None, config) as address:
        assert HTTP.get(f"{address}/healthz").status_code == 200
        for reply in (HTTP.get(f"{address}/readyz"), _ask(address, queries=["twin"])):
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


def test_an_answer_in_two_packets_does_not_wait_40_ms_for_the_first_to_be_acknowledged() -> None:
    with listen("127.0.0.1", 0, None) as bound:
        assert bound.proto == socket.IPPROTO_TCP  # else asyncio leaves TCP_NODELAY off


# --- limits


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"[]", "object"),
        (b'{"queries": "one"}', "queries: "),
        (b'{"queries": ["a", 3]}', "queries.1: "),
        (b'{"queries": ["\xff"]}', "Invalid JSON"),
        (b'{"queries": ["\\ud800"]}', "Invalid JSON"),
        (b"[" * 1500, "Invalid JSON"),
        (b'{"topk": 3}', "queries: "),
        (b'{"queries": ["a"], "topk": "3"}', "topk: "),
        (b'{"queries": ["a"], "topk": true}', "topk: "),
        (b'{"queries": ["a"], "topk": 0}', "topk must be from 1 to 4, not 0"),
        (b'{"queries": ["a"], "topk": 5}', "topk must be from 1 to 4, not 5"),
        (b'{"queries": ["a", "a", "a", "a", "a", "a"]}', "6 queries are more than 5"),
        (b'{"queries": ["a", "a", "a"], "topk": 4}', "3 queries times 4 passages are more than 10"),
        (b'{"queries": ["a", "' + b"b" * 51 + b'"]}', "queries.1 is longer than 50 characters"),
    ],
)
def test_what_is_malformed_or_too_much_gets_one_sentence(
    retriever: LuceneRetriever, config: RetrievalConfig, body: bytes, sentence: str
) -> None:
    with served(retriever, config, SMALL) as address:
        reply = HTTP.post(f"{address}/retrieve", content=body)
        assert reply.status_code == 422
        assert sentence in reply.json()["detail"]
        assert len(reply.json()["detail"]) < 200
        assert _ask(address, queries=["twin"]).status_code == 200


def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not(
    retriever: LuceneRetriever, config: RetrievalConfig
) -> None:
    with served(retriever, config, SMALL) as address:
        assert HTTP.post(f"{address}/retrieve", content=b" " * 2001).status_code == 413
        assert HTTP.post(f"{address}/retrieve", content=(b" " * 500 for _ in range(5))).status_code == 413
        with dial(address) as connection:  # told before a byte of the body
            connection.sendall(head(1 << 40))
            assert connection.recv(1000).startswith(b"HTTP/1.1 413")


# --- the door


def test_with_a_token_only_the_liveness_is_told_to_strangers(
    retriever: LuceneRetriever, config: RetrievalConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with served(retriever, config, token=SECRET) as address:
        for value in ("", f"Bearer {SECRET}x", f"Basic {SECRET}", SECRET, f"Bearer {SECRET[:-1]}", "Bearer é"):
            reply = HTTP.get(f"{address}/readyz", headers={"Authorization": value.encode()})
            assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert _ask(address, queries=["twin"]).status_code == 401
        assert HTTP.get(f"{address}/healthz").status_code == 200
        right = {"Authorization": f"Bearer {SECRET}", "Host": "elsewhere.example"}
        assert HTTP.get(f"{address}/readyz", headers=right).status_code == 200
    assert SECRET not in caplog.text


def test_a_web_page_that_calls_itself_127_0_0_1_is_refused(url: str) -> None:
    assert HTTP.get(f"{url}/readyz", headers={"Host": "attacker.example:8000"}).status_code == 403
    assert HTTP.get(f"{url}/readyz", headers={"Host": "localhost"}).status_code == 200
    assert [is_own_name(name) for name in ("[::1]:80", "127.9.0.1", "LOCALHOST:1")] == [True] * 3
    assert not any(map(is_own_name, ("", "localhost.example", "127.0.0.1.example:80", "[", "10.0.0.1")))


def test_another_interface_is_refused_without_a_token() -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(UserError, match=f"--host {host} is open to other machines; set {wire.TOKEN}"):
            listen(host, 0, None)
    listen("0.0.0.0", 0, SECRET).close()
    listen("localhost", 0, None).close()


@pytest.mark.parametrize(
    "secret", ["short", "with a space in between", "with-a-line-break\n", "ünicode-and-long-enough"]
)
def test_a_token_that_cannot_be_one_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(UserError, match=wire.TOKEN) as caught:
        wire.token({wire.TOKEN: secret})
    assert secret not in str(caught.value)
    assert wire.token({wire.TOKEN: ""}) is None


# --- back-pressure


class _Held:
    """An index that answers when it may."""

    def __init__(self, retriever: LuceneRetriever) -> None:
        self.card, self.digest = retriever.card, retriever.digest
        self._retriever, self.may, self.asked = retriever, threading.Event(), threading.Semaphore(0)
        self.queries: list[str] = []

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        self.queries += queries
        self.asked.release()
        assert self.may.wait(20)
        return self._retriever.search(queries, k)


def _post(address: str, query: str) -> socket.socket:
    connection = dial(address)
    body = json.dumps({"queries": [query]}).encode()
    connection.sendall(head(len(body)) + body)
    return connection


def test_beyond_the_places_requests_get_429_and_those_within_their_answers(
    retriever: LuceneRetriever, config: RetrievalConfig
) -> None:
    held = _Held(retriever)
    with served(held, config, replace(LIMITS, workers=2, waiting=3)) as address:
        within = [_post(address, f"twin {number}") for number in range(5)]
        assert held.asked.acquire(timeout=10)
        assert held.asked.acquire(timeout=10)
        replies = _until_full(address)
        assert (replies.status_code, replies.headers["retry-after"]) == (429, "1")
        assert HTTP.get(f"{address}/readyz").status_code == 200
        held.may.set()
        assert [connection.recv(15) for connection in within] == [b"HTTP/1.1 200 OK"] * 5
        assert _ask(address, queries=["twin"]).status_code == 200
    assert len(held.queries) == 6


def _until_full(address: str) -> httpx.Response:
    """A request that finds no place; those before it may have been faster than the ones that are to wait."""
    for _ in range(50):
        with _post(address, "late") as connection:
            connection.settimeout(0.1)
            try:
                assert connection.recv(12) == b"HTTP/1.1 429"
            except TimeoutError:
                continue
        return _ask(address, queries=["late"])
    raise AssertionError("never full")


def test_whoever_hung_up_while_waiting_is_not_searched_for(retriever: LuceneRetriever, config: RetrievalConfig) -> None:
    held = _Held(retriever)
    with served(held, config, replace(LIMITS, workers=1, waiting=1)) as address:
        first = _post(address, "twin")
        assert held.asked.acquire(timeout=10)
        with _post(address, "gave up"), dial(address) as probe:
            _until_answered(probe, b"429")
        held.may.set()
        assert first.recv(15) == b"HTTP/1.1 200 OK"
        assert _ask(address, queries=["company"]).status_code == 200
    assert held.queries == ["twin", "company"]


def _until_answered(connection: socket.socket, status: bytes) -> None:
    body = b'{"queries": []}'
    for _ in range(100):
        connection.sendall(head(len(body)) + body)
        if status in connection.recv(1000):
            return
    raise AssertionError(f"never {status!r}")


def test_a_body_that_does_not_arrive_gives_its_place_back(retriever: LuceneRetriever, config: RetrievalConfig) -> None:
    with served(retriever, config, replace(LIMITS, workers=1, waiting=0, client_s=0.3)) as address:
        with dial(address) as slow:
            slow.sendall(head(100) + b"{")
            assert slow.recv(12) == b"HTTP/1.1 408"
        with dial(address) as gone:
            gone.sendall(head(100) + b"{")
        _until(lambda: _ask(address, queries=["twin"]).status_code == 200)


def test_an_answer_that_is_not_read_gives_its_place_back(tmp_path: Path, config: RetrievalConfig) -> None:
    build(write_corpus(tmp_path / "c.jsonl", [("big", '"Big"\n' + "word " * 20_000)]), tmp_path / "index", config)
    one = replace(LIMITS, workers=1, waiting=0, client_s=0.5)
    with served(LuceneRetriever(tmp_path / "index", config), config, one) as address, dial(address) as deaf:
        body = json.dumps({"queries": ["word"] * 300}).encode()  # 30 MB, more than the kernel buffers
        deaf.sendall(head(len(body)) + body)
        assert deaf.recv(12) == b"HTTP/1.1 200"
        assert _ask(address, queries=["word"]).status_code == 429
        _until(lambda: _ask(address, queries=["word"]).status_code == 200)


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- the command


@pytest.fixture
def start(index: Path) -> Iterator[Any]:
    running: list[subprocess.Popen[str]] = []

    def start(*options: str, **environment: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "igsearch", "serve-retrieval", "--index", str(index), "--port", "0", *options]
        settings = ["--set", "retrieval.heap=128m"]
        running.append(
            subprocess.Popen(
                [*command, *settings], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    line = process.stderr.readline()
    found = re.search(r"9 passages at (http://\S+)/retrieve, index [0-9a-f]{64}$", line)
    assert found, line
    return found[1]


def _listens(address: str) -> bool:
    try:
        dial(address).close()
    except OSError:
        return False
    return True


def test_sigterm_lets_the_request_in_work_finish_and_ends_with_0(start: Any) -> None:
    process = start(IGSEARCH_RETRIEVAL_TOKEN="")
    address = _address(process)
    body = b'{"queries": ["twin"], "topk": 1}'
    with dial(address) as connection:
        connection.sendall(head(len(body)) + body[:5])
        assert HTTP.get(f"{address}/healthz").status_code == 200  # so the server has read what was sent before
        process.send_signal(signal.SIGTERM)
        _until(lambda: not _listens(address))  # nobody else gets in
        connection.sendall(body[5:])
        assert b"twin-10" in connection.makefile("rb").read()
    assert process.wait(60) == 0
    assert process.stderr.read() == "stopped\n"


def test_sigterm_while_the_index_is_being_opened_ends_it_too(start: Any) -> None:
    with listen("127.0.0.1", 0, None) as free:
        port = free.getsockname()[1]
    process = start("--port", str(port), IGSEARCH_RETRIEVAL_TOKEN="")
    _until(lambda: _listens(f"http://127.0.0.1:{port}"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert process.stderr.read().endswith("stopped\n")


def test_the_token_comes_from_the_environment_and_is_printed_nowhere(start: Any) -> None:
    process = start("--host", "0.0.0.0", IGSEARCH_RETRIEVAL_TOKEN=SECRET)
    address = _address(process).replace("0.0.0.0", "127.0.0.1")
    assert _ask(address, queries=["twin"]).status_code == 401
    right = {"Authorization": f"Bearer {SECRET}"}
    assert HTTP.get(f"{address}/readyz", headers=right).status_code == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert SECRET not in process.stderr.read()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--host", "0.0.0.0"), "error: --host 0.0.0.0 is open to other machines; set IGSEARCH_RETRIEVAL_TOKEN"),
        (("--index", "nowhere"), "error: no index at nowhere"),
        (("--max-topk", "0"), "error: --max-topk must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_served_is_one_sentence_and_exit_code_2(
    start: Any, options: tuple[str, str], sentence: str
) -> None:
    process = start(*options, IGSEARCH_RETRIEVAL_TOKEN="")
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.count("\n")) == (2, 1)
    assert said.startswith(sentence)


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with listen("127.0.0.1", 0, None) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot serve at 127.0.0.1 port {port}: Address already in use"):
            listen("127.0.0.1", port, None)
