"""Decoding with a cache equals reading the whole context again for every token, whoever shares the batch."""

import pytest
import torch

from igsearch.errors import UserError
from igsearch.policy import decode
from igsearch.policy.base import Policy
from igsearch.policy.decode import _choose, _chunks, _close_ranks
from igsearch.policy.generate import eos_ids, start

CONTEXTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11], [2, 9, 2, 9, 2]]
OBSERVATIONS = [[3, 3, 4], [12], [5, 6, 7, 8, 9, 10, 11, 12], []]
STOP = 7


def stop(row: int, token: int) -> bool:
    return token == STOP


@torch.inference_mode()
def next_logprobs(policy: Policy, ids: list[int]) -> torch.Tensor:
    return policy.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)


def recomputed(policy: Policy, ids: list[int], limit: int) -> tuple[list[int], list[float]]:
    """Greedy decoding without a cache."""
    tokens, logprobs = [], []
    while len(tokens) < limit:
        values = next_logprobs(policy, ids + tokens)
        tokens.append(int(values.argmax()))
        logprobs.append(float(values.max()))
        if tokens[-1] == STOP or tokens[-1] in eos_ids(policy):
            break
    return tokens, logprobs


def test_greedy_turns_with_observations_equal_full_recomputation(policy: Policy) -> None:
    session, contexts = start(policy, CONTEXTS), [list(c) for c in CONTEXTS]
    rows = [3, 0, 1, 2]  # another order than the slots
    for turn in range(3):
        limits = [9, 4, 6, 1]
        turns = session.generate(rows, stop, limits[: len(rows)], None, 1.0)
        for row, limit, sampled in zip(rows, limits, turns, strict=False):
            ids, logprobs = recomputed(policy, contexts[row], limit)
            assert sampled.ids == ids
            assert sampled.logprobs == pytest.approx(logprobs, abs=1e-5)
            contexts[row] += sampled.ids + OBSERVATIONS[row]
        session.append(rows, [OBSERVATIONS[row] for row in rows])
        if turn == 0:
            session.drop([1])
            rows = [2, 3, 0]


def test_a_prefill_in_several_chunks_equals_full_recomputation(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "PREFILL_TOKENS", 8)
    session, contexts = start(policy, CONTEXTS), [list(c) for c in CONTEXTS]
    for _ in range(3):
        session.append(range(4), OBSERVATIONS)
        turns = session.generate(range(4), stop, [3, 9, 4, 6], None, 1.0)
        for context, observation, limit, sampled in zip(contexts, OBSERVATIONS, [3, 9, 4, 6], turns, strict=True):
            context += observation
            assert sampled.ids == recomputed(policy, context, limit)[0]
            context += sampled.ids


def test_no_chunk_holds_more_padded_tokens_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "PREFILL_TOKENS", 8)
    pending = [[0] * length for length in (20, 4, 4, 2, 2, 3)]
    assert list(_chunks(pending)) == [slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 6)]


def test_rows_that_stay_move_into_the_places_of_those_that_leave() -> None:
    assert _close_ranks([5, 1, 4, 0, 3], {1, 0, 3}) == [0, 1, 3]
    assert _close_ranks([5, 1], {5, 1}) == [5, 1]


def test_rows_that_sit_out_a_turn_keep_their_context(policy: Policy) -> None:
    session = start(policy, CONTEXTS)
    first = session.generate([1], stop, [5], None, 1.0)[0]
    session.append([0, 1], [[4, 4], [5]])
    both = session.generate([0, 1], stop, [5, 5], None, 1.0)
    assert both[0].ids == recomputed(policy, CONTEXTS[0] + [4, 4], 5)[0]
    assert both[1].ids == recomputed(policy, CONTEXTS[1] + first.ids + [5], 5)[0]


def test_sampled_draws_do_not_depend_on_the_batch(policy: Policy) -> None:
    seeds = [11, 12, 13, 14]
    together = start(policy, CONTEXTS).generate([0, 1, 2, 3], stop, [8, 9, 10, 11], seeds, 1.0)
    for row, seed in enumerate(seeds):
        alone = start(policy, [CONTEXTS[row]]).generate([0], stop, [8 + row], [seed], 1.0)[0]
        assert alone.ids == together[row].ids
    assert len({tuple(sampled.ids) for sampled in together}) > 1


