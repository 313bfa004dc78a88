"""What TRL's loop tells the run: the line of each step, validation, and checkpoints that are whole."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from igsearch.training import checkpoint
from igsearch.training.metrics import Metrics

if TYPE_CHECKING:
    from igsearch.training.trainer import SearchTrainer


_LOGGED = {
    "loss": "loss",
    "grad_norm": "policy/grad_norm",
    "kl": "policy/kl",
    "clip_ratio/region_mean": "policy/clipped",
    "learning_rate": "policy/learning_rate",
}


class Monitor(TrainerCallback):
    """Writes the line of each step, validates, and puts finished checkpoints into place."""

    def __init__(self, trainer: "SearchTrainer") -> None:
        self.trainer, self.run = trainer, trainer.run
        self._update = ExitStack()
        self._oracle: Metrics = {}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """The policy before any training."""
        if self.trainer.step == 0 and self.run.validation:
            self._record(self.trainer.validate())

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """What a step does outside the inner phases is the update."""
        self._update.enter_context(self.run.clock.phase("update"))

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Gradients are there and clipped."""
        if self.run.oracle:
            for name, value in self.run.oracle.close_update().items():
                self._oracle[name] = max(value, self._oracle.get(name, 0.0))

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Closes the phase."""
        self._update.close()

    def on_log(self, *_: Any, **given: Any) -> None:
        """Called once per batch of rollouts, after its last update (and once at the end, without a loss)."""
        logs: Mapping[str, float] = given["logs"]
        if "loss" not in logs:
            return
        metrics = {ours: logs[theirs] for theirs, ours in _LOGGED.items() if theirs in logs}
        metrics |= self.trainer.rollout_metrics | self._oracle
        self._oracle = {}
        train = self.run.config.train
        if self.run.validation and self.trainer.step in {*range(0, train.steps, train.validate_every), train.steps}:
            metrics |= self.trainer.validate()
        self._record(metrics)

    def on_save(self, *_: Any, **__: Any) -> None:
        """TRL has written a checkpoint into the staging folder."""
        accelerator = self.trainer.accelerator
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            written = self.run.staging / f"checkpoint-{self.trainer.state.global_step}"
            checkpoint.publish(written, self.run.checkpoints, self.trainer.step)
        accelerator.wait_for_everyone()

    def _record(self, metrics: Metrics) -> None:
        if self.trainer.accelerator.is_main_process:
            self.run.record(self.trainer.step, metrics)
