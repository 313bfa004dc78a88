"""Judging results before they are believed: power, the published table under its own errors, a table cell opened."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from igsearch.cli import show
from igsearch.cli.options import Profile, Sets, positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from igsearch.reporting.power import Ground
    from igsearch.stages.explain import Explanation, Part
    from igsearch.stages.layout import Layout

PANEL = "Looking closer"


def power(
    effect: Annotated[float, typer.Option(help="The difference to show, in points of EM.", metavar="POINTS")],
    chance: Annotated[float, typer.Option("--power", help="With what probability it is to show.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Level of the two-sided test.")] = 0.05,
    seeds: Annotated[int, typer.Option(help="Training seeds of each method.")] = 3,
    benchmark: Annotated[str | None, typer.Option(help="One benchmark in place of the macro average.")] = None,
    recorded: Annotated[
        tuple[str, str] | None,
        typer.Option("--from", help="Shares, sizes and correlation of two recorded evaluations.", metavar="RUN RUN"),
    ] = None,
    profile: Profile = None,
    sets: Sets = None,
) -> None:
    """Tell how many questions and seeds would show a difference, and the smallest that would show at the real sizes.

    The test is paired by question. Without --from the shares are those of a published row and the correlations a grid.
    """
    from rich.console import Console

    from igsearch.evaluation.power import Demand
    from igsearch.reporting import power as tables

    _within("--power", chance, 0.5, 1)
    _within("--alpha", alpha, 0, 0.5)
    positive(seeds, "--seeds")
    ground, demand = _ground(recorded, benchmark, profile, sets), Demand(chance, alpha)
    _within("--effect", effect, 0, 100 * ground.first.room)
    console = Console()
    for each in (
        tables.smallest_table(ground, demand),
        tables.questions_table(ground, effect / 100, demand),
        *tables.seeds_tables(ground, effect / 100, seeds, demand),
    ):
        console.print(each.rich(), "")
    console.print(tables.assumptions(ground, demand), markup=False, highlight=False)


def _within(option: str, value: float, low: float, high: float) -> None:
    from igsearch.errors import UserError

    if not low < value < high:
        raise UserError(f"{option} must lie between {low:g} and {high:.3g}, not at {value:g}")


def _ground(
    recorded: tuple[str, str] | None, benchmark: str | None, profile: str | None, sets: list[str] | None
) -> "Ground":
    from igsearch.cli.compare import evaluations_of
    from igsearch.config import benchmark_id
    from igsearch.errors import UserError, nearest
    from igsearch.reporting import power as tables

    if recorded:
        one, other = (evaluations_of(name, profile, sets) for name in recorded)
        ground = tables.from_records(one, other)
    else:
        ground = tables.from_published()
    if benchmark is None:
        return ground
    if benchmark_id(benchmark) not in ground.first.shares:
        raise UserError(f"these evaluations have no {benchmark} {nearest(benchmark, ground.first.shares)}")
    return ground.only(benchmark)


referee = typer.Typer(help="Judge results by their own errors.", no_args_is_help=True)


@referee.command()
def published(
    csv: Annotated[Path | None, typer.Option("--csv", help="Write all figures and differences there.")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Draw the differences: .png, .svg or .pdf.")] = None,
) -> None:
    """Re-analyse the published table: intervals over questions, which claims stand, what corrected figures change."""
    from rich.console import Console

    from igsearch.provenance import write_text
    from igsearch.reporting import published_verdicts
    from igsearch.reporting.published_referee import rows
    from igsearch.reporting.table import Table

    if figure is not None:
        _draw(figure)
    console = Console()
    for each in published_verdicts.tables():
        console.print(each.rich(tight=True), "")
    console.print(published_verdicts.EXPLANATION, markup=False, highlight=False)
    if csv is not None:
        write_text(csv, Table("", (), (), data=tuple(rows())).csv())
        show.say(f"written: {csv}")


def _draw(path: Path) -> None:
    from igsearch.errors import UserError

    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"--figure {path}: name a file that ends in .png, .svg or .pdf")
    import matplotlib

    from igsearch.provenance import atomic_path
    from igsearch.reporting.figure import STYLE
    from igsearch.reporting.published_figure import draw

    metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    with matplotlib.rc_context(STYLE), atomic_path(path) as temporary:
        draw().savefig(temporary, format=path.suffix[1:], metadata=metadata.get(path.suffix))
    show.say(f"written: {path}")


def explain(
    table: Annotated[Path, typer.Argument(help="A CSV file of results/tables.", metavar="TABLE")],
    method: Annotated[str, typer.Argument(help="The row: a method.", metavar="METHOD")],
    column: Annotated[
        str, typer.Argument(help="A benchmark, macro, a number of hops, or another column.", metavar="COLUMN")
    ],
    metric: Annotated[str, typer.Option(help="em, f1 or cover_em, where the table has several.")] = "em",
    base: Annotated[str | None, typer.Option(help="In differences.csv: the method that is subtracted.")] = None,
    profile: Profile = None,
    sets: Sets = None,
) -> None:
    """Open a table cell: how it comes about, its records and examples, settings, digests, commits, commands.

    The cell is computed again from the records; exit code 2 where the table shows something else.
    """
    from igsearch.errors import UserError
    from igsearch.stages.explain import explain as opened

    found = opened(table, _layout(table, profile, sets), method, column, metric, base)
    _print_explanation(table, found)
    if not found.same:
        raise UserError(
            f"{table} shows {found.shown} where the records that lie there now give {found.recomputed}; write the "
            f"tables again with `{found.again[0]}`"
        )


def _layout(path: Path, profile: str | None, sets: list[str] | None) -> "Layout":
    """The layout that a table belongs to: that of the options, or else of the experiment in whose folder it lies."""
    from igsearch.cli.options import configuration
    from igsearch.errors import UserError
    from igsearch.stages import layout

    folder = path.resolve().parent
    named = layout.EXPERIMENTS.resolve()
    if profile is None and not sets and named in folder.parents:
        profile = str(layout.EXPERIMENTS / folder.relative_to(named).parts[0])
    place = layout.of(configuration(profile, sets))
    if place.at("results/tables").resolve() != folder:
        raise UserError(
            f"{path} is not a table of {place.title}, whose tables lie in {place.at('results/tables')}; name its "
            "configuration with --profile and --set"
        )
    return place


def _print_explanation(table: Path, found: "Explanation") -> None:
    row = " ".join(value for key, value in found.row.items() if key in ("method", "base", "metric", "hops", "figure"))
    print(f"{table}: {row}, {found.column} = {found.shown}")
    print(f"computed again from the records: {found.recomputed}, {'the same' if found.same else 'NOT the same'}")
    if found.how:
        print(found.how)
    for part in found.parts:
        _print_part(part)
    print("\nexamples")
    for each in found.examples:
        print(f"  {'right' if each.right else 'wrong'}: {each.where}")
        print(f"    {each.uid}: {each.question}")
        print(f"    prediction: {each.prediction}   gold: {' | '.join(each.gold)}")
    print("\nwhat all of it was made with")
    for name, digest in found.terms.items():
        print(f"  {name:14}{digest}")
    print(f"  {'settings':14}{_listed(found.settings, 'all as by default')}")
    print(f"  {'the method':14}{_listed(found.method_settings, 'no settings beside those of grpo')}")
    print("\nthe table again")
    for command in found.again:
        print(f"  {command}")


def _listed(settings: "Sequence[str]", none: str) -> str:
    return f"\n{' ' * 16}".join(settings) if settings else none


def _print_part(part: "Part") -> None:
    asked = f"{part.asked:,}" if part.right is None else f"{part.right:,g} right of {part.asked:,}"
    print(f"\n{part.run}")
    if part.value:
        print(f"  {'value':11}{part.value}")
    print(f"  {'questions':11}{asked}")
    for path, digest in part.files.items():
        print(f"  {'file':11}{path}")
        print(f"  {'sha256':11}{digest}")
    told = "as its card says" if part.unchanged else "NOT as its card says: changed, or without a card"
    print(f"  {'evaluation':11}{told}")
    for what, card in part.cards.items():
        print(f"  {what:11}commit {card.commit}")
        if card.run_id:
            print(f"  {'':11}MLflow run {card.run_id}")
    for i, command in enumerate(part.again):
        print(f"  {'again' if i == 0 else '':11}{command}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PANEL)(explain)
    app.add_typer(referee, name="referee", rich_help_panel=PANEL)
    app.command(rich_help_panel=PANEL)(power)
