"""What the command line prints: results to stdout, everything said on the way to stderr."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS_BETWEEN_LINES = 10.0


def say(text: str) -> None:
    """A sentence on the way, to stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One line of JSON to stdout, figures rounded to six digits."""
    print(json.dumps(_rounded(value), ensure_ascii=False), flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def read_tables(folder: Path) -> str:
    """The tables that a benchmark prints, as Markdown: exact match by benchmark and by hops, costs and, with several
    methods, the differences in exact match."""
    whole = [(folder / f"{name}.md").read_text(encoding="utf-8") for name in ("by_hops", "costs")]
    heads = [folder / f"{name}.md" for name in ("main", "differences")]
    return "\n".join([*(_first(path.read_text(encoding="utf-8")) for path in heads if path.exists()), *whole])


def _first(tables: str) -> str:
    first, *_ = tables.removeprefix("## ").split("\n## ")
    return f"## {first.strip()}\n"


class Lines:
    """Progress where nobody watches a terminal: a line at the end and every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, label: str, done: int, total: int) -> None:
        """`total` is 0 where it is not known."""
        if done == total or time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            say(f"{label}: {done}/{total}" if total else f"{label}: {done}")


class Bar:
    """Progress on a terminal: one live bar, whose text may change."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._task = display.add_task("", total=None)

    def __call__(self, label: str, done: int, total: int) -> None:
        """`total` is 0 where it is not known."""
        self._display.update(self._task, description=label, completed=done, total=total or None)


@contextmanager
def progress() -> Iterator[Lines | Bar]:
    """A callable `(label, done, total)` that shows how far the work is, on stderr."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        yield Bar(display)
