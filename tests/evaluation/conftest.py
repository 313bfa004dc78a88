"""Episodes and records made by hand, and a small real policy."""

from collections.abc import Callable

import pytest
import scripted

from igsearch.policy.base import Policy
from igsearch.records import EndReason, Episode, Hit, Passage, Question, QuestionRecord, SearchStep


@pytest.fixture(scope="session")
def policy() -> Policy:
    return scripted.tiny_policy()


@pytest.fixture(scope="session")
def made() -> Callable[..., QuestionRecord]:
    """A record with the given fields; the others are those of a right answer after one useful search."""

    def make(number: int = 0, benchmark: str = "nq", **changes: object) -> QuestionRecord:
        fields: dict[str, object] = {
            "uid": f"{benchmark}/{number}",
            "benchmark": benchmark,
            "question": "who wrote karvik?",
            "answers": ("meldon",),
            "hops": 1,
            "prediction": "meldon",
            "em": 1.0,
            "em_by_attempt": (1.0,),
            "f1": 1.0,
            "cover_em": 1.0,
            "searches": 1,
            "searches_without_new_passage": 0,
            "sampled_tokens": 12,
            "retrieval_hit": True,
            "first_query_useful": True,
            "end": EndReason.ANSWERED,
            "contract": "c",
            "policy": "p",
        }
        return QuestionRecord(**{**fields, **changes})  # type: ignore[arg-type]

    return make


def step(query: str, *passages: tuple[str, str], new: int = 1) -> SearchStep:
    """A search step that brought passages, given as (id, text)."""
    return SearchStep(query, tuple(Hit(Passage(name, name, text), 1.0) for name, text in passages), new)


@pytest.fixture(scope="session")
def two_hop_episode() -> Episode:
    """Two searches: the second brings nothing new; the answer stands in the first passage."""
    metadata = {"chain": [["p1", "p2"], ["p3"]]}
    question = Question("7", "hotpotqa", "who wrote karvik", ("Meldon", "Mel Don"), 2, metadata)
    return Episode(
        question=question,
        rollout=0,
        prompt_ids=[1],
        response_ids=[1, 2, 3, 4],
        sampled=[True, True, False, True],
        logprobs=[-0.5] * 4,
        steps=[
            step("karvik", ("p2", "karvik is by meldon .")),
            step("karvik again", ("p2", "karvik is by meldon ."), new=0),
        ],
        prediction="the Meldon.",
        end=EndReason.ANSWERED,
    )
