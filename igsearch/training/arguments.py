"""The settings that TRL is given: what of a run's configuration it computes with, and everything else of it off."""

from trl.trainer.grpo_config import GRPOConfig

from igsearch.seeds import derive_seed
from igsearch.training.run import Reinforcement
from igsearch.training.schedule import Layout


def arguments(run: Reinforcement, cut: Layout, on_cpu: bool) -> GRPOConfig:
    """TRL's settings: rewards unscaled, one epoch over the prepared order, nothing printed or reported."""
    train = run.config.train
    made = GRPOConfig(
        output_dir=str(run.staging),
        seed=derive_seed(run.seed, "trainer") % 2**32,
        max_steps=train.steps * train.mini_batches,
        per_device_train_batch_size=cut.micro_batch,
        gradient_accumulation_steps=cut.passes_per_update,
        steps_per_generation=cut.passes_per_batch,
        num_generations=train.group_size if train.group_size > 1 else cut.micro_batch * cut.passes_per_batch,
        shuffle_dataset=False,
        loss_type=train.loss,
        epsilon=train.epsilon,
        beta=train.beta,
        use_bias_correction_kl=False,  # TRL would multiply the KL by the ratio, which changes its gradient
        scale_rewards="none",
        temperature=run.config.rollout.temperature,
        disable_dropout=True,
        learning_rate=train.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=train.warmup_steps,
        max_grad_norm=train.max_grad_norm,
        optim="adamw_torch",
        use_cpu=on_cpu,
        bf16=train.dtype == "bfloat16",
        gradient_checkpointing=train.gradient_checkpointing,
        logging_steps=train.mini_batches,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=train.checkpoint_every * train.mini_batches,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        dataloader_pin_memory=False,
    )
    made.num_generations = train.group_size  # it refuses groups of one for the sake of its own advantages
    return made
