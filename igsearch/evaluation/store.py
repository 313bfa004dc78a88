"""An evaluation on disk: records.parquet, trajectories.jsonl, summary.json and contract.json in one folder.

The bytes depend on what was answered alone: no times, hosts or paths are in them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from igsearch.errors import UserError
from igsearch.evaluation.contract import Contract
from igsearch.provenance import atomic_path
from igsearch.records import EndReason, QuestionRecord

RECORDS, TRAJECTORIES, SUMMARY, CONTRACT = "records.parquet", "trajectories.jsonl", "summary.json", "contract.json"

SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("benchmark", pa.string()),
        ("question", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("hops", pa.int32()),
        ("prediction", pa.string()),
        ("em", pa.float64()),
        ("em_by_attempt", pa.list_(pa.float64())),
        ("f1", pa.float64()),
        ("cover_em", pa.float64()),
        ("searches", pa.int32()),
        ("searches_without_new_passage", pa.int32()),
        ("sampled_tokens", pa.int32()),
        ("retrieval_hit", pa.bool_()),
        ("first_query_useful", pa.bool_()),
        ("end", pa.string()),
        ("contract", pa.string()),
        ("policy", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose answers these are.

    method: the label in tables (`grpo`, `warm_start`, `rag`…). seed: the training seed, None for an untrained policy.
    inference: the way of answering (`agent`, `rag`, `direct`). policy: the name or folder given by the user.
    """

    method: str
    inference: str
    policy: str
    synthetic: bool
    seed: int | None = None

    @property
    def label(self) -> str:
        """`ig_search, seed 2` or `rag`."""
        return self.method if self.seed is None else f"{self.method}, seed {self.seed}"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as read back. `partial` holds the reasons for which it is not a whole one, empty if none."""

    subject: Subject
    contract: Contract
    records: tuple[QuestionRecord, ...]
    partial: tuple[str, ...] = ()


def record_json(record: QuestionRecord) -> dict[str, Any]:
    """A record as plain data, enums as strings."""
    lists = {"answers": list(record.answers), "em_by_attempt": list(record.em_by_attempt)}
    return {**asdict(record), **lists, "end": record.end.value}


def record_from_json(data: dict[str, Any]) -> QuestionRecord:
    """The inverse of `record_json`."""
    tuples = {name: tuple(data[name]) for name in ("answers", "em_by_attempt")}
    return QuestionRecord(**{**data, **tuples, "end": EndReason(data["end"])})


def write_records(path: Path, records: Iterable[QuestionRecord]) -> None:
    """Write records as Parquet: one row per record in the given order, columns in the order of QuestionRecord."""
    table = pa.Table.from_pylist([record_json(record) for record in records], schema=SCHEMA)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_records(path: Path) -> list[QuestionRecord]:
    """The records of a Parquet file. UserError where it is missing or no such file."""
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; evaluate first or name an evaluation folder") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"{path} is not a file of question records ({error}); evaluate again") from error
    return [record_from_json(row) for row in table.to_pylist()]


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {path.parent} is not an evaluation folder") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error.msg}); evaluate again") from error


def _read_contract(path: Path) -> Contract:
    try:
        return Contract.from_json(_read_json(path))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is no contract of this version; evaluate again") from error


def load(folder: Path) -> Evaluation:
    """Read an evaluation folder. UserError where a file is missing, broken, or of another contract than the rest."""
    summary, contract = _read_json(folder / SUMMARY), _read_contract(folder / CONTRACT)
    records = tuple(read_records(folder / RECORDS))
    if {record.contract for record in records} - {contract.digest}:
        raise UserError(f"{folder / RECORDS} belongs to another contract than {CONTRACT} beside it; evaluate again")
    return Evaluation(Subject(**summary["subject"]), contract, records, tuple(summary["partial"]))


def load_all(folders: Sequence[Path]) -> list[Evaluation]:
    """Read several evaluation folders. UserError where there is none."""
    if not folders:
        raise UserError("no evaluation to report on; run `igsearch evaluate` first")
    return [load(folder) for folder in folders]
