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

ABSENT = "–"
_KINDS = {
    "noise": "draws",
    "released": "released",
    "together": "released",
    "alike": "as we do",
}
_NOTES = (
    "Gains in nats per weighted answer token. Differences: other minus ours. Means are over questions, each with the "
    "mean of its searches; 95 %: over questions.",
    "changed: searches whose gain differs by more than rounding. size: mean absolute difference of a search. signs: "
    "gains of opposite sign; beyond .1: where both are outside of the dead zone. rank: Spearman's correlation.",
    "Read it against another draw, which changes nothing but the random draws. The pool, and so the released form, "
    "draws anew; the other rows keep our draws. From thoughts kept on, the released scorer does as we do: those rows "
    "tell what another choice would do.",
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

    if as_json:
        for row in rows:
            show.print_json(row)
    elif markdown:
        print(f"#{paper(rows, title).markdown()}", end="")
    else:
        console = Console()
        console.print(terminal(rows, title).rich(), "")
        console.print(*_facts(rows), *_NOTES, sep="\n", markup=False)


def _signed(value: float | None, digits: int = 3) -> str:
    return ABSENT if value is None else f"{value:+.{digits}f}"


def _limits(row: Row, digits: int = 3) -> str:
    """`-.026 to +.104`."""
    if row["low"] is None:
        return ABSENT
    return " to ".join(_signed(row[end], digits).replace("0.", ".", 1) for end in ("low", "high"))


def _count(row: Row, name: str) -> str:
    return ABSENT if row[name] is None else f"{row[name]} {row[name] / row['steps']:.0%}"


def terminal(rows: list[Row], title: str) -> "Table":
    """What fits 80 columns."""
    from igsearch.reporting.table import Table, number

    columns = ("deviation", "moved", "diff.", "95 %", "size", "signs", "beyond", "rank")
    cells = [
        (row["deviation"], "0", "none", *[ABSENT] * 5)
        if row["changed"] == 0
        else (
            row["deviation"],
            str(row["changed"]),
            _signed(row["difference"]),
            _limits(row, 2),
            number(row["absolute"], 2),
            _count(row, "flips"),
            _count(row, "flips_outside"),
            number(row["rank"], 2),
        )
        for row in rows
    ]
    return Table(title, columns, tuple(cells))


def paper(rows: list[Row], title: str) -> "Table":
    """Everything, as docs/deviations.md shows it, where the notes stand above."""
    from igsearch.reporting.table import Table, number

    columns = (
        *("deviation", "what it does", "released", "rollouts", "searches", "changed", "ours", "other"),
        *("difference", "95 %", "size", "signs", "beyond .1", "rank", "only one scores"),
    )
    cells = [
        (
            row["deviation"],
            row["means"],
            _KINDS[row["kind"]],
            *(str(row[name]) for name in ("rollouts", "steps", "changed")),
            *(_signed(row[name]) for name in ("ours", "theirs", "difference")),
            _limits(row),
            number(row["absolute"]),
            _count(row, "flips"),
            _count(row, "flips_outside"),
            number(row["rank"]),
            str(row["only_ours"] + row["only_theirs"]),
        )
        for row in rows
    ]
    return Table(title, columns, tuple(cells), notes=tuple(_facts(rows)), left=3)


def _facts(rows: list[Row]) -> list[str]:
    """How many of what, and which rows have no effect and why."""
    from igsearch.reporting.table import number

    first = rows[0]
    counts = (
        f"{first['rollouts']} rollouts of {first['questions']} questions, {first['steps']} searches. Ours: mean "
        f"{_signed(first['ours'])}, standard deviation of a search {number(first['spread'])}."
    )
    single = [
        f"{row['deviation']}: only ours scores {row['only_ours']} searches, only the other {row['only_theirs']}."
        for row in rows
        if row["only_ours"] or row["only_theirs"]
    ]
    still = [f"{row['deviation']}: no effect; {row['why_unchanged']}." for row in rows if row["why_unchanged"]]
    return [counts, *single, *still]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(ledger)
