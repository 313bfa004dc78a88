"""Ways to answer questions with a policy as it is. Each is `answer(policy, retriever, questions, config)`."""

from collections.abc import Callable, Sequence

from igsearch.config import Config
from igsearch.errors import UserError, nearest
from igsearch.inference import agent, cot, direct, ircot, rag, search_o1
from igsearch.inference.turns import refusal, require
from igsearch.policy.base import Policy
from igsearch.records import Episode, Question
from igsearch.retrieval.base import Retriever

Answer = Callable[[Policy, Retriever, Sequence[Question], Config], list[Episode]]
"""One greedy episode for each question, in order."""

METHODS: dict[str, Answer] = {
    "agent": agent.answer,
    "cot": cot.answer,
    "direct": direct.answer,
    "ircot": ircot.answer,
    "rag": rag.answer,
    "search_o1": search_o1.answer,
}


def resolve(name: str, config: Config) -> Answer:
    """The way of answering of that name. UserError where there is none, or where it means nothing in the configured
    prompt style."""
    if name not in METHODS:
        raise UserError(f"unknown way of answering {name!r} {nearest(name, METHODS)}")
    require(name, config.rollout.prompt)
    return METHODS[name]


__all__ = ["METHODS", "Answer", "refusal", "require", "resolve"]
