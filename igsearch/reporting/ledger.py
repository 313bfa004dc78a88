"""The ledger of deviations as a table: for the terminal, and for docs/deviations.md."""

from typing import Any

from igsearch.reporting.table import ABSENT, Table, number

Row = dict[str, Any]

_KINDS = {
    "noise": "draws",
    "released": "released",
    "together": "released",
    "alike": "as we do",
}
NOTES = (
    "Gains in nats per weighted answer token. Differences: other minus ours. Means are over questions, each with the "
    "mean of its searches; 95 %: over questions.",
    "changed: searches whose gain differs by more than rounding. size: mean absolute difference of a search. signs: "
    "gains of opposite sign; beyond .1: where both are outside of the dead zone. rank: Spearman's correlation.",
    "Read it against another draw, which changes nothing but the random draws. The pool, and so the released form, "
    "draws anew; the other rows keep our draws. From thoughts kept on, the released scorer does as we do: those rows "
    "tell what another choice would do.",
)


def _signed(value: float | None, digits: int = 3) -> str:
    return ABSENT if value is None else f"{value:+.{digits}f}"


def _limits(row: Row, digits: int = 3) -> str:
    """`-.026 to +.104`."""
    if row["low"] is None:
        return ABSENT
    return " to ".join(_signed(row[end], digits).replace("0.", ".", 1) for end in ("low", "high"))


def _count(row: Row, name: str) -> str:
    return ABSENT if row[name] is None else f"{row[name]} {row[name] / row['steps']:.0%}"


def terminal(rows: list[Row], title: str) -> Table:
    """What fits 80 columns."""
    columns = ("deviation", "moved", "diff.", "95 %", "size", "signs", "beyond", "rank")
    cells = [
        (row["deviation"], "0", "none", *[ABSENT] * 5)
        if row["changed"] == 0
        else (
            row["deviation"],
            str(row["changed"]),
            _signed(row["difference"]),
            _limits(row, 2),
            number(row["absolute"], 2),
            _count(row, "flips"),
            _count(row, "flips_outside"),
            number(row["rank"], 2),
        )
        for row in rows
    ]
    return Table(title, columns, tuple(cells))


def paper(rows: list[Row], title: str) -> Table:
    """Everything, as docs/deviations.md shows it, where the notes stand above."""
    columns = (
        *("deviation", "what it does", "released", "rollouts", "searches", "changed", "ours", "other"),
        *("difference", "95 %", "size", "signs", "beyond .1", "rank", "only one scores"),
    )
    cells = [
        (
            row["deviation"],
            row["means"],
            _KINDS[row["kind"]],
            *(str(row[name]) for name in ("rollouts", "steps", "changed")),
            *(_signed(row[name]) for name in ("ours", "theirs", "difference")),
            _limits(row),
            number(row["absolute"]),
            _count(row, "flips"),
            _count(row, "flips_outside"),
            number(row["rank"]),
            str(row["only_ours"] + row["only_theirs"]),
        )
        for row in rows
    ]
    return Table(title, columns, tuple(cells), notes=tuple(facts(rows)), left=3)


def facts(rows: list[Row]) -> list[str]:
    """How many of what, and which rows have no effect and why."""
    first = rows[0]
    counts = (
        f"{first['rollouts']} rollouts of {first['questions']} questions, {first['steps']} searches. Ours: mean "
        f"{_signed(first['ours'])}, standard deviation of a search {number(first['spread'])}."
    )
    single = [
        f"{row['deviation']}: only ours scores {row['only_ours']} searches, only the other {row['only_theirs']}."
        for row in rows
        if row["only_ours"] or row["only_theirs"]
    ]
    still = [f"{row['deviation']}: no effect; {row['why_unchanged']}." for row in rows if row["why_unchanged"]]
    return [counts, *single, *still]
