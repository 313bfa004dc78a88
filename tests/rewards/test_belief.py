"""Belief against one forward pass a context, the contexts spelled out, and where it ends up in the batch."""

from dataclasses import replace

import pytest
import torch

from igsearch.methods import METHODS, IgpoConfig
from igsearch.policy.base import Policy
from igsearch.records import EndReason, Episode
from igsearch.rewards import likelihood
from igsearch.rewards.belief import Beliefs, beliefs, diagnostics
from igsearch.rewards.signals import measure
from igsearch.rollout.prompts import STYLES
from igsearch.training.batch import credit_batch

CONFIG = IgpoConfig()


def scaffold(policy: Policy) -> str:
    return STYLES["tiny" if policy.name == "tiny" else "autorefine"].forced_answer


def reference(policy: Policy, context: list[int], answer: list[int]) -> float:
    """The mean log-probability of the answer by one forward pass over one unpadded row."""
    with torch.no_grad():
        logprobs = policy.model(input_ids=torch.tensor([[*context, *answer]])).logits[0].log_softmax(-1)
    picked = [float(logprobs[len(context) + m - 1, token]) for m, token in enumerate(answer)]
    return sum(picked) / len(picked)


def test_belief_is_the_mean_log_probability_of_the_gold_answer_after_the_documents_of_each_turn(
    policy: Policy, episodes: list[Episode]
) -> None:
    episode = episodes[1]
    ends = [0, *(span.outer_end for span in episode.spans if span.kind.value == "documents")]
    opening = policy.tokenizer.encode(scaffold(policy), add_special_tokens=False)
    contexts = [[*episode.prompt_ids, *episode.response_ids[:end], *opening] for end in ends]
    expected = [reference(policy, context, policy.encode(" meldon")) for context in contexts]
    got = beliefs(policy, episodes, scaffold(policy), CONFIG)[1]
    assert len(expected) == 3
    assert [got.first, *got.after] == pytest.approx(expected, abs=1e-5)


def test_the_scaffold_ends_the_reasoning_and_opens_the_answer(policy: Policy, episodes: list[Episode]) -> None:
    assert scaffold(policy).endswith("<answer>")
    if policy.name == "bpe":
        assert "enough information" in scaffold(policy)
        assert scaffold(policy).index("</think>") < scaffold(policy).index("<answer>")


def test_equal_contexts_are_scored_once(
    policy: Policy, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The belief before any turn is that of the question: three rollouts share it."""
    seen: list[tuple[int, ...]] = []
    real = likelihood.score

    def spy(policy: Policy, contexts: list[list[int]], *rest: object) -> object:
        seen.extend(map(tuple, contexts))
        return real(policy, contexts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(likelihood, "score", spy)
    got = beliefs(policy, episodes[:3], scaffold(policy), CONFIG)
    assert len(seen) == len(set(seen)) == 1 + 1 + 2
    assert got[0].first == got[1].first == got[2].first
    assert got[2].after == ()


def test_a_context_keeps_its_last_tokens(policy: Policy, episodes: list[Episode]) -> None:
    opening = policy.tokenizer.encode(scaffold(policy), add_special_tokens=False)
    got = beliefs(policy, episodes, scaffold(policy), IgpoConfig(max_context=len(opening)))
    values = {value for each in got[:3] for value in (each.first, *each.after)}
    assert len(values) == 1


def test_no_gold_answer_or_a_failed_retriever_no_belief(policy: Policy, episodes: list[Episode]) -> None:
    episodes[0].question = replace(episodes[0].question, answers=())
    episodes[1].end = EndReason.RETRIEVER_FAILED
    assert beliefs(policy, episodes, scaffold(policy), CONFIG)[:2] == [Beliefs(), Beliefs()]
    assert diagnostics([Beliefs()]) == {}


def test_beliefs_reach_the_turns_that_searched(policy: Policy, episodes: list[Episode]) -> None:
    signals = measure(policy, episodes, METHODS["igpo"], (0, 1), [0.0] * 8, scaffold(policy))
    batch = credit_batch(episodes, [0.0] * 8, signals)
    for row, (episode, turns) in enumerate(zip(episodes, batch.turns, strict=True)):
        assert batch.first_belief[row] == signals[row].beliefs.first
        assert [turn.belief for turn in turns if turn.step is not None] == list(signals[row].beliefs.after)
        assert all(turn.belief is None for turn in turns if turn.step is None)
        assert batch.answered[row] == (episode.prediction is not None)
    assert len(batch.turns[5]) == 3  # a turn without an action, a search, an answer
    assert batch.turns[5][0].belief is None


def test_other_methods_measure_no_belief(policy: Policy, episodes: list[Episode]) -> None:
    signals = measure(policy, episodes, METHODS["grpo"], (0, 1), [0.0] * 8, scaffold(policy))
    assert all(each.beliefs == Beliefs() for each in signals)


def test_diagnostics_are_means_over_rollouts() -> None:
    figures = diagnostics([Beliefs(-4.0, (-3.0, -1.0)), Beliefs(-2.0, ()), Beliefs()])
    assert figures == {"belief/first": -3.0, "belief/last": -1.0}
