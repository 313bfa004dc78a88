"""TRL's trainer and the bare-torch spine must do the same: this fails loudly when TRL drifts."""

from collections.abc import Callable
from typing import Any

import batches
import pytest
import scripted
import torch
from training_runs import QUESTIONS, Train, settings

from igsearch.policy.base import Policy
from igsearch.training import step, trainer
from igsearch.training.schedule import questions_of_step

EXACT = 1e-5


@pytest.fixture
def scripted_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ragged turns, masked documents, mixed and uniform groups: the policy is taken to have written the scripts."""
    monkeypatch.setattr(trainer, "rollout", lambda policy, *_: batches.episodes(policy))


def differences(metrics: dict[str, float]) -> tuple[float, float]:
    return metrics["oracle/loss_difference"], metrics["oracle/gradient_difference"]


@pytest.mark.usefixtures("scripted_rollouts")
@pytest.mark.parametrize("method", ["grpo", "ig_search", "ig_search_shared"])
@pytest.mark.parametrize("loss", ["dapo", "bnpo", "grpo"])
def test_trl_loss_and_gradient_equal_the_oracles(train: Train, method: str, loss: str) -> None:
    trained = train(method, verify_oracle=True, loss=loss, mini_batches=2, beta=0.1, epsilon=0.02, learning_rate=2e-3)
    for _, metrics in trained.logged:
        loss_difference, gradient_difference = differences(metrics)
        assert loss_difference < EXACT
        assert gradient_difference < EXACT
    assert any(metrics["policy/clipped"] > 0 for _, metrics in trained.logged)  # old log-probabilities did matter
    assert all(metrics["policy/kl"] > 0 for _, metrics in trained.logged[1:])


@pytest.mark.parametrize("method", ["reinforce", "rloo", "autorefine", "search_r1_format", "gigpo", "cw_grpo"])
def test_rival_methods_train_as_the_oracle_does(train: Train, method: str) -> None:
    """Two steps of real rollouts; `reinforce` asks each question once, so it needs as many as there are rollouts."""
    trained = train(method, verify_oracle=True, steps=2, prompts_per_step=2, seed=1)
    assert len(trained.logged) == 2
    for _, metrics in trained.logged:
        assert max(differences(metrics)) < EXACT
    assert any(metrics["policy/grad_norm"] > 0 for _, metrics in trained.logged)


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
    arguments = trainer._arguments

    def other(*given: Any, **named: Any) -> Any:
        changed = arguments(*given, **named)
        setattr(changed, setting, value)
        return changed

    monkeypatch.setattr(trainer, "_arguments", other)
    trained = train(verify_oracle=True, mini_batches=2, beta=0.1, epsilon=0.02, learning_rate=2e-3)
    assert max(max(differences(metrics)) for _, metrics in trained.logged) > 100 * EXACT


@pytest.mark.parametrize("method", ["grpo", "ig_search"])
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
        figures = step.train_step(
            policy, reference.model, optimizer, shelf, asked, config, config.method(method), (5, index)
        )
        assert metrics["reward/mean"] == pytest.approx(figures["reward"])
        assert metrics["loss"] == pytest.approx(figures["loss"], abs=EXACT)
    for name, value in policy.model.state_dict().items():
        torch.testing.assert_close(trained.weights[name], value, atol=1e-4, rtol=1e-3)


@pytest.fixture
def gradients(train: Train, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[torch.Tensor]]:
    """The clipped gradients of one step, update by update and parameter by parameter."""
    seen: list[torch.Tensor] = []

    def look(monitor: trainer.Monitor, *_: Any, **__: Any) -> None:
        seen.extend(parameter.grad.clone() for parameter in monitor.run.policy.model.parameters())

    monkeypatch.setattr(trainer.Monitor, "on_pre_optimizer_step", look)

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
