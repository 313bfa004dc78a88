"""Score a JSONL file of predictions, whoever made them, by the metrics of the tables."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from igsearch.errors import UserError
from igsearch.evaluation.summary import METRICS, Mean
from igsearch.rewards.answer import measures

FIELDS = ("prediction", "pred")

_SAID = {
    "null": "{n} of {total} predictions are null and score 0",
    "blank": "{n} gold answers are null or blank and are ignored",
    "golds": "{n} of {total} records have no gold answer and score 0",
}


def _text(value: Any, where: str, field: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{where}: {field!r} holds {json.dumps(value)[:60]}; give text")
    return str(value)


def _prediction(row: Mapping[str, Any], where: str) -> str | None:
    field = next((name for name in FIELDS if name in row), None)
    if field is None:
        raise UserError(f"{where}: no 'prediction' (or 'pred') field; each line needs one")
    return None if row[field] is None else _text(row[field], where, field)


def _answers(row: Mapping[str, Any], where: str) -> list[str | None]:
    if "golden_answers" not in row:
        raise UserError(f"{where}: no 'golden_answers' field; each line needs one")
    golds = row["golden_answers"]
    listed = golds if isinstance(golds, list) else [] if golds is None else [golds]
    return [None if gold is None else _text(gold, where, "golden_answers") for gold in listed]


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """`file:line` and object of each line that is not blank. Lines end at "\\n" alone: records may hold U+2028."""
    try:
        with path.open("rb") as file:
            yield from _parsed(file, path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give a JSONL file of predictions") from error


def _parsed(file: BinaryIO, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    before = 0
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {before + error.start})") from error
        before += len(line)
        if text.strip():
            where = f"{path}:{number}"
            row = _row(text, where)
            if not isinstance(row, dict):
                raise UserError(f"{where}: a JSON object is needed, not {type(row).__name__}")
            yield where, row


def _row(line: str, where: str) -> Any:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON ({error.msg}); write one object a line") from error
    except RecursionError as error:
        raise UserError(f"{where}: nested too deeply; write one flat object a line") from error
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: holds half of a surrogate pair, which is not a character") from error
    return row


def _score(row: Mapping[str, Any], where: str, seen: Counter[str]) -> dict[str, Any]:
    prediction, listed = _prediction(row, where), _answers(row, where)
    answers = [gold for gold in listed if gold is not None and gold.strip()]
    seen.update(null=int(prediction is None), blank=len(listed) - len(answers), golds=int(not answers))
    return {
        **({"id": row["id"]} if "id" in row else {}),
        "prediction": prediction,
        "golden_answers": answers,
        **measures(prediction, answers),
    }


def score_file(path: Path, keep: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """Summary `{"n", "em", "f1", "cover_em"}`; `keep` is given each scored record, in order, and none is held here.

    A null prediction and a record without gold answers score 0 and count in `n`; how many there were goes to stderr.
    Raises UserError, naming file and line, for a line of another form, and for a file without records.
    """
    seen: Counter[str] = Counter()
    means = {name: Mean() for name in METRICS}
    for where, row in _lines(path):
        record = _score(row, where, seen)
        for name, mean in means.items():
            mean.add(record[name])
        if keep:
            keep(record)
    total = means["em"].count
    if not total:
        raise UserError(f"{path} holds no record; write one object a line")
    for kind, sentence in _SAID.items():
        if seen[kind]:
            print(f"{path}: {sentence.format(n=seen[kind], total=total)}", file=sys.stderr)
    return {"n": total, **{name: mean.value for name, mean in means.items()}}
