"""Both indexes, and both ways to ask, give the same hits."""

from pathlib import Path

import pytest
import retrieval
import synthetic
from harness import Report

from igsearch.retrieval.lucene import LuceneRetriever


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retrieval")


def test_our_index_answers_as_anserinis_own_does(folder: Path) -> None:
    assert retrieval.compare(folder, 1000, 20) == 0


def test_a_server_asked_one_by_one_answers_as_batches_do(folder: Path) -> None:
    queries = list(synthetic.queries(70, 1000))
    batches = LuceneRetriever(folder / "ours", retrieval.CONFIG).search(queries, retrieval.K)
    assert all(batches)
    with retrieval.serving(folder / "ours") as server:
        assert retrieval.largest_difference(batches, [server.search(query) for query in queries]) == 0


def test_other_passages_are_no_small_difference(folder: Path) -> None:
    (row,) = LuceneRetriever(folder / "ours", retrieval.CONFIG).search(list(synthetic.queries(1, 1000)), 3)
    found = [(hit.passage.id, hit.score) for hit in row]
    assert retrieval.largest_difference([row], [found]) == 0
    assert retrieval.largest_difference([row], [found[::-1]]) == float("inf")


def test_the_cache_answers_as_lucene_does(folder: Path) -> None:
    report = Report("retrieval", {})
    retrieval.cache_rounds(report, folder / "ours", list(synthetic.queries(70, 1000)), 1)
    assert report.differences == {"scores, cache against Lucene": 0}
