"""What all rows of bench/ share: paired measurement in CPU seconds, and one form of report.

A row compares two or more ways of the same work on the same inputs, in one thread. It first holds their results against
each other and tells the largest difference. Then it runs them in turn, `repeats` times, so that whatever else the
machine does hits all of them alike, and gives the median of the ratios of each round with its lowest and highest.
Seconds are CPU seconds of this process, or of a child where a row says so; waiting does not count.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from igsearch.provenance import write_text

Way = Callable[[], Any]
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


@dataclass(frozen=True)
class Limit:
    """A figure that has to stay below a bound, such as the seconds of a start: its rounds and their median."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    below: float

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.rounds)

    @property
    def reached(self) -> bool:
        """Whether the median is below the bound; never checked by a test."""
        return self.median < self.below


@dataclass
class Report:
    """One row: its inputs in words and numbers, its ratios and limits, largest differences, and what else it counts."""

    row: str
    inputs: Mapping[str, Any]
    ratios: list[Ratio] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, with the machine and the versions it was measured with."""
        ratios = [asdict(each) | {"median": each.median, "reached": each.reached} for each in self.ratios]
        limits = [asdict(each) | {"median": each.median, "reached": each.reached} for each in self.limits]
        return asdict(self) | {"ratios": ratios, "limits": limits, "machine": machine()}

    def text(self) -> str:
        """For a reader: a line per ratio, limit, difference and figure."""
        lines = [f"{self.row}: {', '.join(f'{name} {value}' for name, value in self.inputs.items())}"]
        for each in self.ratios:
            bound = "" if each.at_least is None else f", wanted {each.at_least:.2f}{'' if each.reached else ': MISSED'}"
            spread = f"{min(each.rounds):.2f} to {max(each.rounds):.2f} in {len(each.rounds)} rounds"
            lines.append(f"  {each.name}: {each.slow} / {each.fast} = {each.median:.2f} ({spread}){bound}")
        for limit in self.limits:
            spread = f"{min(limit.rounds):.2f} to {max(limit.rounds):.2f} in {len(limit.rounds)} rounds"
            bound = f"wanted below {limit.below:.2f}{'' if limit.reached else ': MISSED'}"
            lines.append(f"  {limit.name}: {limit.median:.2f} {limit.unit} ({spread}), {bound}")
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


def cpu_seconds(work: Way) -> float:
    """CPU seconds of this process, all its threads together, that `work` takes."""
    gc.collect()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def paired(
    ways: Mapping[str, Way], repeats: int, seconds_of: Callable[[Way], Any] = cpu_seconds, warm_up: int = 1
) -> dict[str, list[Any]]:
    """`seconds_of` each way in each of `repeats` rounds, after `warm_up` rounds that do not count. The order turns."""
    seconds: dict[str, list[Any]] = {name: [] for name in ways}
    order = list(ways)
    for number in range(warm_up + repeats):
        for name in order:
            taken = seconds_of(ways[name])
            if number >= warm_up:
                seconds[name].append(taken)
        order = [*order[1:], order[0]]
    return seconds


def over_shapes(
    row: str, shapes: Mapping[str, Any], compare: Callable[[str, Any, int, Report], None], repeats: int
) -> Report:
    """The report of a row that compares torch code, in one thread, on inputs of several shapes."""
    import torch

    torch.set_num_threads(1)
    report = Report(row, {name: str(shape) for name, shape in shapes.items()})
    for name, shape in shapes.items():
        compare(name, shape, repeats, report)
    return report


@dataclass(frozen=True, slots=True)
class Used:
    """What a process took from its start to its end: CPU seconds (all its threads, and its own children), wall seconds,
    the peak of its resident memory in MiB where it told that, and its standard output."""

    cpu: float
    wall: float
    peak: float | None
    output: str


_TELL_PEAK = """
with open("/proc/self/status") as status:
    found = [line.split()[1] for line in status if line.startswith("VmHWM:")]
print("peak KiB", *found, flush=True)
"""


def in_process(command: Sequence[str], **environment: str) -> Used:
    """Run a command to its end in a process of its own, one thread for numerical libraries. Its standard error is
    shown only where it fails: then CalledProcessError."""
    settings = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as errors:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=errors, env={**os.environ, **settings, **environment})
        _, status, taken = os.wait4(child.pid, 0)  # of this child alone, unlike RUSAGE_CHILDREN
        wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            sys.stderr.write(errors.read())
            raise subprocess.CalledProcessError(child.returncode, command)
        return Used(taken.ru_utime + taken.ru_stime, wall, None, out.read())


def in_python(code: str, *arguments: str) -> Used:
    """Run Python code in a process of its own, with the modules of bench/ at hand and `arguments` in sys.argv[1:].

    The peak is VmHWM, as the child reads it at its end: what wait4 tells may be the memory of the process that
    started it.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    used = in_process([sys.executable, "-c", code + _TELL_PEAK, *arguments], PYTHONPATH=path)
    output, _, peak = used.output.rpartition("peak KiB")
    return replace(used, peak=int(peak) / 1024, output=output)


def ratio(
    name: str, seconds: Mapping[str, Sequence[float]], slow: str, fast: str, at_least: float | None = None
) -> Ratio:
    """The ratio of two ways of `paired`, round by round."""
    rounds = tuple(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))
    return Ratio(name, slow, fast, rounds, at_least)


def main(row: Callable[..., Report], **options: str) -> None:
    """The command line of a row: `--json`, `--results`, `--quick` for a smaller input, `--repeats`. The row is called
    with `quick` and `repeats`, and with the values of its own `options`, which are given by name with their help."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--results", type=Path, default=None, help="a folder that keeps the report as <row>.json")
    parser.add_argument("--quick", action="store_true", help="a smaller input and fewer rounds")
    parser.add_argument("--repeats", type=int, default=None, help="paired rounds (default 5, with --quick 2)")
    for name, text in options.items():
        parser.add_argument(f"--{name}", default=None, help=text)
    given = parser.parse_args()
    own = {name: getattr(given, name) for name in options}
    report = row(given.quick, given.repeats or (2 if given.quick else 5), **own)
    text = json.dumps(report.as_json(), indent=1)
    if given.results:
        write_text(given.results / f"{report.row}.json", text + "\n")
    print(text if given.json else report.text())
