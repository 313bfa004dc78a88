"""TRL's trainer and the bare-torch spine must do the same: this fails loudly when TRL drifts."""

import math
from collections.abc import Callable
from typing import Any

import batches
import pytest
import scripted
import torch
import training_runs
from training_runs import QUESTIONS, Train, settings

from igsearch.policy.base import Policy
from igsearch.training import step, trainer
from igsearch.training.arguments import arguments
from igsearch.training.monitor import Monitor
from igsearch.training.schedule import method_of_step, questions_of_step

EXACT = 1e-5


@pytest.fixture
def scripted_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ragged turns, masked documents, mixed and uniform groups: the policy is taken to have written the scripts."""
    monkeypatch.setattr(trainer, "rollout", lambda policy, *_: batches.episodes(policy))


def differences(metrics: dict[str, float]) -> tuple[float, float]:
    return metrics["oracle/loss_difference"], metrics["oracle/gradient_difference"]


@pytest.mark.usefixtures("scripted_rollouts")
@pytest.mark.parametrize("method", ["grpo", "ig_search", "ig_search_shared", "igpo"])
@pytest.mark.parametrize("loss", ["dapo", "bnpo", "grpo"])
def test_trl_loss_and_gradient_equal_the_oracles(train: Train, method: str, loss: str) -> None:
    trained = train(method, verify_oracle=True, loss=loss, mini_batches=2, beta=0.1, epsilon=0.02, learning_rate=2e-3)
    for _, metrics in trained.logged:
        loss_difference, gradient_difference = differences(metrics)
        assert loss_difference < EXACT
        assert gradient_difference < EXACT
    assert any(metrics["policy/clipped"] > 0 for _, metrics in trained.logged)  # old log-probabilities did matter
    assert all(metrics["policy/kl"] > 0 for _, metrics in trained.logged[1:])


RIVALS = ["reinforce", "rloo", "autorefine", "search_r1_format", "gigpo", "cw_grpo", "stepsearch_reward"]


@pytest.mark.parametrize("method", RIVALS)
def test_rival_methods_train_as_the_oracle_does(train: Train, method: str) -> None:
    """Two steps of real rollouts; `reinforce` asks each question once, so it needs as many as there are rollouts."""
    trained = train(method, verify_oracle=True, steps=2, prompts_per_step=2, seed=1)
    assert len(trained.logged) == 2
    for _, metrics in trained.logged:
        assert max(differences(metrics)) < EXACT
    assert any(metrics["policy/grad_norm"] > 0 for _, metrics in trained.logged)
    has_steps = any("step_reward/mean" in metrics for _, metrics in trained.logged)
    assert has_steps == (settings().method(method).step_reward is not None)


@pytest.mark.usefixtures("scripted_rollouts")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("use_bias_correction_kl", True),
        ("epsilon", 0.5),
        ("beta", 0.05),
        ("loss_type", "dr_grpo"),
        ("temperature", 1.2),
    ],
)
def test_the_oracle_notices(train: Train, monkeypatch: pytest.MonkeyPatch, setting: str, value: object) -> None:
    """A setting of TRL that is not ours must show, be it in the loss or only in the gradient."""

    def other(*given: Any, **named: Any) -> Any:
        changed = arguments(*given, **named)
        setattr(changed, setting, value)
        return changed

    monkeypatch.setattr(trainer, "arguments", other)
    trained = train(verify_oracle=True, mini_batches=2, beta=0.1, epsilon=0.02, learning_rate=2e-3)
    assert max(max(differences(metrics)) for _, metrics in trained.logged) > 100 * EXACT


BEYOND_THE_RULE = [
    "grpo",
    "ig_search",
    "igpo",
    "ig_search_think",
    "ig_search_shared_start_scorer",
    "ig_search_shared_decay",
    "ig_search_shared_random",
]


@pytest.mark.parametrize("method", BEYOND_THE_RULE)
def test_three_steps_of_the_trainer_are_three_steps_of_the_spine(
    train: Train, fresh: Callable[[], Policy], method: str
) -> None:
    """With the same seeds, AdamW around training/step.py makes the same rollouts and ends at the same weights."""
    trained = train(method, seed=5, beta=0.05)
    config, policy, reference = settings(beta=0.05), fresh(), fresh()
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=config.train.learning_rate, weight_decay=0.0)
    shelf = scripted.Shelf(**batches.PASSAGES)
    for index, (_, metrics) in enumerate(trained.logged):
        asked = questions_of_step(QUESTIONS, 5, index, config.train.prompts_per_step)
        now = method_of_step(config.method(method), index, config.train.steps)
        figures = step.train_step(policy, reference.model, optimizer, shelf, asked, config, now, (5, index))
        assert metrics["reward/mean"] == pytest.approx(figures["reward"])
        assert metrics["loss"] == pytest.approx(figures["loss"], abs=EXACT)
        for name in figures.keys() & metrics.keys() - {"loss"}:
            assert metrics[name] == pytest.approx(figures[name], abs=1e-4), name
    for name, value in policy.model.state_dict().items():
        torch.testing.assert_close(trained.weights[name], value, atol=1e-4, rtol=1e-3)


@pytest.fixture
def gradients(train: Train, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[torch.Tensor]]:
    """The clipped gradients of one step, update by update and parameter by parameter."""
    seen: list[torch.Tensor] = []

    def look(monitor: Monitor, *_: Any, **__: Any) -> None:
        seen.extend(parameter.grad.clone() for parameter in monitor.run.policy.model.parameters())

    monkeypatch.setattr(Monitor, "on_pre_optimizer_step", look)

    def run(**changes: Any) -> list[torch.Tensor]:
        seen.clear()
        train(steps=1, beta=0.1, **changes)
        return list(seen)

    return run


@pytest.mark.parametrize("loss", ["dapo", "grpo"])
def test_batch_1_accumulated_8_times_equals_batch_8(gradients: Callable[..., list[torch.Tensor]], loss: str) -> None:
    whole = gradients(loss=loss)
    parts = gradients(loss=loss, micro_batch=1)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    assert any(a.abs().max() > 1e-2 for a in whole)


def test_retrieved_tokens_do_not_move_the_policy(
    gradients: Callable[..., list[torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every token taken for retrieved there is no gradient at all, and with it no division by zero."""

    def unsampled(policy: Policy, *_: Any) -> list[Any]:
        played = batches.episodes(policy)
        for episode in played:
            episode.sampled = [False] * len(episode.sampled)
        return played

    monkeypatch.setattr(trainer, "rollout", unsampled)
    assert all(float(gradient.abs().max()) == 0.0 for gradient in gradients())


