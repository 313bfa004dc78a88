"""What is measured within a rollout, step by step, beside its outcome: one place for the trainer and the spine."""

from collections.abc import Sequence
from dataclasses import dataclass

from igsearch.methods import CreditConfig
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rewards.information_gain import Key, Pair, StepGain, information_gain


@dataclass(frozen=True, slots=True)
class Signals:
    """The step signals of one rollout.

    gains: the information gain of each search step, None where it was not scored or the method does not ask for it.
    """

    gains: tuple[StepGain | None, ...]


def nothing(episode: Episode) -> Signals:
    """The signals of an episode of which nothing was measured."""
    return Signals((None,) * len(episode.steps))


def measure(
    policy: Policy,
    episodes: Sequence[Episode],
    method: CreditConfig,
    key: Key,
    rewards: Sequence[float],
    pool: Sequence[Pair] | None = None,
) -> list[Signals]:
    """The signals that `method` asks for, one entry per episode. `pool` as for `information_gain`."""
    config = method.information_gain
    if config is None:
        return [nothing(episode) for episode in episodes]
    return [Signals(tuple(row)) for row in information_gain(policy, episodes, config, key, rewards, pool)]
