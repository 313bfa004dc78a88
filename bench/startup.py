"""Start-up: how long `igsearch --help` takes, and which heavy packages each command and stage imports.

A command's `--help` may import none of HEAVY; a command that does its work, on inputs of a few lines, and the module of
a stage may import those that it uses (USES, with the reason). Seconds are of a whole process, from its start to its end
and with the interpreter's own start, which stands beside them; wall seconds depend on what else the machine does, CPU
seconds do not. Every import is looked up in sys.modules of a process that has done nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from sys import executable
from tempfile import TemporaryDirectory

from harness import Limit, Report, Used, in_process, in_python, main

HELP_SECONDS = 0.4
HEAVY = (
    *("torch", "transformers", "trl", "datasets", "mlflow", "prefect", "pandas", "matplotlib", "scipy", "pyarrow"),
    *("sklearn", "pyserini", "jnius"),
)

_MLFLOW = "MLflow's client, which imports pandas, pyarrow and scipy itself"
_MODEL = "the policy is a Hugging Face model in torch"
_TRACKED = dict.fromkeys(("mlflow", "pandas", "pyarrow", "scipy"), _MLFLOW)
USES: Mapping[str, Mapping[str, str]] = {
    "world": {},
    "index": {},
    "prepare": {},
    "warm_start": {"torch": "it trains a policy"},
    "train": {
        **_TRACKED,
        "torch": "it trains a policy",
        "transformers": "TRL's trainer is built on its own",
        "trl": "the trainer",
        "datasets": "TRL's trainer takes its questions from a Dataset",
    },
    "evaluate": {**_TRACKED, "torch": _MODEL, "transformers": _MODEL},
    "tables": {"matplotlib": "it draws the figures", "pyarrow": "records are read from Parquet"},
}
"""What the module of each stage imports with a reason, by stage."""

COMMAND_USES: Mapping[str, Mapping[str, str]] = {
    "index": {"jnius": "Lucene runs in the Java machine that it starts"},
    "search": {"jnius": "Lucene"},
    "retrieve": {"jnius": "Lucene"},
    "score": {},
    "world": {},
    "prepare": {},
    "published": {},
    "config show": {},
}

_TELL = """
import json, sys
print(json.dumps([name for name in {heavy!r} if name in sys.modules]))
"""


def _imported(code: str, *arguments: str) -> tuple[list[str], Used]:
    """What of HEAVY a process has imported after some code, and what the process took."""
    used = in_python(code + _TELL.format(heavy=HEAVY), *arguments)
    found: list[str] = json.loads(used.output.strip().splitlines()[-1])
    return found, used


def commands() -> list[str]:
    """All commands, those of groups with the group before them."""
    code = """
import json
import typer.main
from igsearch.cli.entry import app
top = typer.main.get_command(app).commands
print(json.dumps([f"{name} {sub}".strip() for name, each in top.items() for sub in getattr(each, "commands", [""])]))
"""
    listed: list[str] = json.loads(in_python(code).output)
    return listed


def of_command(*arguments: str) -> tuple[list[str], Used]:
    """What a command imports by its end: `of_command("score", "--help")`."""
    code = """
import sys
from igsearch.cli.entry import app
app(sys.argv[1:], prog_name="igsearch", standalone_mode=False)
"""
    return _imported(code, *arguments)


def of_stage(name: str) -> tuple[list[str], Used]:
    """What the module of a stage imports, with the rule that runs it."""
    code = """
import sys
from importlib import import_module
from igsearch.stages import rule, table
import_module(f"igsearch.stages.{table.STAGES[sys.argv[1]].function}")
"""
    return _imported(code, name)


def _small_inputs(folder: Path) -> None:
    passages = [{"id": str(i), "contents": f'"City {i}"\nCity {i} lies on river {i}.'} for i in range(20)]
    questions = [
        {"id": str(i), "question": f"on which river is City {i}?", "golden_answers": [f"river {i}"]} for i in range(5)
    ]
    predictions = [{"prediction": f"river {i}", "golden_answers": [f"river {i}"]} for i in range(5)]
    for name, rows in (("corpus", passages), ("nq", questions), ("predictions", predictions)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _at_work(folder: Path) -> dict[str, Sequence[str]]:
    """Command lines on the small inputs, in the order in which they can run."""
    corpus, questions, index = str(folder / "corpus.jsonl"), str(folder / "nq.jsonl"), str(folder / "index")
    prepare = ("prepare", "--benchmark", "nq", "--source", questions, "--out", str(folder / "prepared.jsonl"))
    return {
        "config show": ("config", "show", "--profile", "micro"),
        "published": ("published", "--kind", "em"),
        "score": ("score", str(folder / "predictions.jsonl")),
        "world": ("world", "--profile", "micro", "--out", str(folder / "world")),
        "prepare": (*prepare, "--profile", "micro"),
        "index": ("index", "--corpus", corpus, "--out", index, "--profile", "micro"),
        "search": ("search", "river", "--index", index, "--profile", "micro"),
        "retrieve": (
            *("retrieve", "--questions", questions, "--index", index),
            *("--out", str(folder / "hits.jsonl"), "--profile", "micro"),
        ),
    }


def unused(found: Sequence[str], uses: Mapping[str, str]) -> list[str]:
    """What of the imported packages has no reason."""
    return [name for name in found if name not in uses]


def at_work(only: Sequence[str] = tuple(COMMAND_USES)) -> dict[str, tuple[list[str], Used]]:
    """What commands import and take that do their work on a few lines."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _small_inputs(folder)
        return {command: of_command(*line) for command, line in _at_work(folder).items() if command in only}


def _told(seen: tuple[list[str], Used], uses: Mapping[str, str]) -> str:
    found, used = seen
    needless = unused(found, uses)
    rest = f"; not used: {', '.join(needless)}" if needless else ""
    return f"{used.cpu:.2f} s, {used.peak:.0f} MiB; imports {', '.join(found) or 'none of them'}{rest}"


def measure(quick: bool, repeats: int) -> Report:
    """The row."""
    report = Report("startup", {"command": "igsearch --help", "heavy packages": ", ".join(HEAVY)})
    helps = [in_process([executable, "-m", "igsearch", "--help"]) for _ in range(2 * repeats + 1)][1:]
    bare = [in_process([executable, "-c", "pass"]) for _ in helps]
    report.limits = [
        Limit("igsearch --help", "wall seconds", tuple(each.wall for each in helps), HELP_SECONDS),
        Limit("igsearch --help", "CPU seconds", tuple(each.cpu for each in helps), HELP_SECONDS),
    ]
    report.figures["Python alone, CPU seconds"] = round(sorted(each.cpu for each in bare)[len(bare) // 2], 3)
    named = ["score", "train"] if quick else commands()
    found = {name: of_command(*name.split(), "--help")[0] for name in named}
    report.differences["heavy packages imported by a --help"] = max(map(len, found.values()))
    report.figures["commands whose --help was run"] = len(found)
    for name, uses in USES.items():
        if not quick or name in ("world", "index", "prepare"):
            report.figures[f"import of the stage {name}"] = _told(of_stage(name), uses)
    for name, seen in at_work(("score", "published") if quick else tuple(COMMAND_USES)).items():
        report.figures[f"igsearch {name}"] = _told(seen, COMMAND_USES[name])
    return report


if __name__ == "__main__":
    main(measure)
