"""Tables and figures of the benchmark, from question records, training curves and examined rollouts alone."""

from igsearch.evaluation.store import load_all
from igsearch.reporting import examined, plots, tables
from igsearch.reporting.results import Design, read_training
from igsearch.stages import table
from igsearch.stages.rule import Context

EXAMINED = "artifacts/examine/"


def run(context: Context) -> None:
    """Write tables/, plots/ and metrics.json."""
    config, trained = context.config, table.runs(context.config)
    folders = ["artifacts/evaluate/warm_start", *(f"artifacts/evaluate/{job.run}" for job in trained)]
    evaluations = load_all([context.input(name) for name in folders], texts=False)
    training = [
        read_training(context.input(f"artifacts/train/{job.run}/metrics.jsonl"), job.method, int(job.seed or 0))
        for job in trained
    ]
    rollouts = config.train.prompts_per_step * config.train.group_size
    design = Design(rollouts, config.benchmark.bases, config.rollout.prompt)
    looked_at = [_examined(context, name) for name in context.plan.input_names if name.startswith(EXAMINED)]
    tables.write(evaluations, training, looked_at, context.staging / "tables", design)
    figures, asked = context.staging / "plots", config.train.validation_questions
    plots.write(evaluations, training, looked_at, figures, asked, config.benchmark.bases)
    (context.staging / "tables" / "metrics.json").rename(context.staging / "metrics.json")


def _examined(context: Context, name: str) -> examined.Examined:
    method, _, seed = name.removeprefix(EXAMINED).rpartition("-")
    return examined.read(context.input(name), method, int(seed))
