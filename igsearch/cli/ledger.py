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
    from igsearch.reporting.table import Table

Row = dict[str, Any]

_KINDS = {
    "noise": "draws",
    "released": "released",
    "together": "released",
    "alike": "as we do",
}
_NOTE = (
    "Gains in nats per weighted answer token; differences are other minus ours. Means are over questions, each with "
    "the mean of its searches; 95 %: over questions. size: mean absolute difference of a search. signs: searches whose "
    "gain has the opposite sign; beyond .1: those where neither is within the dead zone. rank: Spearman. changed: "
    "searches whose gain differs by more than rounding. Read all against `another draw`, which changes nothing but the "
    "random draws: pool: any other pair and released form draw anew as well, the others keep our draws. From thoughts "
    "kept on, the released scorer does as we do, and the row tells what the other choice would do."
)


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
        scorer, episodes = _rollouts(config, run, positive(questions, "--questions"), seed)
        world = "synthetic world" if config.data.synthetic else str(config.data.corpus)
        title = f"Rollouts of {run}, {world}"
    else:
        config = configuration(profile, sets, setting("policy.name", policy))
        number = None if limit is None else positive(limit, "--limit")
        scorer, episodes = _recorded(config, existing(traces, "rollouts"), number)
        title = f"{traces.name}, scored by {policy}"
    with show.progress() as progress:
        rows = measured(scorer, episodes, _defaults(config), (seed, "ledger"), progress)
    _print(rows, title, as_json, markdown)


def _defaults(config: "Config") -> Any:
    from igsearch.stages.examine import reference_of

    return reference_of(config.methods)


def _recorded(config: "Config", path: Path, limit: int | None) -> "tuple[Policy, list[Episode]]":
    from igsearch.evaluation.ledger import recorded
    from igsearch.policy.load import load_policy

    policy = load_policy(config.policy)
    return policy, recorded(policy, path, limit)


def _rollouts(config: "Config", run: str, count: int, seed: int) -> "tuple[Policy, list[Episode]]":
    """A run's policy, and a group of its rollouts for `count` test questions of each benchmark."""
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
    return policy, found


def _print(rows: list[Row], title: str, as_json: bool, markdown: bool) -> None:
    from rich.console import Console

    if as_json:
        for row in rows:
            show.print_json(row)
    elif markdown:
        print(f"#{paper(rows, title).markdown()}", end="")
    else:
        console = Console()
        console.print(terminal(rows, title).rich(), "")
        console.print(*_notes(rows), sep="\n", markup=False)


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:+.{digits}f}"


def _difference(row: Row) -> str:
    if row["difference"] is None or row["low"] is None:
        return _figure(row["difference"])
    low, high = (f"{row[end]:+.3f}".replace("0.", ".") for end in ("low", "high"))
    return f"{row['difference']:+.3f} ({low} to {high})"


def _share(row: Row, name: str) -> str:
    return "–" if row[name] is None else f"{row[name]} ({row[name] / row['steps']:.0%})"


def _plain(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def terminal(rows: list[Row], title: str) -> "Table":
    """What fits 80 columns."""
    from igsearch.reporting.table import Table

    columns = ("deviation", "changed", "mean", "difference (95 %)", "size", "signs", "> .1", "rank")
    cells = [
        (
            row["deviation"],
            str(row["changed"]),
            _figure(row["theirs"], 2),
            _difference(row),
            _plain(row["absolute"], 2),
            _share(row, "flips"),
            _share(row, "flips_outside"),
            _plain(row["rank"], 2),
        )
        for row in rows
    ]
    return Table(title, columns, tuple(cells))


def paper(rows: list[Row], title: str) -> "Table":
    """Everything, as docs/deviations.md shows it."""
    from igsearch.reporting.table import Table

    columns = (
        *("deviation", "what it does", "released", "rollouts", "searches", "changed", "ours", "other"),
        *("difference (95 %)", "size", "signs", "beyond .1", "rank", "only one scores"),
    )
    cells = [
        (
            row["deviation"],
            row["means"],
            _KINDS[row["kind"]],
            *(str(row[name]) for name in ("rollouts", "steps", "changed")),
            _figure(row["ours"]),
            _figure(row["theirs"]),
            _difference(row),
            _plain(row["absolute"], 3),
            _share(row, "flips"),
            _share(row, "flips_outside"),
            _plain(row["rank"], 3),
            str(row["only_ours"] + row["only_theirs"]),
        )
        for row in rows
    ]
    return Table(title, columns, tuple(cells), notes=tuple(_notes(rows)), left=3)


def _notes(rows: list[Row]) -> list[str]:
    """How many of what, which rows have no effect and why, and what the columns are."""
    first = rows[0]
    counts = (
        f"{first['rollouts']} rollouts of {first['questions']} questions, {first['steps']} searches. Ours: mean "
        f"{_figure(first['ours'])}, standard deviation {_plain(first['spread'], 3)}."
    )
    single = [
        f"{row['deviation']}: only ours scores {row['only_ours']} searches, only the other {row['only_theirs']}."
        for row in rows
        if row["only_ours"] or row["only_theirs"]
    ]
    still = [f"{row['deviation']}: no effect; {row['why_unchanged']}." for row in rows if row["why_unchanged"]]
    return [counts, *single, *still, _NOTE]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(ledger)
