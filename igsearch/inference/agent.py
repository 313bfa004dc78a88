"""The search loop, as it is trained, decoded greedily."""

from collections.abc import Sequence

from igsearch.config import Config
from igsearch.policy.base import Policy
from igsearch.records import Episode, Question
from igsearch.retrieval.base import Retriever
from igsearch.rollout.environment import rollout


def answer(policy: Policy, retriever: Retriever, questions: Sequence[Question], config: Config) -> list[Episode]:
    """One greedy episode for each question, in order."""
    return rollout(policy, retriever, questions, [0] * len(questions), config.rollout, config.retrieval.k, None)
