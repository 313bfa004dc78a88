"""Commands that are stages of the pipeline: each does what `dvc repro` and the flow would do, and leaves a card."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from igsearch.cli import show
from igsearch.cli.options import DryRun, Profile, Resume, Sets, configuration, existing, setting, with_method

if TYPE_CHECKING:
    from igsearch.config import Config
    from igsearch.stages.rule import Done, Plan
    from igsearch.stages.table import Job

PANEL = "The pipeline"


def preview(plan: "Plan") -> None:
    """Print the resolved configuration, the digests and what would run."""
    print(plan.layout.config.to_yaml(), end="")
    print(f"# configuration {plan.layout.config.digest}")
    if plan.missing:
        print(f"# {plan.job.name} would wait for {', '.join(str(plan.layout.at(name)) for name in plan.missing)}")
        return
    why = plan.stale()
    print(f"# inputs of {plan.job.name} {plan.digest}")
    outputs = ", ".join(str(plan.layout.at(name)) for name in plan.output_names)
    print(f"# would make {outputs} ({why})" if why else f"# {outputs}: up to date, nothing would run")


def bring(
    job: "Job", config: "Config", dry_run: bool, resume: bool = True, options: frozenset[str] = frozenset()
) -> "Done | None":
    """Bring one job up to date, or with `dry_run` say what that would take."""
    from igsearch.stages import layout, rule

    rule.check_settings([job], config)
    where = layout.of(config)
    if dry_run:
        preview(rule.Plan(job, where))
        return None
    with show.progress() as progress:
        rule.lay_foundations(job, where, show.say, progress)
        done = rule.run(job, where, say=show.say, progress=progress, resume=resume, options=options)
    for name in done.card.outputs:
        show.say(f"{job.name}: {where.at(name)}")
    return done


def _job(stage: str, method: str | None = None, seed: int | None = None) -> "Job":
    from igsearch.stages.table import STAGES, WARM_START, Job

    return Job(STAGES[stage], method or WARM_START, seed)


def world(
    out: Annotated[Path | None, typer.Option(help="Folder for the world; by default where the profile has it.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of names and facts; by default world.seed.")] = None,
    profile: Profile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Write the synthetic world: a corpus and seven benchmarks in their native formats."""
    from igsearch.stages import layout

    config = configuration(profile, sets, *([] if seed is None else [f"world.seed={seed}"]))
    where = layout.of(config)
    if out is None and not config.data.synthetic:
        show.say(f"profile {config.profile} takes its data from {config.data.corpus}: there is no world to write")
    elif out is None or (config.data.synthetic and where.run is None and out == where.at("corpus").parent):
        bring(_job("world"), config, dry_run)
    elif dry_run:
        print(f"{config.to_yaml()}# configuration {config.digest}\n# would write {out}")
    else:
        from igsearch.benchmarks.world import write

        write(config.world, out)
        show.say(f"world {config.world.seed}: {out}")


