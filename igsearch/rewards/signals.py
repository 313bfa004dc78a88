"""What is measured within a rollout, step by step, beside its outcome: one place for the trainer and the spine."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from igsearch.methods import CreditConfig, StepRewardKind
from igsearch.policy.base import Policy
from igsearch.policy.scorer import Scorer
from igsearch.records import EndReason, Episode
from igsearch.rewards import belief, information_gain
from igsearch.rewards.belief import Beliefs
from igsearch.rewards.evidence import evidence
from igsearch.rewards.information_gain import Key, Pair, Place, StepGain
from igsearch.rewards.stepsearch import stepsearch

STEP_REWARDS: Mapping[StepRewardKind, Callable[[Episode], Sequence[float | None]]] = {
    "evidence": evidence,
    "stepsearch": stepsearch,
}


@dataclass(frozen=True, slots=True)
class Signals:
    """The step signals of one rollout.

    gains: the information gain of each search step, None where it was not scored or the method does not ask for it.
    beliefs: that in the gold answer before any turn and after each search, empty where the method does not ask for it.
    rewards: the step reward of each search step, None where it has none; empty where the method does not ask for it.
    """

    gains: tuple[StepGain | None, ...]
    beliefs: Beliefs = field(default=Beliefs())
    rewards: tuple[float | None, ...] = ()


def nothing(episode: Episode) -> Signals:
    """The signals of an episode of which nothing was measured."""
    return Signals((None,) * len(episode.steps))


def measure(
    policy: Policy,
    episodes: Sequence[Episode],
    method: CreditConfig,
    key: Key,
    rewards: Sequence[float],
    scaffold: str,
    pool: Sequence[Pair] | None = None,
    start: Policy | None = None,
    scorer: Scorer | None = None,
) -> list[Signals]:
    """The signals that `method` asks for, one entry per episode.

    `scaffold` opens an answer anywhere in a rollout (`Style.forced_answer`). `pool` and `scorer` as for
    `information_gain`. `start` is the policy before any training, needed where its likelihoods count (ValueError).
    """
    signals = [nothing(episode) for episode in episodes]
    if config := method.information_gain:
        reader = policy if config.scorer == "policy" else start
        if reader is None:
            raise ValueError("information_gain.scorer=start needs the start policy")
        moot = _nothing_new(episodes) if method.novelty_gate else ()
        gains = information_gain.information_gain(reader, episodes, config, key, rewards, pool, scorer, moot)
        signals = [replace(each, gains=tuple(row)) for each, row in zip(signals, gains, strict=True)]
    if method.igpo:
        measured = belief.beliefs(policy, episodes, scaffold, method.igpo, scorer)
        signals = [replace(each, beliefs=row) for each, row in zip(signals, measured, strict=True)]
    if method.step_reward:
        signals = [
            replace(each, rewards=_step_rewards(method.step_reward, episode))
            for each, episode in zip(signals, episodes, strict=True)
        ]
    return signals


def _nothing_new(episodes: Sequence[Episode]) -> set[Place]:
    """The searches that brought no new passage. A novelty gate counts their gain as 0, so it need not be measured."""
    return {
        (row, number)
        for row, episode in enumerate(episodes)
        for number, step in enumerate(episode.steps)
        if step.new_passages == 0
    }


def _step_rewards(kind: StepRewardKind, episode: Episode) -> tuple[float | None, ...]:
    if episode.end is EndReason.RETRIEVER_FAILED:
        return (None,) * len(episode.steps)
    return tuple(STEP_REWARDS[kind](episode))


def scorer_of(method: CreditConfig, fallback: bool = False) -> Scorer | None:
    """The scorer of a run of `method`, None where nothing is scored. `fallback`: the run has fallen back before."""
    config = method.information_gain or method.igpo
    return Scorer(config.pass_tokens, fallback=fallback) if config else None


def diagnostics(episodes: Sequence[Episode], signals: Sequence[Signals], method: CreditConfig) -> dict[str, float]:
    """Figures of the signals of one batch for the log; none for a method that asks for no signal."""
    figures: dict[str, float] = {}
    if method.information_gain:
        figures |= information_gain.diagnostics(episodes, [each.gains for each in signals])
    if method.igpo:
        figures |= belief.diagnostics([each.beliefs for each in signals], method.igpo)
    if rewards := [reward for each in signals for reward in each.rewards if reward is not None]:
        figures |= {"step_reward/mean": statistics.fmean(rewards), "step_reward/steps": float(len(rewards))}
    return figures