def test_the_share_of_the_step_signal_is_logged_where_there_is_one(train: Train) -> None:
    """With alpha 0 nothing comes from the steps; a rule without step rewards says nothing about them."""
    shares = [metrics["credit/step_share"] for _, metrics in train("igpo").logged]
    assert all(0 <= share <= 1 for share in shares)
    assert any(shares)
    assert "credit/step_share" not in train("grpo", work="grpo").logged[0][1]
    decayed = train("ig_search_no_dead_zone", work="plain").logged
    for _, metrics in decayed:
        assert 0 <= metrics["credit/step_share_uniform_groups"] <= metrics["credit/step_share"] <= 1


def test_igpo_logs_the_beliefs(train: Train) -> None:
    for _, metrics in train("igpo").logged:
        assert metrics["belief/first"] < 0


@pytest.mark.parametrize("method", ["ig_search", "igpo"])
def test_every_step_tells_what_the_scorer_found_when_it_checked_itself(train: Train, method: str) -> None:
    steps = [metrics for _, metrics in train(method).logged]
    assert all(each["scorer/largest_difference"] < 1e-4 for each in steps)
    assert any(each["scorer/largest_difference"] for each in steps)
    assert all(each["scorer/fallback"] == 0 for each in steps)


@pytest.mark.usefixtures("scripted_rollouts")
@pytest.mark.parametrize("micro_batch", [None, 2])
@pytest.mark.parametrize("mini_batches", [1, 2])
@pytest.mark.parametrize("loss", ["dapo", "bnpo", "grpo"])
def test_rows_without_advantage_leave_the_update_and_not_its_denominators(
    train: Train, loss: str, mini_batches: int, micro_batch: int | None
) -> None:
    """Without a KL term: two of the three groups are uniform; they are not read, and still counted as TRL counts."""
    cut = {"loss": loss, "mini_batches": mini_batches, "micro_batch": micro_batch}
    trained = train("grpo", verify_oracle=True, epsilon=0.02, learning_rate=2e-3, **cut)
    for _, metrics in trained.logged:
        assert metrics["reward/uniform_groups"] == pytest.approx(2 / 3)
        assert max(differences(metrics)) < EXACT
    assert all(metrics["policy/grad_norm"] > 1e-3 for _, metrics in trained.logged)