def index(
    corpus: Annotated[Path | None, typer.Option(help="JSONL of passages; by default the profile's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the index, with --corpus.")] = None,
    profile: Profile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Build the Lucene index of a corpus."""
    named = [setting("data.corpus", corpus), "data.synthetic=false"] if corpus else []
    config = configuration(profile, sets, *named)
    if corpus is None and out is None:
        bring(_job("index"), config, dry_run)
        return
    corpus, out = existing(corpus or config.data.corpus, "corpus"), out or Path("index")
    if dry_run:
        print(f"{config.to_yaml()}# configuration {config.digest}\n# would index {corpus} into {out}")
        return
    from igsearch.retrieval import lucene

    with show.progress() as progress:
        card = lucene.build(corpus, out, config.retrieval, lambda done: progress("passages", done, 0))
    show.say(f"{out}: {card['passages']} passages of {corpus}")


def prepare(
    benchmark: Annotated[str | None, typer.Option(help="Prepare this benchmark alone.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Its file, native or FlashRAG, or a dataset of the hub such as akariasai/PopQA.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where its FlashRAG JSONL goes.")] = None,
    split: Annotated[str, typer.Option(help="The split that the file is.")] = "test",
    profile: Profile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Turn benchmarks into FlashRAG JSONL with a card each: all of the profile, or one file."""
    from igsearch.errors import UserError

    config = configuration(profile, sets)
    if benchmark is None and source is None and out is None:
        bring(_job("prepare"), config, dry_run)
        return
    if benchmark is None or source is None or out is None:
        raise UserError("preparing one file takes --benchmark, --source and --out together")
    from igsearch.benchmarks import prepare as preparation
    from igsearch.config import benchmark_id

    benchmark = benchmark_id(benchmark)
    if dry_run:
        print(f"{config.to_yaml()}# configuration {config.digest}\n# would prepare {source} as {out}")
        return
    named = source if preparation.is_dataset(source) else existing(Path(source), "source")
    show.print_json(preparation.prepare(named, benchmark, split, out, revisions=config.data.revisions))


def warm_start(profile: Profile = None, sets: Sets = None, dry_run: DryRun = False) -> None:
    """Train the start policy on imperfect demonstrations."""
    bring(_job("warm_start"), configuration(profile, sets), dry_run)


def train(
    method: Annotated[
        str,
        typer.Option(help="A training method such as grpo, or a credit rule of your own: package.module:function."),
    ],
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Steps in place of train.steps.")] = None,
    policy: Annotated[str | None, typer.Option(help="tiny, smollm2 or a Hugging Face directory.")] = None,
    verify_oracle: Annotated[
        bool, typer.Option("--verify-oracle", help="Hold every loss and gradient against training/step.py.")
    ] = False,
    profile: Profile = None,
    sets: Sets = None,
    resume: Resume = True,
    dry_run: DryRun = False,
) -> None:
    """Train one method from one seed, from the start policy."""
    more = [] if steps is None else [f"train.steps={steps}"]
    named = [] if policy is None else [setting("policy.name", policy)]
    config, method = with_method(profile, sets, method, *more, *named)
    options = frozenset({"verify_oracle"} if verify_oracle else ())
    bring(_job("train", method, seed), config, dry_run, resume and not verify_oracle, options)


def report(profile: Profile = None, sets: Sets = None, dry_run: DryRun = False) -> None:
    """Make tables and figures from the evaluations of the benchmark, and print the main table."""
    config = configuration(profile, sets)
    done = bring(_job("tables"), config, dry_run)
    if done:
        tell(config)
        show_table(config)


def tell(config: "Config") -> None:
    """Tell MLflow of tables, figures and their numbers, unless it knows of them."""
    from igsearch.stages import benchmark_run, layout

    benchmark_run.tell(layout.of(config))


def show_table(config: "Config") -> None:
    """Print the tables that matter most and say where the others lie."""
    from igsearch.stages import layout

    tables = layout.of(config).at("results/tables")
    print(show.read_tables(tables), end="")
    show.say(f"all tables: {tables}/")


def benchmark(profile: Profile = None, sets: Sets = None, dry_run: DryRun = False) -> None:
    """Run the full benchmark without a server: every stage that is not up to date, then the tables."""
    from igsearch.stages import launch, layout, table
    from igsearch.stages.rule import Plan, check_settings

    config = configuration(profile, sets)
    check_settings(table.benchmark(config), config)
    where = layout.of(config)
    if dry_run:
        print(f"{config.to_yaml()}# configuration {config.digest}")
        for job in table.benchmark(config):
            plan = Plan(job, where)
            print(f"# {job.name}: {'waits for its inputs' if plan.missing else plan.stale() or 'up to date'}")
        return
    launch.benchmark(where, launch.Overrides(profile, tuple(sets or ())), show.say)
    tell(config)
    show_table(config)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (world, index, prepare, warm_start, train, report, benchmark):
        app.command(rich_help_panel=PANEL)(function)
