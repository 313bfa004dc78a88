"""The load on the retrieval service sees what is wrong, and who did not come back."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from passages import write_corpus
from serve_load import DEEPEST, LARGEST, Client, figures, recoveries
from serving import served

from igsearch.config import RetrievalConfig
from igsearch.retrieval.client import RemoteRetriever
from igsearch.retrieval.lucene import LuceneRetriever, build


def test_answers_are_compared_with_the_indexs_own_and_differences_counted(tmp_path: Path) -> None:
    config = RetrievalConfig()
    build(write_corpus(tmp_path / "corpus.jsonl"), tmp_path / "index", config)
    retriever = LuceneRetriever(tmp_path / "index", config)
    asked = ["company", "twin", "tos", "mortan", "city", "album", "karvik", "belora"][:LARGEST]
    truth = retriever.search(asked, DEEPEST)
    with served(retriever, config) as url:
        client = Client(0, RemoteRetriever(url))
        for _ in range(5):
            client.ask(asked, truth, random.Random(1))
        assert (client.wrong, len(client.answered)) == (0, 5)
        client.ask(asked, [row[::-1] + row for row in truth], random.Random(1))
    client.remote = RemoteRetriever("http://127.0.0.1:9", attempts=1)
    client.ask(asked, truth, random.Random(1))
    found = figures([client])
    assert (found["searches answered"], found["wrong answers"], found["failed searches"]) == (5, 1, 1)


def test_a_client_without_an_answer_from_a_server_has_not_recovered() -> None:
    server: Any = SimpleNamespace(started=[0.0, 10.0, 20.0])
    clients: Any = [SimpleNamespace(answered=times) for times in ([1.0, 11.0, 23.0], [2.0, 12.5])]
    assert recoveries(server, clients) == (1, [2.5, 3.0])
