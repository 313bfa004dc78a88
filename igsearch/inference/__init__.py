"""Ways to answer questions with a policy as it is. Each is `answer(policy, retriever, questions, config)`."""

from collections.abc import Callable, Sequence

from igsearch.config import Config
from igsearch.inference import agent, direct, rag
from igsearch.policy.base import Policy
from igsearch.records import Episode, Question
from igsearch.retrieval.base import Retriever

Answer = Callable[[Policy, Retriever, Sequence[Question], Config], list[Episode]]
"""One greedy episode for each question, in order."""

METHODS: dict[str, Answer] = {"agent": agent.answer, "direct": direct.answer, "rag": rag.answer}
