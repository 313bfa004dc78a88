"""`igsearch ledger`: what each deviation from the released scorer does to the information gain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from igsearch.cli import show
from igsearch.cli.compare import PANEL
from igsearch.cli.options import Profile, Sets, configuration, existing, positive, setting

if TYPE_CHECKING:
    from igsearch.config import Config
    from igsearch.policy.base import Policy
    from igsearch.records import Episode

Row = dict[str, Any]


def ledger(
    run: Annotated[str, typer.Option(help="Whose rollouts: warm_start, or a run such as ig_search-0.")] = "warm_start",
    questions: Annotated[int, typer.Option(help="Test questions of each benchmark.")] = 12,
    traces: Annotated[
        Path | None, typer.Option(help="Recorded rollouts instead: JSON with search and information tags.")
    ] = None,
    policy: Annotated[str, typer.Option(help="Who scores them: smollm2 or a Hugging Face directory.")] = "smollm2",
    limit: Annotated[int | None, typer.Option(help="Take only so many recorded rollouts that searched.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of rollouts and draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line and deviation.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of docs/deviations.md.")] = False,
    profile: Profile = None,
    sets: Sets = None,
) -> None:
    """Measure what each deviation from the released IG-Search scorer does to the information gain.

    On rollouts of the project's own policy, a group for each question as in training, or on recorded ones. Each
    convention of the released scorer is tried alone against our defaults, then all together.
    """
    from igsearch.evaluation.ledger import ledger as measured

    if traces is None:
        config = configuration(profile, sets)
        scorer, episodes, batch = _rollouts(config, run, positive(questions, "--questions"), seed)
        world = "synthetic world" if config.data.synthetic else str(config.data.corpus)
        title = f"Rollouts of {run}, {world}"
    else:
        config = configuration(profile, sets, setting("policy.name", policy))
        number = None if limit is None else positive(limit, "--limit")
        (scorer, episodes), batch = _recorded(config, existing(traces, "rollouts"), number), None
        title = f"{traces.name}, scored by {policy}"
    with show.progress() as progress:
        rows = measured(scorer, episodes, _defaults(config), (seed, "ledger"), batch, progress)
    _print(rows, title, as_json, markdown)


def _defaults(config: "Config") -> Any:
    from igsearch.stages.examine import reference_of

    return reference_of(config.methods)


def _recorded(config: "Config", path: Path, limit: int | None) -> "tuple[Policy, list[Episode]]":
    from igsearch.evaluation.ledger import recorded
    from igsearch.policy.load import load_policy

    policy = load_policy(config.policy)
    return policy, recorded(policy, path, limit)


def _rollouts(config: "Config", run: str, count: int, seed: int) -> "tuple[Policy, list[Episode], int]":
    """A run's policy, a group of its rollouts for `count` test questions of each benchmark, and how many rollouts make
    a training step: so many give one another counterfactual pairs."""
    from itertools import chain

    from igsearch.errors import UserError
    from igsearch.rollout.environment import rollout
    from igsearch.stages import inputs, layout, rule
    from igsearch.stages.table import WARM_START, evaluation
    from igsearch.training.schedule import validation_questions

    job, where = evaluation(run, config), layout.of(config)
    name = "artifacts/warm_start" if run == WARM_START else f"artifacts/train/{run}/policy"
    with show.progress() as progress:
        rule.lay_foundations(job, where, show.say, progress)
    if not where.at(name).exists():
        raise UserError(f"{where.at(name)} is missing: train {run} first, or name another --run")
    context = rule.Context(rule.Plan(job, where), show.say, rule.quiet)
    policy, benchmarks = inputs.policy(context, name), config.data.evaluate
    asked = list(chain.from_iterable(inputs.questions(context, "test", benchmarks).values()))
    chosen = validation_questions(asked, count * len(benchmarks))
    own = config if run == WARM_START else config.for_method(job.method)
    size = own.train.group_size
    each, numbers = [question for question in chosen for _ in range(size)], [*range(size)] * len(chosen)
    found = rollout(
        policy, inputs.retriever(context), each, numbers, own.rollout, own.retrieval.k, (seed, "ledger", "rollout")
    )
    return policy, found, own.train.prompts_per_step * size


def _print(rows: list[Row], title: str, as_json: bool, markdown: bool) -> None:
    from rich.console import Console

    from igsearch.reporting.ledger import NOTES, facts, paper, terminal

    if as_json:
        for row in rows:
            show.print_json(row)
    elif markdown:
        print(f"#{paper(rows, title).markdown()}", end="")
    else:
        console = Console()
        console.print(terminal(rows, title).rich(), "")
        console.print(*facts(rows), *NOTES, sep="\n", markup=False)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(ledger)
