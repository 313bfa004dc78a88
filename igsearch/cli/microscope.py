"""`igsearch examine`, `microscope` and `whatif`: which search earned what, and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from igsearch.cli import show
from igsearch.cli.options import DryRun, Profile, Sets, configuration
from igsearch.cli.pipeline import PANEL as PIPELINE
from igsearch.cli.pipeline import bring

if TYPE_CHECKING:
    from igsearch.config import Config
    from igsearch.stages.table import Job

PANEL = "Looking closer"
Rows = list[dict[str, Any]]


def examine(
    run: Annotated[str, typer.Argument(help="A trained run, such as ig_search-0.", metavar="RUN")],
    profile: Profile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Let a trained policy make groups of rollouts on test questions, and keep what each token and search earned."""
    config, job = _examination(run, profile, sets)
    bring(job, config, dry_run)


def _examination(run: str, profile: str | None, sets: list[str] | None, *more: str) -> "tuple[Config, Job]":
    from igsearch.stages.table import of_run

    config = configuration(profile, sets, *more)
    return config, of_run("examine", run, config)


def _examined(run: str, profile: str | None, sets: list[str] | None, *more: str) -> tuple[dict[str, Any], Rows]:
    """What an up-to-date examination has found; it is made where it is not up to date."""
    import json

    from igsearch.stages import layout
    from igsearch.stages.examine import ABOUT, ROLLOUTS

    config, job = _examination(run, profile, sets, *more)
    bring(job, config, dry_run=False)
    folder = layout.of(config).at(job.fill(job.stage.outputs)[0])
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    lines = (folder / ROLLOUTS).read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    return {**about, "evaluation": _greedy(layout.of(config).at(f"artifacts/evaluate/{run}"), rows)}, rows


def _greedy(folder: Path, rows: Rows) -> dict[str, Any]:
    """The greedy answers to the same questions by uid; none where the run was not evaluated."""
    from igsearch.evaluation import store

    if not (folder / store.SUMMARY).exists():
        return {}
    uids = {row["uid"] for row in rows}
    records = (record for record in store.load(folder).records if record.uid in uids)
    return {record.uid: {"em": record.em, "prediction": record.prediction} for record in records}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PIPELINE)(examine)
