"""What every retriever offers."""

from collections.abc import Sequence
from typing import Protocol

from igsearch.records import Hit


class RetrieverError(Exception):
    """A retriever could not answer. The episode that asked ends as `retriever_failed`, never as a silent zero."""


class Retriever(Protocol):
    """Ranked passages for queries. Safe to call from several threads."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """For each query at most `k` hits, best first; none where no word is indexed. Raises RetrieverError."""
        ...
