"""The flow `igsearch`: the stages of igsearch/stages/table.py as Prefect tasks. No logic of its own.

A task runs the command of its stage in a process of its own. Whether there is anything to do is decided by the stage's
card, whichever door made it; Prefect's cache key is the stage's input digest, given only while the card is good.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from igsearch import tracking
from igsearch.config import load
from igsearch.stages import benchmark_run, layout, table, versions
from igsearch.stages.launch import Overrides, bring, children
from igsearch.stages.layout import Layout
from igsearch.stages.rule import Plan, check_settings
from igsearch.stages.table import Job


def place(overrides: Overrides) -> Layout:
    """The layout of the configuration with overrides."""
    return layout.of(load(overrides.profile, overrides.sets))


def find(name: str, where: Layout) -> Job:
    """The job of the benchmark with that name."""
    return next(job for job in table.benchmark(where.config) if job.name == name)


def cache_key(_: Any, parameters: dict[str, Any]) -> str | None:
    """The input digest of an up-to-date stage; None, which Prefect never finds, where it has to run."""
    where = place(parameters["overrides"])
    plan = Plan(find(parameters["job"], where), where)
    return None if plan.missing or plan.stale() else f"{plan.job.name}-{plan.digest}"


def input_or_output_failed(_: Task[Any, Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether a failure is one that may be gone the next time."""
    return isinstance(state.data, OSError)


@task(
    name="stage",
    task_run_name="{job}",
    persist_result=True,
    cache_key_fn=cache_key,
    retries=2,
    retry_delay_seconds=10,
    retry_condition_fn=input_or_output_failed,
)
def stage(job: str, overrides: Overrides) -> dict[str, Any]:
    """Bring one job up to date; returns its card."""
    where = place(overrides)
    found = find(job, where)
    with children() as family:
        bring(found, where, overrides, family, get_run_logger().info)
    card = Plan(found, where).card
    assert card is not None
    return {"job": job, "inputs": card.input_digest, "outputs": dict(card.outputs), "run": card.run_id}


@flow(name="stages", flow_run_name="stages of {where}")
def stages(names: list[str], overrides: Overrides, where: str) -> None:
    """The jobs, each as soon as those it needs are done, as many at a time as the task runner allows."""
    place_ = place(overrides)
    jobs = [find(name, place_) for name in names]
    futures: dict[Job, PrefectFuture[Any]] = {}
    for job in jobs:
        needed = [futures[each] for each in table.needs(job, jobs, place_.config)]
        futures[job] = stage.submit(job=job.name, overrides=overrides, wait_for=needed, return_state=False)
    for future in futures.values():
        future.result()


def options(
    profile: str | None,
    methods: Sequence[str] | Literal["all"] | None,
    seeds: Sequence[int] | None,
    steps: int | None,
    settings: Sequence[str] | None,
) -> Overrides:
    """The flow's parameters as overrides of the configuration."""
    named = {"benchmark.methods": methods, "benchmark.seeds": seeds, "train.steps": steps}
    sets = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
    return Overrides(profile, (*(settings or ()), *sets))


def run_name() -> str:
    """`embedded: grpo, ig_search x seeds 0, 1`"""
    given = {key: runtime.flow_run.parameters.get(key) for key in ("profile", "methods", "seeds", "steps", "settings")}
    config = load((overrides := options(**given)).profile, overrides.sets)
    what = runtime.flow_run.parameters.get("only")
    methods, seeds = ", ".join(config.benchmark.methods), ", ".join(map(str, config.benchmark.seeds))
    return f"{config.profile}: {', '.join(what) + ' of ' if what else ''}{methods} x seeds {seeds}"


@flow(name="igsearch", flow_run_name=run_name)
def igsearch(
    profile: str | None = None,
    methods: list[str] | Literal["all"] | None = None,
    seeds: list[int] | None = None,
    steps: int | None = None,
    settings: list[str] | None = None,
    only: list[str] | None = None,
) -> str:
    """Run the benchmark; returns the folder of its tables.

    profile: in place of params.yaml. methods (`all` for every method of igsearch), seeds, steps: in place of the
    profile's. settings: any others, as `section.key=value`. only: the stages to run, in place of all. What params.yaml
    or an experiment says goes to their folders and is entered into their dvc.lock, anything else to artifacts/runs/.
    """
    overrides = options(profile, methods, seeds, steps, settings)
    where = place(overrides)
    jobs = [job for job in table.benchmark(where.config) if not only or job.stage.name in only]
    check_settings(jobs, where.config)
    parent = open_parent(where)
    workers: Any = ThreadPoolTaskRunner(max_workers=where.config.benchmark.workers)
    stages.with_options(task_runner=workers)([job.name for job in jobs], overrides, where.title)
    benchmark_run.gather(jobs, where, parent)
    if where.run is None and versions.tracked(where.base):
        versions.commit(jobs, where)
    tables = where.at("results/tables")
    if not only or "tables" in only:
        benchmark_run.publish(where, parent)
        publish(tables, parent)
    return str(tables)


def open_parent(where: Layout) -> str:
    """The MLflow run of the benchmark. The stages' processes find it in the environment."""
    tracking.close_dead_runs()
    parent = benchmark_run.open_run(where)
    os.environ[tracking.PARENT_ENV] = parent
    return parent


def publish(tables: Path, parent: str) -> None:
    """The main table to Prefect, and a link to the run in MLflow."""
    create_table_artifact(
        benchmark_run.read(tables / "main.csv"), key="em-table", description="Exact match, mean over seeds"
    )
    create_markdown_artifact((tables / "main.md").read_text(encoding="utf-8"), key="main-table")
    server = f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}"
    create_link_artifact(tracking.page(server, parent), key="mlflow", link_text="The runs in MLflow")
