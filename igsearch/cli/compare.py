"""`igsearch compare RUN RUN`: what differs between two evaluations, then their figures, question by question."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from igsearch.cli import show
from igsearch.cli.options import Profile, Sets

if TYPE_CHECKING:
    from igsearch.evaluation.contract import Difference
    from igsearch.evaluation.paired import Paired
    from igsearch.evaluation.store import Evaluation
    from igsearch.reporting.table import Table

PANEL = "Looking closer"
_TITLES = {
    "em": "EM",
    "f1": "F1",
    "cover_em": "cover-EM",
    "searches": "Searches per question",
    "sampled_tokens": "Sampled tokens per question",
}
_NOTE = "B - A: over the same questions; 95 %: its interval over questions."


def compare(
    first: Annotated[str, typer.Argument(help="An evaluation folder, or a run such as grpo-0.", metavar="RUN")],
    second: Annotated[str, typer.Argument(help="Another.", metavar="RUN")],
    despite: Annotated[
        bool, typer.Option("--despite", help="Show the figures although the contracts differ, below what differs.")
    ] = False,
    profile: Profile = None,
    sets: Sets = None,
) -> None:
    """Compare two evaluations over the same questions: EM, F1, cover-EM and effort, with paired intervals.

    First comes what differs between their contracts: corpus, retriever, budgets, prompt, questions, normalisation,
    decoding. Where anything does, there are no figures without --despite.
    """
    from igsearch.errors import UserError
    from igsearch.evaluation import contract, paired, store

    one, other = (store.load(_folder(name, profile, sets)) for name in (first, second))
    differing = contract.differences(one.contract, other.contract)
    print(_terms(one, other, differing), end="")
    if differing and not despite:
        terms = ", ".join(dict.fromkeys(found.term for found in differing))
        raise UserError(
            f"{first} and {second} were evaluated under different contracts (they differ in {terms}); evaluate both "
            "alike, or see the figures nevertheless with --despite"
        )
    found = paired.pairs(one.records, other.records)
    if not found:
        raise UserError(f"{first} and {second} have no question in common: there is nothing to compare")
    _print_tables(one, other, {name: paired.compare(found, name) for name in paired.FIELDS})


def _folder(name: str, profile: str | None, sets: list[str] | None) -> Path:
    """The folder of an evaluation: `name` itself, or that of the run of that name."""
    from igsearch.cli.answering import evaluation_of
    from igsearch.errors import UserError
    from igsearch.evaluation.store import SUMMARY
    from igsearch.stages import layout

    if (Path(name) / SUMMARY).exists():
        return Path(name)
    if Path(name).exists() or "/" in name:
        raise UserError(f"{name} is not an evaluation folder: it has no {SUMMARY}")
    config, job = evaluation_of(name, profile, sets)
    folder = layout.of(config).at(job.fill(job.stage.outputs)[0])
    if not (folder / SUMMARY).exists():
        raise UserError(f"{folder} is missing: run `igsearch {job.fill([job.stage.command])[0]}` first")
    return folder


def _terms(one: "Evaluation", other: "Evaluation", differing: "list[Difference]") -> str:
    """Who is compared, and the contract or what differs: one line a term, the first run's value left of the bar."""
    mine, theirs = one.contract.digest[:12], other.contract.digest[:12]
    who = f"A: {_label(one)}\nB: {_label(other)}\n"
    if not differing:
        return f"{who}one contract: {mine}\n"
    lines = "".join(f"  {_one_line(str(found))}\n" for found in differing)
    return f"{who}contracts differ ({mine} | {theirs}):\n{lines}"


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def _table(name: str, figures: "dict[str, Paired]") -> "Table":
    from igsearch.reporting.table import Table

    digits = 3 if name in ("em", "f1", "cover_em") else 1
    rows = []
    for benchmark, of in figures.items():
        means = (f"{of.first:.{digits}f}", f"{of.second:.{digits}f}", f"{of.difference:+.{digits}f}")
        rows.append((benchmark, str(of.n), *means, f"{of.low:+.{digits}f} to {of.high:+.{digits}f}"))
    return Table(_TITLES[name], ("benchmark", "n", "A", "B", "B - A", "95 %"), tuple(rows))


def _label(evaluation: "Evaluation") -> str:
    return f"{evaluation.subject.label}, {evaluation.subject.inference}"


def _print_tables(one: "Evaluation", other: "Evaluation", figures: "dict[str, dict[str, Paired]]") -> None:
    from rich.console import Console

    console = Console()
    for name, of in figures.items():
        console.print(_table(name, of).rich(), "")
    mixed = one.subject.synthetic or other.subject.synthetic
    console.print(f"{'Synthetic data. ' if mixed else ''}{_NOTE} average: unweighted mean of the benchmarks.")
    for each in (one, other):
        for reason in each.partial:
            show.say(f"PARTIAL, {each.subject.label}: {reason}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(compare)
