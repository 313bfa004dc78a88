"""What a retriever finds for questions, and how often that holds an answer."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from igsearch.provenance import atomic_path
from igsearch.records import Hit, Passage, Question
from igsearch.retrieval.base import Retriever
from igsearch.text import contains_answer

CUTS = (1, 5, 10)
_CHUNK = 256  # questions searched for at a time


def holds_answer(passage: Passage, answers: Iterable[str]) -> bool:
    """A hit: a normalised gold answer as whole words within the title or within the text."""
    accepted = tuple(answers)
    return contains_answer(passage.title, accepted) or contains_answer(passage.text, accepted)


def hit_at(hits: Sequence[Hit], answers: Iterable[str], k: int) -> bool:
    """Whether one of the first `k` hits holds an answer."""
    accepted = tuple(answers)
    return any(holds_answer(hit.passage, accepted) for hit in hits[:k])


def retrieve(retriever: Retriever, questions: Sequence[Question], k: int) -> Iterator[list[Hit]]:
    """The hits of each question in order, its text being the query; a chunk of questions is searched for at a time."""
    for start in range(0, len(questions), _CHUNK):
        yield from retriever.search([question.text for question in questions[start : start + _CHUNK]], k)


def _row(question: Question, hits: Sequence[Hit]) -> dict[str, Any]:
    found = [
        {
            "id": hit.passage.id,
            "title": hit.passage.title,
            "text": hit.passage.text,
            "score": hit.score,
            "hit": holds_answer(hit.passage, question.answers),
        }
        for hit in hits
    ]
    return {
        "id": question.id,
        "benchmark": question.benchmark,
        "question": question.text,
        "golden_answers": list(question.answers),
        "hits": found,
    }


def _rates(first_hits: Sequence[int | None], k: int) -> dict[str, float | None]:
    """`first_hits` are the ranks, from 1, of the first hit of each question. None for cuts that `k` does not reach."""
    if not first_hits:
        return {f"hit@{cut}": None for cut in CUTS}
    counts = {cut: sum(rank is not None and rank <= cut for rank in first_hits) for cut in CUTS}
    return {f"hit@{cut}": counts[cut] / len(first_hits) if cut <= k else None for cut in CUTS}


def write_hits(
    retriever: Retriever,
    questions: Sequence[Question],
    k: int,
    out: Path,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float | int | None]:
    """Write the hits of each question as a JSON line to `out` and return `{"n", "hit@1", "hit@5", "hit@10"}`.

    The rates are shares of the `n` questions, null beyond `k`. `progress` is called with the number of questions done.
    """
    first_hits: list[int | None] = []
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for question, hits in zip(questions, retrieve(retriever, questions, k), strict=True):
            row = _row(question, hits)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            first_hits.append(next((rank for rank, hit in enumerate(row["hits"], 1) if hit["hit"]), None))
            if progress:
                progress(len(first_hits))
    return {"n": len(questions), **_rates(first_hits, k)}
