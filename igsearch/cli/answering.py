"""`igsearch evaluate`: a run of the pipeline, or any policy on any corpus and questions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from igsearch.cli import show
from igsearch.cli.options import DryRun, Profile, Sets, configuration, existing, setting, with_method
from igsearch.cli.pipeline import PANEL, bring

if TYPE_CHECKING:
    from igsearch.config import Config
    from igsearch.stages.table import Job


def evaluate(
    run: Annotated[str | None, typer.Option(help="A run of the pipeline: grpo-0, or warm_start.")] = None,
    policy: Annotated[str | None, typer.Option(help="tiny, smollm2 or a Hugging Face directory.")] = None,
    method: Annotated[str | None, typer.Option(help="How it answers: agent (as by default), rag or direct.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="JSONL of passages.")] = None,
    questions: Annotated[Path | None, typer.Option(help="Folder of <benchmark>.jsonl, or one such file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for index, records, trajectories and summary.")] = None,
    limit: Annotated[int | None, typer.Option(help="Ask only so many questions of each benchmark.")] = None,
    profile: Profile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Answer all questions greedily and score the answers.

    Either `--run`, a run of the pipeline on its own benchmarks, or `--out` with a policy, a corpus and questions of
    your own. Interrupted, the same command goes on where it stopped.
    """
    from igsearch.errors import UserError

    if run is not None:
        if any(option is not None for option in (policy, method, corpus, questions, out)):
            raise UserError(
                "--run evaluates a run of the pipeline: leave out --policy, --method, --corpus, --questions and --out"
            )
        _evaluate_run(run, profile, sets, limit, dry_run)
        return
    if out is None:
        raise UserError("give --run, such as --run grpo-0, or --out with --policy, --corpus and --questions")
    config = _own_configuration(profile, sets, policy, corpus, limit)
    asked = questions or config.data.questions
    if asked is None:
        raise UserError("this profile takes its questions from the hub: name a folder of questions with --questions")
    way = method or "agent"
    if dry_run:
        print(f"{config.to_yaml()}# configuration {config.digest}\n# would answer {asked} by {way} into {out}")
        return
    _evaluate_own(config, way, existing(asked, "questions"), out)


def evaluation_of(run: str, profile: str | None, sets: list[str] | None, *more: str) -> "tuple[Config, Job]":
    """The configuration and the job of a run's evaluation. The run's method may be `package.module:function`."""
    from igsearch.stages.table import evaluation

    method, _, seed = run.rpartition("-")
    if ":" in method:
        config, called = with_method(profile, sets, method, *more)
        return config, evaluation(f"{called}-{seed}", config)
    config = configuration(profile, sets, *more)
    return config, evaluation(run, config)


def _limit(limit: int | None) -> list[str]:
    return [] if limit is None else [f"data.limit={limit}"]


def _own_configuration(
    profile: str | None, sets: list[str] | None, policy: str | None, corpus: Path | None, limit: int | None
) -> "Config":
    """The configuration with the user's corpus and policy in it; `tiny` is the start policy of the project."""
    from igsearch.stages import layout

    named = [] if policy is None else [setting("policy.name", policy)]
    placed = [] if corpus is None else [setting("data.corpus", corpus), "data.synthetic=false"]
    config = configuration(profile, sets, *named, *placed, *_limit(limit))
    existing(config.data.corpus, "corpus")
    if config.policy.name != "tiny":
        return config
    start = layout.of(configuration(profile, sets)).at("artifacts/warm_start")
    tiny = setting("policy.name", existing(start, "the tiny start policy"))
    return configuration(profile, sets, tiny, *placed, *_limit(limit))


def _evaluate_run(run: str, profile: str | None, sets: list[str] | None, limit: int | None, dry_run: bool) -> None:
    from igsearch.stages import layout

    config, job = evaluation_of(run, profile, sets, *_limit(limit))
    if bring(job, config, dry_run):
        _print_table(layout.of(config).at(job.fill(job.stage.outputs)[0]))


def _evaluate_own(config: "Config", method: str, questions: Path, out: Path) -> None:
    from igsearch.stages.own import evaluate_own

    with show.progress() as progress:
        outcome = evaluate_own(config, method, questions, out, show.say, progress)
    _print_table(out)
    show.say(f"{out}: records.parquet, trajectories.jsonl, summary.json ({outcome.seconds:.0f} s)")


def _print_table(folder: Path) -> None:
    from rich.console import Console

    from igsearch.evaluation.store import load
    from igsearch.reporting.tables import evaluation_table

    Console().print(evaluation_table(load(folder)).rich())


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(evaluate)
