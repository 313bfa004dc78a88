"""Two real processes under torchrun do what one does: the groups, the pool, the credit and the loss are the batch's."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from training_runs import Train, Trained

from igsearch.policy.base import Policy
from igsearch.policy.load import save_policy

SCRIPT = Path(__file__).with_name("two_processes.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_two_processes_train_as_one(train: Train, taught: Policy, tmp_path: Path) -> None:
    """Also of the random control, which moves gains from one end of the batch to the other."""
    method = "ig_search_shared_random"
    alone = train(method, steps=2, beta=0.05, validation_questions=4, validate_every=1)
    save_policy(taught, tmp_path / "taught")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]
    command = [*launcher, str(free_port()), str(SCRIPT), method, str(tmp_path / "taught"), str(tmp_path / "two")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}, check=True, timeout=300)
    together = Trained(taught, tmp_path / "two").measured()
    assert [step for step, _ in together] == [0, 1, 2]
    for (_, expected), (_, metrics) in zip(alone.measured(), together, strict=True):
        assert metrics == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert (tmp_path / "two" / "policy" / "model.safetensors").exists()
