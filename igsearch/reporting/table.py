"""A table as text cells, and its three forms: Markdown, CSV and the terminal."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from igsearch.evaluation.statistics import Spread
from igsearch.provenance import write_text

ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """`rows` are cells for readers, first column left, the others right-aligned. `data` are the raw rows of the CSV.

    notes: sentences that stand below the table wherever it is shown.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    data: tuple[Mapping[str, Any], ...] = ()
    left: int = 1  # how many columns are left-aligned

    def markdown(self) -> str:
        """The table with its title as heading and its notes as paragraphs."""
        rule = [":--" if i < self.left else "--:" for i in range(len(self.columns))]
        lines = ["| " + " | ".join(_escape(cell) for cell in row) + " |" for row in (self.columns, rule, *self.rows)]
        return "\n".join([f"## {self.title}", "", *lines, *(f"\n{note}" for note in self.notes)]) + "\n"

    def csv(self) -> str:
        """`data` as CSV: the columns in the order of first appearance, numbers to six decimals, None empty."""
        columns = list(dict.fromkeys(name for row in self.data for name in row))
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in self.data)
        return out.getvalue()

    def transposed(self) -> "Table":
        """Columns as rows: what is wide on paper fits a terminal. The raw rows stay as they are."""
        columns, *rows = zip(self.columns, *self.rows, strict=True)
        return replace(self, columns=columns, rows=tuple(rows), left=1)

    def rich(self, tight: bool = False) -> Any:
        """The table for a Rich console: ranges below their means, the notes as caption. tight: one space a gap."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table as RichTable

        caption = escape("\n".join(self.notes)) or None
        slim: dict[str, Any] = {"box": box.SIMPLE_HEAD, "show_edge": False, "padding": (0, 0 if tight else 1, 0, 0)}
        table = RichTable(title=self.title, caption=caption, caption_justify="left", **slim)
        for i, name in enumerate(self.columns):
            is_left = i < self.left
            table.add_column(name, justify="left" if is_left else "right", no_wrap=is_left, overflow="fold")
        for row in self.rows:
            table.add_row(*(escape(cell.replace(" (", "\n(")) for cell in row))
        return table


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def _plain(value: Any) -> Any:
    return f"{value:.6f}" if isinstance(value, float) else value


def number(value: float | None, digits: int = 3) -> str:
    """A figure to some decimals; a dash where it is unknown."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def spread_cell(value: Spread | None, digits: int = 3) -> str:
    """`0.583 (.560–.600)`: mean and, with several seeds, the lowest and the highest of them."""
    if value is None:
        return ABSENT
    low, high = (f"{limit:.{digits}f}".removeprefix("0") for limit in (value.low, value.high))
    return f"{value.mean:.{digits}f}" + (f" ({low}–{high})" if value.seeds > 1 else "")


def interval_cell(limits: tuple[float, float] | None, digits: int = 3) -> str:
    """`.560–.600`; a dash where it is unknown."""
    return ABSENT if limits is None else "–".join(f"{limit:.{digits}f}".removeprefix("0") for limit in limits)


def write(out: Path, name: str, tables: Sequence[Table]) -> list[Path]:
    """Write tables as one Markdown file and, from the raw rows of all of them, one CSV file. Returns the paths."""
    markdown, comma = out / f"{name}.md", out / f"{name}.csv"
    write_text(markdown, "\n".join(table.markdown() for table in tables))
    whole = Table("", (), (), data=tuple(row for table in tables for row in table.data))
    write_text(comma, whole.csv())
    return [markdown, comma]
