"""What all rows of bench/ share: paired measurement in CPU seconds, and one form of report.

A row compares two or more ways of the same work on the same inputs, in one process, one thread. It first holds their
results against each other; a ratio of two ways that differ in what they compute is not reported. Then it runs them in
turn, `repeats` times, so that whatever else the machine does hits all of them alike, and gives the median of the ratios
of each round with its lowest and highest. Seconds are CPU seconds of this process; work of other processes and waiting
do not count.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

PACKAGES = ("torch", "transformers", "trl", "pyserini", "numpy")


@dataclass(frozen=True)
class Ratio:
    """How many times more CPU seconds `slow` takes than `fast`: the median over paired rounds, the lowest, the highest.

    at_least: what it has to reach, if anything; never checked by a test.
    """

    name: str
    slow: str
    fast: str
    rounds: tuple[float, ...]
    at_least: float | None = None

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.rounds)

    @property
    def reached(self) -> bool | None:
        """Whether the median is at least the bound; None without one."""
        return None if self.at_least is None else self.median >= self.at_least


@dataclass
class Report:
    """One row: its inputs in words and numbers, its ratios, its largest differences and whatever else it counts."""

    row: str
    inputs: Mapping[str, Any]
    ratios: list[Ratio] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, with the machine and the versions it was measured with."""
        found = [asdict(each) | {"median": each.median, "reached": each.reached} for each in self.ratios]
        return asdict(self) | {"ratios": found, "machine": machine()}

    def text(self) -> str:
        """For a reader: a line per ratio, difference and figure."""
        lines = [f"{self.row}: {', '.join(f'{name} {value}' for name, value in self.inputs.items())}"]
        for each in self.ratios:
            bound = "" if each.at_least is None else f", wanted {each.at_least:.2f}{'' if each.reached else ': MISSED'}"
            spread = f"{min(each.rounds):.2f} to {max(each.rounds):.2f} in {len(each.rounds)} rounds"
            lines.append(f"  {each.name}: {each.slow} / {each.fast} = {each.median:.2f} ({spread}){bound}")
        lines += [f"  largest difference, {name}: {value:.1e}" for name, value in self.differences.items()]
        lines += [f"  {name}: {value}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def machine() -> dict[str, Any]:
    """Processor, system and versions."""
    model = next((line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _cpuinfo() -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return file.readlines()
    except OSError:
        return []


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process, all its threads together, that `work` takes."""
    gc.collect()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def paired(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each way in each of `repeats` rounds, after one round that does not count. The order turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for number in range(repeats + 1):
        for name in order:
            taken = cpu_seconds(ways[name])
            if number:
                seconds[name].append(taken)
        order = [*order[1:], order[0]]
    return seconds


def ratio(
    name: str, seconds: Mapping[str, Sequence[float]], slow: str, fast: str, at_least: float | None = None
) -> Ratio:
    """The ratio of two ways of `paired`, round by round."""
    rounds = tuple(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))
    return Ratio(name, slow, fast, rounds, at_least)


def main(row: Callable[[bool, int], Report]) -> None:
    """The command line of a row: `--json`, `--quick` for a smaller input, `--repeats`."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="a smaller input and fewer rounds")
    parser.add_argument("--repeats", type=int, default=None, help="paired rounds (default 5, with --quick 2)")
    given = parser.parse_args()
    report = row(given.quick, given.repeats or (2 if given.quick else 5))
    print(json.dumps(report.as_json(), indent=1) if given.json else report.text())
