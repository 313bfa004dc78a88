"""The client against the real service, and against servers that do everything wrong, over real connections."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from passages import CONTENTS
from serving import Faulty, response, sends, served

from igsearch.config import RetrievalConfig
from igsearch.corpus import contents_of
from igsearch.errors import UserError
from igsearch.records import Hit, Passage
from igsearch.retrieval import client, wire
from igsearch.retrieval.base import RetrieverError
from igsearch.retrieval.client import OtherIndex, Refused, RemoteRetriever, Unavailable
from igsearch.retrieval.limits import LIMITS, Limits
from igsearch.retrieval.lucene import LuceneRetriever
from igsearch.retrieval.wire import WrongReply

SECRET = "a-secret-of-the-tests"
ITEM = {"document": {"id": "d1", "contents": '"Karvik"\nKarvik founded Mortan.'}, "score": 2.5}
GOOD = sends(response({"result": [[ITEM]]}))
HIT = Hit(Passage("d1", "Karvik", "Karvik founded Mortan."), 2.5)


@pytest.fixture(scope="module")
def url(retriever: LuceneRetriever, config: RetrievalConfig) -> Iterator[str]:
    with served(retriever, config) as address:
        yield address


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_FIRST_WAIT_S", 0.01)
    monkeypatch.delenv(wire.TOKEN, raising=False)


# --- the real service


def test_hits_are_those_of_the_index_itself(url: str, retriever: LuceneRetriever) -> None:
    queries = ["mortan", "twin", "xyzzy", "", "heroes 😀 album", "mortan", "company tos\ud800", "\x00"]
    remote = RemoteRetriever(url, index=retriever.digest)
    for k in (1, 3, 100):
        assert remote.search(queries, k) == retriever.search(queries, k)
    assert remote.search([], 3) == []
    assert remote.ready()["passages"] == len(CONTENTS)
    assert remote.counts()["remote_requests"] == 4
    remote.close()


def test_a_large_search_goes_in_several_requests(url: str, retriever: LuceneRetriever) -> None:
    remote = RemoteRetriever(f"{url}/retrieve")
    queries = [f"tos {number} company" for number in range(600)]
    assert remote.search(queries, 2) == retriever.search(queries, 2)
    assert remote.counts()["remote_requests"] == 3
    assert [len(part) for part in client._parts(["x"] * 250, 100)] == [100, 100, 50]
    assert [len(part) for part in client._parts(["x" * 200_000] * 3, 1)] == [1, 1, 1]


def test_threads_share_a_client(url: str, retriever: LuceneRetriever) -> None:
    remote = RemoteRetriever(url)
    queries = ["mortan", "twin", "company", "belora"] * 10
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda query: remote.search([query], 3)[0], queries))
    assert rows == retriever.search(queries, 3)


def test_the_token_is_that_of_the_environment(
    retriever: LuceneRetriever,
    config: RetrievalConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with served(retriever, config, token=SECRET) as address:
        with pytest.raises(Refused, match=f"HTTP 401 .*{wire.TOKEN}"):
            RemoteRetriever(address).search(["twin"], 1)
        monkeypatch.setenv(wire.TOKEN, SECRET)
        caplog.set_level("DEBUG")
        assert RemoteRetriever(address).search(["twin"], 1)[0][0].passage.id == "twin-10"
    assert SECRET not in caplog.text


def test_a_refusal_is_told_in_the_servers_words_and_not_repeated(
    retriever: LuceneRetriever, config: RetrievalConfig
) -> None:
    with served(retriever, config, replace(LIMITS, topk=4)) as address:
        remote = RemoteRetriever(address)
        with pytest.raises(Refused, match=r"refused: HTTP 422 \(topk must be from 1 to 4, not 5\)"):
            remote.search(["twin"], 5)
        assert remote.counts()["remote_requests"] == remote.counts()["remote_refused"] == 1


def test_another_index_is_noticed_in_every_answer(url: str, retriever: LuceneRetriever) -> None:
    remote = RemoteRetriever(url, index="0" * 64)
    for ask in (remote.ready, lambda: remote.search(["twin"], 1)):
        with pytest.raises(OtherIndex, match=f"holds the index {retriever.digest}, and 0{{64}} was expected"):
            ask()
    with Faulty([GOOD]) as server, pytest.raises(OtherIndex, match="holds the index none that it tells"):
        RemoteRetriever(server.url, index="0" * 64).search(["twin"], 1)


def test_more_clients_than_places_all_get_their_answers(retriever: LuceneRetriever, config: RetrievalConfig) -> None:
    with served(retriever, config, Limits(workers=1, waiting=0)) as address:
        remotes = [RemoteRetriever(address, attempts=200) for _ in range(16)]
        with ThreadPoolExecutor(16) as threads:
            rows = list(threads.map(lambda remote: remote.search(["tos", "twin"] * 100, 3), remotes))
        assert rows == [retriever.search(["tos", "twin"] * 100, 3)] * 16
        assert sum(remote.counts()["remote_busy"] for remote in remotes) > 0


# --- Search-R1's server


def test_documents_without_an_id_are_called_by_their_contents() -> None:
    document = {"title": "Karvik", "text": "Karvik founded Mortan.", "contents": ITEM["document"]["contents"]}
    with Faulty([sends(response({"result": [[{"document": document, "score": 1}] * 2]}))]) as server:
        rows = RemoteRetriever(f"{server.url}/retrieve").search(["karvik"], 2)
        assert [hit.passage.id for hit in rows[0]] == [wire.digest_text(document["contents"])] * 2
        assert contents_of(rows[0][0].passage) == document["contents"]
        asked = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert asked == {"queries": ["karvik"], "topk": 2, "return_scores": True}


# --- wrong replies


def _with(**fields: Any) -> dict[str, Any]:
    return {"result": [[{**ITEM, **fields}]]}


def _document(**fields: Any) -> dict[str, Any]:
    return _with(document={**ITEM["document"], **fields})


WRONG = {
    "nothing": (b"", "not JSON"),
    "html": (b"<html>", "not JSON"),
    "half": (b'{"result": [[', "not JSON"),
    "deep": (b"[" * 100_000, "not JSON"),
    "utf-8": (b'{"result": [["\xff\xfe"]]}', "not UTF-8 at byte 14"),
    "list": ([], 'no object with a list "result"'),
    "null": ({"result": None}, 'no object with a list "result"'),
    "error": ({"detail": "all is well"}, 'no object with a list "result"'),
    "too few": ({"result": []}, "0 results for 1 queries"),
    "too many": ({"result": [[], []]}, "2 results for 1 queries"),
    "row": ({"result": [None]}, "result 0 is no list"),
    "more": ({"result": [[ITEM, ITEM]]}, "result 0 holds 2 passages where 1 were asked for"),
    "bare": ({"result": [[ITEM["document"]]]}, 'passage 0 is no object with a "document"'),
    "text": ({"result": [["text"]]}, 'passage 0 is no object with a "document"'),
    "no contents": (_document(contents=None), '"contents" is no text'),
    "blank": (_document(contents=" \n"), '"contents" is no text'),
    "surrogate": (rb'{"result": [[{"document": {"id": "a", "contents": "\ud800"}, "score": 1}]]}', "surrogate"),
    "long": (_document(contents="x" * 10_000_000), "has 10000000 characters, more than 1048576"),
    "id": (_document(id=[1]), '"id" is no text'),
    "score": (_with(score="2.5"), '"score" is no finite number'),
    "true": (_with(score=True), '"score" is no finite number'),
    "no score": (_with(score=None), '"score" is no finite number'),
    "nan": (b'{"result": [[{"document": {"id": "a", "contents": "b"}, "score": NaN}]]}', "no finite number"),
    "huge": (b'{"result": [[{"document": {"id": "a", "contents": "b"}, "score": 1' + b"0" * 400 + b"}]]}", "no finite"),
    "digits": (b'{"result": [[{"document": {"id": "a", "contents": "b"}, "score": ' + b"1" * 9000 + b"}]]}", "JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_reply_is_an_error_that_names_what_is_wrong(name: str) -> None:
    body, sentence = WRONG[name]
    with Faulty([sends(response(body))]) as server:
        remote = RemoteRetriever(server.url)
        with pytest.raises(WrongReply, match=sentence) as caught:
            remote.search(["karvik"], 1)
        assert str(caught.value).startswith(server.url)
        assert len(str(caught.value)) < 250
        assert caught.value.rows is None
        assert len(server.requests) == remote.counts()["remote_wrong_replies"] == 1


def test_a_passage_that_comes_twice_for_a_query_is_wrong() -> None:
    with Faulty([sends(response({"result": [[ITEM, ITEM]]}))]) as server, pytest.raises(WrongReply, match="twice"):
        RemoteRetriever(server.url).search(["karvik"], 2)


def test_a_reply_without_end_is_cut_off() -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * (1 << 16))

    with Faulty([pour]) as server, pytest.raises(WrongReply, match="longer than 1000000 bytes"):
        RemoteRetriever(server.url, reply_bytes=1_000_000).search(["karvik"], 1)


def test_a_compressed_reply_is_not_unpacked() -> None:
    bomb = sends(response(b"\x1f\x8b", headers=["Content-Encoding: gzip"]))
    with Faulty([bomb]) as server, pytest.raises(WrongReply, match="compressed"):
        RemoteRetriever(server.url).search(["karvik"], 1)


def test_what_was_answered_before_a_failure_is_handed_over() -> None:
    rows = [[ITEM]] * client._QUERIES
    answers = [sends(response({"result": rows})), sends(response("no"))]
    with Faulty(answers) as server, pytest.raises(WrongReply) as caught:
        RemoteRetriever(server.url).search(["karvik"] * (client._QUERIES + 2), 1)
    assert caught.value.rows == [*[[HIT]] * client._QUERIES, None, None]


@pytest.mark.parametrize("status", ["302 Found", "400 Bad Request", "404 Not Found", "204 No Content"])
def test_any_other_status_is_refused_without_following_it(status: str) -> None:
    with Faulty([sends(response("", status, ["Location: http://127.0.0.1:1/"]))]) as server:
        with pytest.raises(Refused, match=f"HTTP {status[:3]}"):
            RemoteRetriever(server.url).search(["karvik"], 1)
        assert len(server.requests) == 1


def test_a_servers_words_cannot_write_on_the_terminal() -> None:
    words = {"detail": "\x1b[2J\n" + "x" * 10_000}
    with Faulty([sends(response(words, "400 Bad Request"))]) as server, pytest.raises(Refused) as caught:
        RemoteRetriever(server.url).search(["karvik"], 1)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


# --- what may be gone the next time


def _hang(connection: socket.socket) -> None:
    threading.Event().wait(5)


def _drip(connection: socket.socket) -> None:
    """A byte of the head now and then: never silent for as long as a read may take."""
    for byte in response({"result": [[ITEM]]}) * 10:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


FAULTS = {
    "500": (sends(response("oh", "500 Internal Server Error")), "server_errors", "HTTP 500"),
    "503": (sends(response({"detail": "soon"}, "503 Service Unavailable")), "server_errors", r"HTTP 503 \(soon\)"),
    "429": (sends(response("", "429 Too Many Requests", ["Retry-After: 0"])), "busy", "HTTP 429"),
    "bad Retry-After": (sends(response("", "429 Too Many Requests", ["Retry-After: never"])), "busy", "HTTP 429"),
    "hang": (_hang, "timeouts", "no answer within 0.3 s"),
    "drip": (_drip, "timeouts", "no answer within 0.3 s"),
    "drop": (lambda connection: None, "dropped", "the connection broke"),
    "half": (sends(response({"result": [[ITEM]]})[:-20]), "dropped", "the connection broke"),
    "noise": (sends(b"\x00\xff" * 500), "dropped", "the connection broke"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_is_outlived_and_counted(name: str) -> None:
    fault, kind, _ = FAULTS[name]
    with Faulty([fault, fault, GOOD]) as server:
        remote = RemoteRetriever(server.url, timeout_s=0.3)
        assert remote.search(["karvik"], 1) == [[HIT]]
        counts = remote.counts()
    assert {name: count for name, count in counts.items() if count} == {
        "remote_requests": 3,
        "remote_retries": 2,
        f"remote_{kind}": 2,
    }


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_stays_ends_as_an_error_after_as_many_attempts(name: str) -> None:
    fault, _, sentence = FAULTS[name]
    with Faulty([fault]) as server:
        remote = RemoteRetriever(server.url, timeout_s=0.3, attempts=2)
        with pytest.raises(Unavailable, match=f"attempt 2 being the last: {sentence}"):
            remote.search(["karvik"], 1)
        assert len(server.times) == 2
        assert remote.counts()["remote_unavailable"] == 1


def test_nobody_listening_is_tried_again_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    remote = RemoteRetriever(f"http://127.0.0.1:{port}", attempts=3)
    with pytest.raises(Unavailable, match="no connection"):
        remote.search(["karvik"], 1)
    assert remote.counts()["remote_unreachable"] == 3


def _in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("after", [lambda: "1", lambda: _in(2)], ids=["seconds", "date"])
def test_retry_after_is_waited_for(after: Callable[[], str]) -> None:
    with Faulty([sends(response("", "429 Too Many Requests", [f"Retry-After: {after()}"])), GOOD]) as server:
        assert RemoteRetriever(server.url).search(["karvik"], 1) == [[HIT]]
        assert 0.9 < server.times[1] - server.times[0] < 4


def test_a_retry_after_beyond_patience_is_given_up_at_once() -> None:
    begin = time.monotonic()
    busy = sends(response("", "429 Too Many Requests", ["Retry-After: 3600"]))
    with Faulty([busy]) as server, pytest.raises(Unavailable, match="attempt 1 being the last"):
        RemoteRetriever(server.url).search(["karvik"], 1)
    assert time.monotonic() - begin < 3


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    class State:
        attempt_number, outcome = 4, None

    waits = {client._wait(State()) for _ in range(50)}  # type: ignore[arg-type]
    assert len(waits) == 50
    assert 0.04 <= min(waits) < 0.05 < 0.07 < max(waits) <= 0.08


# --- what the caller did wrong


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8000", "ftp://a", "http://", "http://a:port", "http://a/?q=1", "http://user:word@a"]
)
def test_a_url_that_is_none_is_refused_and_a_password_not_repeated(address: str) -> None:
    with pytest.raises(UserError, match="retrieval service") as caught:
        RemoteRetriever(address)
    assert "word@" not in str(caught.value)


def test_k_of_0_is_the_callers_mistake(url: str) -> None:
    with pytest.raises(UserError, match="k must be at least 1, not 0"):
        RemoteRetriever(url).search(["twin"], 0)


def test_a_forked_process_is_told_instead_of_hanging(url: str) -> None:
    remote = RemoteRetriever(url)
    child = os.fork()
    if child == 0:
        try:
            remote.search(["twin"], 1)
        except RetrieverError as error:
            os._exit(7 if "fork" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