def test_a_smaller_budget_draws_the_same_first_tokens(policy: Policy) -> None:
    long = start(policy, CONTEXTS[:1]).generate([0], lambda *_: False, [12], [5], 1.0)[0]
    short = start(policy, CONTEXTS[:1]).generate([0], lambda *_: False, [4], [5], 1.0)[0]
    assert long.ids[:4] == short.ids


def test_logprobs_are_those_of_a_full_pass_at_temperature_one(policy: Policy) -> None:
    sampled = start(policy, CONTEXTS).generate([0, 1, 2, 3], stop, [8] * 4, [1, 2, 3, 4], 0.5)
    for context, turn in zip(CONTEXTS, sampled, strict=True):
        for i, (token, logprob) in enumerate(zip(turn.ids, turn.logprobs, strict=True)):
            assert logprob == pytest.approx(float(next_logprobs(policy, context + turn.ids[:i])[token]), abs=1e-5)


def test_eos_ends_a_turn_and_is_kept(policy: Policy) -> None:
    eos = policy.tokenizer.eos_token_id
    assert eos_ids(policy) == {eos}
    for seed in range(200):
        ids = start(policy, [[1]]).generate([0], lambda *_: False, [30], [seed], 1.0)[0].ids
        if eos in ids:
            assert ids.index(eos) == len(ids) - 1
            return
    pytest.fail("no draw ended with EOS")


def test_no_budget_means_no_token(policy: Policy) -> None:
    assert start(policy, [[1], [2]]).generate([0, 1], stop, [0, 3], None, 1.0)[0].ids == []


def test_stop_sees_every_sampled_token_in_order(policy: Policy) -> None:
    seen: list[tuple[int, int]] = []
    sampled = start(policy, CONTEXTS).generate(
        [0, 1], lambda r, t: seen.append((r, t)) or len(seen) > 8, [9, 9], [1, 2], 1.0
    )
    for row in (0, 1):
        assert [token for r, token in seen if r == row] == sampled[row].ids


def test_inverse_cdf_takes_the_token_whose_interval_holds_the_draw() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.0, 0.3, 0.2]])).expand(6, -1)
    draws = [0.0, 0.49, 0.51, 0.79, 0.81, 0.999999999]
    tokens, logprobs = _choose(logits, torch.tensor(draws, dtype=torch.float64).numpy(), 1.0)
    assert tokens == [0, 0, 2, 2, 3, 3]
    assert logprobs == pytest.approx(torch.log(torch.tensor([0.5, 0.5, 0.3, 0.3, 0.2, 0.2])).tolist())


def test_frequencies_follow_the_tempered_distribution(policy: Policy) -> None:
    rows = 3000
    session = start(policy, [[1, 2]] * rows)
    sampled = session.generate(range(rows), stop, [1] * rows, range(rows), 2.0)
    counts = torch.bincount(torch.tensor([s.ids[0] for s in sampled]), minlength=len(policy.tokenizer))
    expected = (next_logprobs(policy, [1, 2]) / 2).softmax(-1)
    assert torch.allclose(counts / rows, expected, atol=4 * 0.5 / rows**0.5)


def test_the_training_mode_of_the_model_is_left_as_it_was(policy: Policy) -> None:
    policy.model.train()
    try:
        start(policy, [[1]]).generate([0], stop, [2], None, 1.0)
        assert policy.model.training
    finally:
        policy.model.eval()


def test_an_empty_context_is_an_error(policy: Policy) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        start(policy, [[1], []])


def test_a_sliding_window_model_is_refused() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = MistralForCausalLM(MistralConfig(vocab_size=8, num_key_value_heads=1, sliding_window=4, **sizes))
    with pytest.raises(UserError, match="whole context"):
        start(Policy(model=model, tokenizer=None, name="m"), [[1]])
