"""Two real processes under torchrun do what one does: the groups, the pool, the credit and the loss are the batch's."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from training_runs import Train, Trained
from two_processes import changes, one_mixed

from igsearch.policy.base import Policy
from igsearch.policy.load import save_policy
from igsearch.rollout.environment import rollout
from igsearch.training import trainer

SCRIPT = Path(__file__).with_name("two_processes.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def together(kind: str, method: str, taught: Policy, folder: Path) -> Trained:
    """What two processes make of it."""
    save_policy(taught, folder / "taught")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]
    command = [*launcher, str(free_port()), str(SCRIPT), kind, method, str(folder / "taught"), str(folder / "two")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}, check=True, timeout=200)
    assert (folder / "two" / "policy" / "model.safetensors").exists()
    return Trained(taught, folder / "two")


def assert_close(alone: Trained, both: Trained) -> None:
    for (step, expected), (same, metrics) in zip(alone.measured(), both.measured(), strict=True):
        assert step == same
        assert metrics == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_two_processes_train_as_one(train: Train, taught: Policy, tmp_path: Path) -> None:
    """Also of the random control, which moves gains from one end of the batch to the other."""
    method = "ig_search_shared_random"
    both = together("plain", method, taught, tmp_path)
    assert [step for step, _ in both.measured()] == [0, 1, 2]
    assert_close(train(method, **changes("plain")), both)


@pytest.mark.slow
def test_a_process_with_nothing_to_read_waits_for_no_one(
    train: Train, taught: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes its pass all the same: gradients are averaged over processes, and each must bring one."""
    both = together("one_mixed", "grpo", taught, tmp_path)
    monkeypatch.setattr(trainer, "rollout", one_mixed(rollout))
    alone = train("grpo", **changes("one_mixed"))
    assert all(metrics["reward/uniform_groups"] == 3 / 4 for _, metrics in alone.logged)
    assert any(metrics["policy/grad_norm"] > 1e-3 for _, metrics in alone.logged)
    assert_close(alone, both)
