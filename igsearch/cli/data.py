"""Commands on single files and questions: search, retrieve, score, gain, published."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from igsearch.cli import show
from igsearch.cli.options import Profile, Sets, configuration, existing, positive, setting

PANEL = "Looking closer"
INDEX = Path("artifacts/index")

IndexFolder = Annotated[Path, typer.Option("--index", help="Folder of an index.")]


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    index: IndexFolder = INDEX,
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
    profile: Profile = None,
    sets: Sets = None,
) -> None:
    """Show the best passages for a query: titles, scores and texts."""
    positive(k, "-k")
    config = configuration(profile, sets)
    from igsearch.retrieval.lucene import LuceneRetriever

    hits = LuceneRetriever(index, config.retrieval).search([query], k)[0]
    for rank, hit in enumerate(hits, 1):
        passage = hit.passage
        if as_json:
            row = {"rank": rank, "id": passage.id, "score": hit.score, "title": passage.title, "text": passage.text}
            print(json.dumps(row, ensure_ascii=False))
        else:
            print(f"{rank}. {passage.title or '(no title)'}  [{passage.id}]  {hit.score:.3f}\n   {passage.text}")
    if not hits:
        show.say("nothing found")


def retrieve(
    questions: Annotated[Path, typer.Option(help="Questions of one benchmark, native or FlashRAG.")],
    out: Annotated[Path, typer.Option(help="Where the hits go, one line of JSON per question.")],
    index: IndexFolder = INDEX,
    k: Annotated[int, typer.Option("-k", help="How many passages per question.")] = 10,
    benchmark: Annotated[str | None, typer.Option(help="The benchmark, if the file's name does not say it.")] = None,
    profile: Profile = None,
    sets: Sets = None,
) -> None:
    """Retrieve for every question of a file and print how often a passage holds an answer, as JSON."""
    positive(k, "-k")
    config = configuration(profile, sets)
    from igsearch.benchmarks.prepare import load_questions
    from igsearch.retrieval import hits
    from igsearch.retrieval.lucene import LuceneRetriever

    asked = load_questions(existing(questions, "questions"), benchmark or _benchmark_of(questions))
    retriever = LuceneRetriever(index, config.retrieval)
    with show.progress() as progress:
        rates = hits.write_hits(retriever, asked, k, out, lambda done: progress("questions", done, len(asked)))
    show.print_json(rates)


def _benchmark_of(path: Path) -> str:
    """The benchmark that a path such as nq.jsonl or nq/test.jsonl names."""
    from igsearch.errors import UserError
    from igsearch.records import BENCHMARKS

    found = next((name for name in (path.stem, path.parent.name) if name in BENCHMARKS), None)
    if found is None:
        raise UserError(f"{path} does not say which benchmark it is; add --benchmark ({', '.join(BENCHMARKS)})")
    return found


def score(
    file: Annotated[Path, typer.Argument(help='JSONL of {"prediction" or "pred", "golden_answers"}.')],
    per_record: Annotated[Path | None, typer.Option(help="Write the scored records here, line by line.")] = None,
) -> None:
    """Score a file of predictions and print EM, F1 and cover-EM as JSON."""
    from igsearch.evaluation.score import score_file
    from igsearch.provenance import jsonl_writer

    with jsonl_writer(per_record) if per_record else nullcontext() as keep:
        summary = score_file(file, keep)
    show.print_json(summary)


def gain(
    traces: Annotated[Path, typer.Option(help="JSON of recorded rollouts with search and information tags.")],
    policy: Annotated[str, typer.Option(help="The scorer: smollm2 or a Hugging Face directory.")] = "smollm2",
    limit: Annotated[int | None, typer.Option(help="Take only so many rollouts that searched.")] = None,
    method: Annotated[str, typer.Option(help="Whose information_gain settings to use.")] = "ig_search",
    seed: Annotated[int, typer.Option(help="Seed of the counterfactual draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, the summary last.")] = False,
    profile: Profile = None,
    sets: Sets = None,
) -> None:
    """Score every search of recorded rollouts by its information gain, and compare right and wrong rollouts."""
    from igsearch.errors import UserError

    config = configuration(profile, sets, setting("policy.name", policy))
    measure = config.method(method).information_gain
    if measure is None:
        raise UserError(f"method {method} has no information_gain settings; take ig_search")
    from igsearch.evaluation.traces import gain_table
    from igsearch.policy.load import load_policy

    found = existing(traces, "rollouts")
    rows, summary = gain_table(
        load_policy(config.policy), found, None if limit is None else positive(limit, "--limit"), measure, seed
    )
    if as_json:
        for row in (*rows, summary):
            show.print_json(row)
    else:
        _print_gains(rows, summary)


def _print_gains(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    listed = Table(
        "rollout", "search", "query", "gain", "real", "random", "answer", title="Information gain by search, in nats"
    )
    for row in rows:
        figures = [f"{row[name]:+.3f}" if row[name] is not None else "–" for name in ("gain", "real", "random")]
        listed.add_row(str(row["id"]), str(row["search"]), row["query"], *figures, "right" if row["right"] else "wrong")
    means = Table("rollouts", "n", "searches", "mean gain", "95 %", title="By outcome")
    for name in ("right", "wrong", "all"):
        of = summary[name]
        mean, span = (
            ("–", "–") if of["mean"] is None else (f"{of['mean']:+.3f}", f"{of['low']:+.3f} to {of['high']:+.3f}")
        )
        means.add_row(name, str(of["rollouts"]), str(of["searches"]), mean, span)
    console = Console()
    console.print(listed, means)
    console.print(f"{summary['without_search']} rollouts never searched and are left out")


def published(
    model: Annotated[str, typer.Option(help="Only models whose name holds this, such as 3B.")] = "",
    kind: Annotated[str | None, typer.Option(help="Only this metric: em, f1 or judge.")] = None,
) -> None:
    """Show what others have published on these benchmarks, by model and metric, with sources and caveats."""
    from rich.console import Console

    from igsearch.errors import UserError, nearest
    from igsearch.reporting.published_tables import CAPTION, sections

    kinds = {"em": "EM", "f1": "F1", "judge": "LLM judge"}
    if kind is not None and kind.casefold() not in kinds:
        raise UserError(f"unknown metric {kind!r} {nearest(kind.casefold(), kinds)}")
    found = sections(model, kinds[kind.casefold()] if kind else None)
    if not found:
        raise UserError(f"nothing published for a model like {model!r} with this metric; leave out --model or --kind")
    console = Console()
    for table in found:
        console.print(table.rich(), "")
    console.print(CAPTION, markup=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (search, retrieve, score, gain, published):
        app.command(rich_help_panel=PANEL)(function)
