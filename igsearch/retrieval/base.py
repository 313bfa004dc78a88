"""What every retriever offers."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from igsearch.records import Hit


class RetrieverError(Exception):
    """A retriever could not answer. The episode that asked ends as `retriever_failed`, never as a silent zero.

    rows: for each query of the call its hits, None where it failed; None where no query of the call was answered.
    """

    def __init__(self, message: str, rows: Sequence[list[Hit] | None] | None = None) -> None:
        super().__init__(message)
        self.rows = rows


class Retriever(Protocol):
    """Ranked passages for queries. Safe to call from several threads."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """For each query at most `k` hits, best first; none where no word is indexed. Raises RetrieverError."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A retriever that counts what it does."""

    def counts(self) -> dict[str, int]:
        """Since it was made, by name; those of the retriever it stands in front of among them."""
        ...


def counts_of(retriever: Retriever) -> dict[str, int]:
    """What a retriever counted; nothing where it does not count."""
    return retriever.counts() if isinstance(retriever, Counting) else {}
