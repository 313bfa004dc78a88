"""Cached hits are those of the index, the least recently used leave first, and every query is a hit or a miss."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from igsearch.errors import UserError
from igsearch.records import Hit
from igsearch.retrieval.base import RetrieverError
from igsearch.retrieval.cache import Cached
from igsearch.retrieval.lucene import LuceneRetriever


class Watched:
    """Lucene, noting what it is asked."""

    def __init__(self, lucene: LuceneRetriever) -> None:
        self.lucene = lucene
        self.asked: list[tuple[list[str], int]] = []

    def search(self, queries: list[str], k: int) -> list[list[Hit]]:
        self.asked.append((list(queries), k))
        return self.lucene.search(queries, k)


@pytest.fixture
def watched(retriever: LuceneRetriever) -> Watched:
    return Watched(retriever)


def _cached(watched: Watched, size: int = 100) -> Cached:
    return Cached(watched, "digest", size)


QUERIES = ["karvik company", "twin words", "", "karvik company", "heroes album", "\ud83d mortan"]


def test_hits_are_the_same_first_and_later_and_in_the_order_of_the_queries(watched: Watched) -> None:
    cached = _cached(watched)
    expected = watched.lucene.search(QUERIES, 3)
    assert cached.search(QUERIES, 3) == cached.search(QUERIES, 3) == expected
    assert cached.search(QUERIES[::-1], 3) == expected[::-1]
    assert cached.search([], 3) == []


def test_one_call_asks_for_the_distinct_queries_that_are_missing(watched: Watched) -> None:
    cached = _cached(watched)
    cached.search(["karvik", "twin", "karvik"], 2)
    cached.search(["tos", "karvik", "album", "tos"], 2)
    cached.search(["album", "twin"], 2)
    assert watched.asked == [(["karvik", "twin"], 2), (["tos", "album"], 2)]
    assert cached.counts() == {"cache_hits": 3, "cache_misses": 4}


def test_another_k_is_another_search(watched: Watched) -> None:
    cached = _cached(watched)
    assert [len(cached.search(["twin"], k)[0]) for k in (1, 3, 1)] == [1, 3, 1]
    assert watched.asked == [(["twin"], 1), (["twin"], 3)]


def test_another_index_has_another_digest(watched: Watched, retriever: LuceneRetriever) -> None:
    """k1 and b apply at search time: the card alone would not tell such retrievers apart."""
    assert retriever.digest != retriever.card["corpus"]
    assert len(retriever.digest) == 64


def test_the_least_recently_used_leaves_first(watched: Watched) -> None:
    cached = _cached(watched, size=2)
    for query in ("karvik", "twin", "karvik", "tos", "karvik", "twin"):  # tos drives out twin, not karvik
        cached.search([query], 1)
    assert [queries for queries, _ in watched.asked] == [["karvik"], ["twin"], ["tos"], ["twin"]]


def test_a_call_of_more_queries_than_are_kept_is_answered(watched: Watched) -> None:
    assert _cached(watched, size=1).search(QUERIES, 3) == watched.lucene.search(QUERIES, 3)


def test_what_a_caller_does_to_its_hits_reaches_no_other(watched: Watched) -> None:
    cached = _cached(watched)
    first, second = cached.search(["twin", "twin"], 3)
    first.clear()
    second.reverse()
    cached.search(["twin"], 3)[0].pop()
    assert [hit.passage.id for hit in cached.search(["twin"], 3)[0]] == ["twin-10", "twin-a", "twin-b"]


def test_what_raises_is_not_kept(watched: Watched) -> None:
    cached = _cached(watched)
    with pytest.raises(UserError, match="k must be at least 1"):
        cached.search(["karvik"], 0)
    broken = cached._retriever = Broken()
    with pytest.raises(RetrieverError):
        cached.search(["karvik"], 1)
    broken.answers = True
    assert cached.search(["karvik"], 1) == [[]]


class Broken:
    answers = False

    def search(self, queries: list[str], k: int) -> list[list[Hit]]:
        if not self.answers:
            raise RetrieverError("broken")
        return [[] for _ in queries]


def test_threads_share_a_cache_that_stays_whole(watched: Watched) -> None:
    cached = _cached(watched, size=3)
    queries = ["karvik company", "mortan tos company", "river tos", "twin words", "album city", ""]
    expected = {query: watched.lucene.search([query], 3)[0] for query in queries}
    interval = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)
        with ThreadPoolExecutor(8) as pool:
            asked = [[queries[number % 6], queries[number * 5 % 6]] for number in range(400)]
            found = list(pool.map(lambda two: cached.search(two, 3), asked))
    finally:
        sys.setswitchinterval(interval)
    assert found == [[expected[query] for query in two] for two in asked]
    assert len(cached._kept) == 3
    assert sum(cached.counts().values()) == sum(len(set(two)) for two in asked)
