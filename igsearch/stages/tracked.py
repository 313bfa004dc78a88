"""What an evaluation tells MLflow: its figures, in the run that trained the policy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from igsearch import tracking
from igsearch.evaluation import store
from igsearch.provenance import digest_json
from igsearch.stages.layout import Layout, others
from igsearch.stages.rule import Plan
from igsearch.stages.table import INDEX, PREPARED, STAGES, Job

_METRICS = ("em", "f1", "cover_em", "searches", "sampled_tokens", "retrieval_hit", "first_query_useful")


def data_digest(inputs: Mapping[str, str]) -> str:
    """Identity of questions and corpus, from the input digests of training or of evaluation."""
    return digest_json([inputs[f"data {name}"] for name in (PREPARED, INDEX)])


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of an evaluation folder."""
    summary: dict[str, Any] = json.loads((folder / store.SUMMARY).read_text(encoding="utf-8"))
    return summary


def figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """`em/<benchmark>` and the like, and averages over benchmarks."""
    groups = {**summary["benchmarks"], "average": summary["average"]}
    return {
        f"{metric}/{name}": group[metric]
        for metric in _METRICS
        for name, group in groups.items()
        if group.get(metric) is not None
    }


def table_rows(summary: Mapping[str, Any], run: str) -> list[dict[str, Any]]:
    """One row per benchmark, for the table of the run."""
    names = ("n", "em", "f1", "cover_em")
    return [
        {"run": run, "benchmark": name, **{key: group[key] for key in names}}
        for name, group in summary["benchmarks"].items()
    ]


def _training_run(job: Job, layout: Layout) -> str | None:
    """The MLflow run that trained the policy; for the start policy that of its last evaluation, if any.

    The latter also where overrides evaluate a policy taken over from elsewhere, whose own figures stay what they are.
    """
    trained = Job(STAGES["train"], job.method, job.seed)
    card = Plan(trained, layout).card
    elsewhere = others(layout) if layout.run else []
    if job.seed is None or any(card == Plan(trained, place).card for place in elsewhere):
        card = Plan(job, layout).card
    return card.run_id if card else None


def track(job: Job, layout: Layout, inputs: Mapping[str, str], folder: Path) -> str:
    """Log an evaluation folder and return the id of the run. What the run holds already is not logged twice."""
    config, summary = layout.config, read_summary(folder)
    params = tracking.run_params(config, job.method, job.seed or 0)
    tags = tracking.run_tags(config, data_digest(inputs))
    with tracking.run(job.run, params, tags, run_id=_training_run(job, layout)) as run:
        run.log_results(config.train.steps if job.seed is not None else 0, figures(summary))
        for name in (PREPARED, INDEX):
            run.log_dataset(name, inputs[f"data {name}"], layout.at(name), "evaluation")
        run.log_folder(folder, "evaluation")
        run.log_table("em", table_rows(summary, job.run))
    return run.id


def complete(job: Job, layout: Layout, inputs: Mapping[str, str], folder: Path) -> None:
    """Log a reused evaluation whose figures the run does not hold; a run that holds them stays as it is."""
    if not tracking.holds(_training_run(job, layout), figures(read_summary(folder))):
        track(job, layout, inputs, folder)