@pytest.mark.usefixtures("scripted_rollouts")
@pytest.mark.parametrize("method", ["grpo", "ig_search_shared"])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_recomputed_activations_change_nothing(train: Train, method: str, beta: float) -> None:
    trained = train(method, verify_oracle=True, gradient_checkpointing=True, beta=beta, mini_batches=2)
    assert all(max(differences(metrics)) < EXACT for _, metrics in trained.logged)


@pytest.mark.usefixtures("scripted_rollouts")
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_bfloat16_is_as_far_from_the_oracle_as_its_rounding(train: Train, beta: float) -> None:
    trained = train("grpo", verify_oracle=True, dtype="bfloat16", beta=beta, mini_batches=2, learning_rate=1e-4)
    for _, metrics in trained.logged:
        loss_difference, gradient_difference = differences(metrics)
        assert loss_difference < 2e-2
        assert gradient_difference < 5e-2


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_a_temperature_other_than_one_is_that_of_the_loss(
    train: Train, monkeypatch: pytest.MonkeyPatch, beta: float
) -> None:
    monkeypatch.setitem(training_runs.ROLLOUT, "temperature", 0.6)
    monkeypatch.setattr(trainer, "rollout", lambda policy, *_: batches.episodes(policy))
    trained = train("grpo", verify_oracle=True, beta=beta, mini_batches=2, epsilon=0.02, learning_rate=2e-3)
    assert all(max(differences(metrics)) < EXACT for _, metrics in trained.logged)


def test_a_batch_without_any_advantage_changes_no_weight(
    train: Train, fresh: Callable[[], Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but one token is read, so that the optimiser finds gradients: all of them 0, as TRL's."""

    def all_right(policy: Policy, *_: Any) -> list[Any]:
        played = batches.episodes(policy)
        for episode in played:
            episode.prediction = episode.question.answers[0]
        return played

    monkeypatch.setattr(trainer, "rollout", all_right)
    for mini_batches in (1, 2):
        trained = train("grpo", work=f"work{mini_batches}", verify_oracle=True, mini_batches=mini_batches)
        for name, value in fresh().model.state_dict().items():
            assert torch.equal(trained.weights[name], value), name
        for _, metrics in trained.logged:
            assert metrics["reward/uniform_groups"] == 1.0
            assert metrics["loss"] == metrics["policy/grad_norm"] == metrics["oracle/loss_difference"] == 0.0
            assert metrics["policy/entropy"] > 0  # of what was sampled, not of what trains


def test_a_row_without_advantage_may_hold_the_most_unlikely_tokens(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exp(0 - log p_old) of a token that is not read would be infinite where log p_old < -88, and NaN times 0."""
    monkeypatch.setitem(training_runs.ROLLOUT, "temperature", 1e-3)
    monkeypatch.setattr(trainer, "rollout", lambda policy, *_: batches.episodes(policy))
    trained = train("grpo", mini_batches=2, learning_rate=1e-12)
    for _, metrics in trained.logged:
        assert math.isfinite(metrics["loss"])
        assert math.isfinite(metrics["policy/grad_norm"])
