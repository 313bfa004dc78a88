"""An evaluation on disk: records.parquet, trajectories.jsonl, summary.json and contract.json in one folder.

The bytes depend on what was answered alone: no times, hosts or paths are in them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from sys import intern
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
    return QuestionRecord(
        **data
        | {
            "answers": tuple(data["answers"]),
            "em_by_attempt": tuple(data["em_by_attempt"]),
            "end": EndReason(data["end"]),
        }
    )


_ROWS = 8192  # of a row group: what is in memory at a time
_TEXTS = ("question", "answers", "prediction")
_SHARED = ("benchmark", "end", "contract", "policy")


@contextmanager
def record_writer(path: Path) -> Iterator[Callable[[QuestionRecord], None]]:
    """A function that takes records one at a time and writes them as Parquet, a row each, in order."""
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        waiting: list[dict[str, Any]] = []

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema=SCHEMA))
            waiting.clear()

        def keep(record: QuestionRecord) -> None:
            waiting.append(record_json(record))
            if len(waiting) == _ROWS:
                flush()

        yield keep
        flush()


def write_records(path: Path, records: Iterable[QuestionRecord]) -> None:
    """Write records as Parquet: one row per record in the given order, columns in the order of QuestionRecord."""
    with record_writer(path) as keep:
        for record in records:
            keep(record)


def read_records(path: Path, texts: bool = True) -> list[QuestionRecord]:
    """The records of a Parquet file; without `texts`, question, answers and prediction are left empty,
    for what takes means only. UserError where it is missing or no such file."""
    names = [name for name in SCHEMA.names if texts or name not in _TEXTS]
    absent = {} if texts else {"question": "", "answers": (), "prediction": None}
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise pa.ArrowInvalid("other columns")
            found = []
            for batch in file.iter_batches(_ROWS, columns=names):
                columns = [batch.column(name).to_pylist() for name in names]
                for values in zip(*columns, strict=True):
                    row = dict(zip(names, values, strict=True)) | absent
                    row.update({name: intern(row[name]) for name in _SHARED})
                    found.append(record_from_json(row))
            return found
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; evaluate first or name an evaluation folder") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"{path} is not a file of question records ({error}); evaluate again") from error


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


def load(folder: Path, texts: bool = True) -> Evaluation:
    """Read an evaluation folder. UserError where a file is missing, broken, or of another contract than the rest."""
    summary, contract = _read_json(folder / SUMMARY), _read_contract(folder / CONTRACT)
    records = tuple(read_records(folder / RECORDS, texts))
    if {record.contract for record in records} - {contract.digest}:
        raise UserError(f"{folder / RECORDS} belongs to another contract than {CONTRACT} beside it; evaluate again")
    return Evaluation(Subject(**summary["subject"]), contract, records, tuple(summary["partial"]))


def load_all(folders: Sequence[Path], texts: bool = True) -> list[Evaluation]:
    """Read several evaluation folders. UserError where there is none."""
    if not folders:
        raise UserError("no evaluation to report on; run `igsearch evaluate` first")
    return [load(folder, texts) for folder in folders]
