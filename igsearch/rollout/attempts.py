"""Several attempts within one response (MR-Search, arXiv 2603.11327).

When an attempt ends, with an answer or without one, the environment asks the policy to reflect and to try again. The
next attempt begins with everything before it in view; nothing is said of whether the answer was right. Each attempt has
as many turns as an episode of one attempt, the last without retrieval; the token budget is that of the whole response.
"""

from functools import cache

from igsearch.config import RolloutConfig
from igsearch.policy import generate
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rollout.prompts import reflection_ids


class Attempts:
    """How many attempts an episode has, and where it stands in them. The list of an episode of one stays empty."""

    def __init__(self, policy: Policy, config: RolloutConfig) -> None:
        self._count = config.attempts
        self._turns = config.attempt_turns or config.max_searches + 1
        self._end_ids = generate.eos_ids(policy)
        self._reflection = cache(lambda question: reflection_ids(policy, question, config))

    def now(self, episode: Episode) -> int:
        """The number of the attempt that is being made."""
        return len(episode.attempts)

    def is_last_turn(self, episode: Episode) -> bool:
        """Whether the turn written last was the last one of its attempt."""
        return sum(turn.attempt == self.now(episode) for turn in episode.turns) >= self._turns

    def again(self, episode: Episode, prediction: str | None) -> bool:
        """Close the attempt with its answer; whether another one follows."""
        if self._count > 1:
            episode.attempts.append(prediction)
        return 0 < len(episode.attempts) < self._count

    def reflection(self, episode: Episode) -> list[int]:
        """What the environment writes between two attempts. An end of turn that the policy wrote stands for its own."""
        ids = self._reflection(episode.question.text)
        ended = episode.response_ids[-1:] == ids[:1] and ids[0] in self._end_ids
        return ids[1:] if ended else ids

    def fill(self, episode: Episode) -> None:
        """Attempts that an early end left out, or broke off, have no answer."""
        if self._count > 1:
            episode.attempts += [None] * (self._count - len(episode.attempts))
