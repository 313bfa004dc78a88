"""Growth: memory and CPU seconds of index, retrieve, score, evaluate and tables as passages and questions multiply.

Every stage does its work as the command does, in a process of its own, on synthetic passages and questions: 10 thousand
to 1 million passages, 1 to 50 thousand questions. What a stage takes on next to nothing (one question, a few passages:
the interpreter, imports, the Java machine) is taken off before the slope of log seconds over log size is fitted, so
that a slope of 1 is linear, and the memory that each further question or passage costs is told beside it: near nothing
where a stage streams. `evaluate` is all that an evaluation does with its answers, from finished chunks to the folder on
disk, without the policy that answers. `tables` is every table of two runs with their differences.

Before that, score, evaluation and tables have to agree on figures that are known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import Limit, Report, Used, in_python, main

PASSAGES = (10_000, 100_000, 1_000_000)
QUESTIONS = (1_000, 7_000, 50_000)
QUICK_PASSAGES, QUICK_QUESTIONS = (2_000, 6_000, 20_000), (200, 700, 2_000)
TEST_QUESTIONS, SECONDS = 51_713, 10.0
STEEPEST = 1.1  # what a linear stage may come to by the noise of a shared machine
TOLD = 0.1  # CPU seconds beyond those on next to nothing below which a size tells nothing
STAGES = {
    "index": "passages",
    "retrieve": "questions",
    "retrieve from more": "passages",
    "score": "questions",
    "evaluate": "questions",
    "tables": "questions",
}
"""What each stage is grown by."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A stage at several sizes, and at the smallest possible one (`nothing`)."""

    stage: str
    nothing: Used
    sizes: tuple[int, ...]
    used: tuple[Used, ...]

    @property
    def seconds(self) -> list[float]:
        """CPU seconds beyond those on next to nothing."""
        return [max(each.cpu - self.nothing.cpu, 1e-3) for each in self.used]

    @property
    def slope(self) -> float | None:
        """Least squares of log seconds over log size: 1 is linear. None where too few sizes take long enough."""
        told = [(size, each) for size, each in zip(self.sizes, self.seconds, strict=True) if each > TOLD]
        return slope(*zip(*told, strict=True)) if len(told) > 1 else None

    @property
    def slope_text(self) -> str:
        """To two places."""
        return "too short to tell" if self.slope is None else f"{self.slope:.2f}"

    @property
    def bytes_each(self) -> float:
        """Bytes of peak memory that each further question or passage costs, from the smallest size to the largest."""
        first, last = (each.peak or math.nan for each in (self.used[0], self.used[-1]))
        return (last - first) * (1 << 20) / (self.sizes[-1] - self.sizes[0])

    def told(self) -> str:
        """In one line."""
        seconds = ", ".join(f"{size:,}: {each:.1f}" for size, each in zip(self.sizes, self.seconds, strict=True))
        peaks = ", ".join(f"{each.peak:.0f}" for each in self.used)
        return (
            f"seconds by {STAGES[self.stage]} beyond {self.nothing.cpu:.1f}: {seconds}; slope {self.slope_text}; "
            f"MiB {peaks} beyond {self.nothing.peak:.0f}, {self.bytes_each:,.0f} bytes each"
        )


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of the line through (log size, log value) by least squares."""
    x, y = [math.log(each) for each in sizes], [math.log(each) for each in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


def run(function: str, *arguments: str | int | Path) -> Used:
    """A function of growth_work in a process of its own."""
    code = "import sys, growth_work\ngetattr(growth_work, sys.argv[1])(*sys.argv[2:])\n"
    return in_python(code, function, *map(str, arguments))


def _prepared(folder: Path, stage: str, size: int, passages: int) -> tuple[str | Path, ...]:
    """Write what a stage reads, in a process that is not measured; the arguments of its measured part."""
    at = folder / f"{stage.replace(' ', '_')}-{size}"
    if stage == "index":
        run("write_corpus", at.with_suffix(".jsonl"), size)
        return at.with_suffix(".jsonl"), folder / f"index-{size}"
    if stage.startswith("retrieve"):
        asked, indexed = (size, passages) if stage == "retrieve" else (1000, size)
        run("write_questions", at.with_suffix(".jsonl"), asked, passages)
        return at.with_suffix(".jsonl"), folder / f"index-{indexed}", at.with_suffix(".hits")
    run(f"write_for_{stage}", at, size)
    return (at,)


def grow(folder: Path, stage: str, sizes: Sequence[int], passages: int) -> Curve:
    """Run a stage at each size. `passages` is the size of the index that questions are asked of."""
    name = stage.split(" ", 1)[0]
    measured = [run(name, *_prepared(folder, stage, size, passages)) for size in (1, *sizes)]
    return Curve(stage, measured[0], tuple(sizes), tuple(measured[1:]))


def largest_difference(folder: Path, count: int) -> float:
    """The largest difference between the known figures of `count` questions and those of the scorer, of the summary of
    an evaluation and of the tables."""
    return float(run("difference", folder, count).output)


def _whole_test(folder: Path, repeats: int, count: int) -> Limit:
    """Scoring the predictions of all seven test sets and building every table of an evaluation of them."""
    run("write_for_score", folder / "whole-score", count)
    run("write_for_tables", folder / "whole-tables", count, 1)
    rounds = tuple(
        run("score", folder / "whole-score").cpu + run("tables", folder / "whole-tables").cpu for _ in range(repeats)
    )
    return Limit(f"score {count:,} predictions and build every table", "CPU seconds", rounds, SECONDS)


def plot(curves: Sequence[Curve], out: Path) -> Path:
    """Seconds and memory by size, one line a stage, as growth.png."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained", sharex="col")
    for unit, (above, below) in zip(("passages", "questions"), axes.T, strict=True):
        grown = [each for each in curves if STAGES[each.stage] == unit]
        for curve in grown:
            above.loglog(curve.sizes, curve.seconds, "o-", label=f"{curve.stage} (slope {curve.slope_text})")
            below.semilogx(curve.sizes, [each.peak for each in curve.used], "o-", label=curve.stage)
        sizes = sorted({size for each in grown for size in each.sizes})
        below.set_xticks(sizes, [f"{size:,}" for size in sizes])
        below.minorticks_off()
        below.set(xlabel=unit, ylabel="peak memory, MiB", ylim=(0, None))
        above.set_ylabel("CPU seconds beyond the start")
        above.legend(loc="upper left")
        above.margins(y=0.4)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "growth.png", dpi=120, metadata={"Software": None})
    return out / "growth.png"


def measure(quick: bool, repeats: int, out: str | None = None) -> Report:
    """The row."""
    passages, questions = (QUICK_PASSAGES, QUICK_QUESTIONS) if quick else (PASSAGES, QUESTIONS)
    asked = questions[-1] if quick else TEST_QUESTIONS
    inputs: dict[str, Any] = {"passages": passages, "questions": questions, "questions of all test sets": asked}
    report = Report("growth", inputs)
    with TemporaryDirectory() as name:
        folder = Path(name)
        report.differences["known figures against score, evaluate, tables"] = largest_difference(folder, 300)
        sizes = {"passages": passages, "questions": questions}
        curves = [grow(folder, stage, sizes[unit], passages[0]) for stage, unit in STAGES.items()]
        report.limits.append(_whole_test(folder, 1 if quick else repeats, asked))
    slopes = {each.stage: each.slope for each in curves}
    report.limits += [Limit(f"slope of {of}", "", (each,), STEEPEST) for of, each in slopes.items() if each is not None]
    report.figures.update({each.stage: each.told() for each in curves})
    if out:
        report.figures["figure"] = str(plot(curves, Path(out)))
    return report


if __name__ == "__main__":
    main(measure, out="folder for the figure, growth.png")
