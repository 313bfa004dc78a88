"""Ask a trained policy, or the start policy, all questions. The figures go to the MLflow run of the training."""

from pathlib import Path

from igsearch import tracking
from igsearch.evaluation import store
from igsearch.evaluation.evaluate import Outcome, evaluate
from igsearch.provenance import digest_tree
from igsearch.stages import inputs
from igsearch.stages.rule import Context, Plan
from igsearch.stages.table import STAGES, Job


def run(context: Context) -> str:
    """Write records, trajectories, summary and contract; returns the id of the MLflow run."""
    job, config = context.job, context.config
    source = job.fill(job.stage.inputs)[-1]
    subject = store.Subject(
        method=job.method, inference="agent", policy=source, synthetic=config.data.synthetic, seed=job.seed
    )
    outcome = evaluate(
        inputs.policy(context, source),
        inputs.retriever(context),
        inputs.questions(context, "test", config.data.evaluate),
        config,
        subject,
        context.out,
        corpus_digest=inputs.index_card(context)["corpus"],
        policy_digest=digest_tree(context.input(source)),
        work=context.work / "chunks",
        progress=lambda done, total: context.progress(job.run, done, total),
    )
    return _track(context, outcome, context.out)


def _track(context: Context, outcome: Outcome, folder: Path) -> str:
    """Log the figures to the run that trained the policy, or to one of its own."""
    job, config = context.job, context.config
    train = Plan(Job(STAGES["train"], job.method, job.seed), context.layout).card if job.seed is not None else None
    own = context.plan.card
    with tracking.run(
        job.run,
        tracking.run_params(config, job.method, job.seed or 0),
        tracking.run_tags(config, inputs.data_digest(context)),
        run_id=train.run_id if train else own.run_id if own else None,
    ) as tracked:
        step = config.train.steps if job.seed is not None else 0
        tracked.log_results(step, figures(outcome))
        name = inputs.PREPARED
        tracked.log_dataset(name, context.plan.inputs[f"data {name}"], context.input(name), "evaluation")
        tracked.log_folder(folder, "evaluation")
        tracked.log_table("em", table_rows(outcome, job.run))
    return tracked.id


def figures(outcome: Outcome) -> dict[str, float]:
    """`em/<benchmark>` and the like, and averages over benchmarks."""
    groups = {**outcome.summary["benchmarks"], "average": outcome.summary["average"]}
    return {
        f"{metric}/{name}": group[metric]
        for metric in ("em", "f1", "cover_em", "searches", "sampled_tokens", "retrieval_hit", "first_query_useful")
        for name, group in groups.items()
        if group.get(metric) is not None
    }


def table_rows(outcome: Outcome, run: str) -> list[dict[str, object]]:
    """One row per benchmark, for the table of the run."""
    return [
        {
            "run": run,
            "benchmark": name,
            "n": group["n"],
            **{metric: group[metric] for metric in ("em", "f1", "cover_em")},
        }
        for name, group in outcome.summary["benchmarks"].items()
    ]
