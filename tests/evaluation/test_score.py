"""Scoring files of predictions."""

import json
from pathlib import Path
from typing import Any

import pytest

from igsearch.errors import UserError
from igsearch.evaluation.score import score_file


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_scores_agree_with_another_toolkit_on_every_real_prediction(real_data: Path) -> None:
    path = real_data / "traces" / "metric_cases.jsonl"
    expected = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    records: list[dict[str, Any]] = []
    summary = score_file(path, records.append)
    assert summary["n"] == len(expected) == 250
    for ours, theirs in zip(records, expected, strict=True):
        assert ours["id"] == theirs["id"]
        assert (ours["em"], ours["cover_em"]) == (theirs["em"], theirs["acc"]), theirs
        assert ours["f1"] == pytest.approx(theirs["f1"], abs=1e-12), theirs
    assert summary["em"] == pytest.approx(sum(row["em"] for row in expected) / 250)


def test_nulls_and_empty_golds_score_zero_and_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"prediction": None, "golden_answers": ["Paris"]},
        {"pred": "Paris", "golden_answers": []},
        {"pred": "Paris", "golden_answers": None},
        {"pred": "in Paris", "golden_answers": [None, "", "Paris"]},
    ]
    records: list[dict[str, Any]] = []
    summary = score_file(written(tmp_path / "made.jsonl", *rows), records.append)
    assert summary == {"n": 4, "em": 0.0, "f1": pytest.approx(1 / 6), "cover_em": 0.25}
    assert records[3]["golden_answers"] == ["Paris"]
    said = capsys.readouterr().err
    assert "1 of 4 predictions are null" in said
    assert "2 of 4 records have no gold answer" in said
    assert "2 gold answers are null or blank" in said


def test_prediction_wins_over_pred_and_numbers_are_text(tmp_path: Path) -> None:
    row = {"prediction": 1999, "pred": "no", "golden_answers": "1999"}
    assert score_file(written(tmp_path / "made.jsonl", row))["em"] == 1.0


def test_a_line_separator_within_a_record_does_not_cut_it(tmp_path: Path) -> None:
    row = {"pred": "a\u2028b\u0085c", "golden_answers": ["a\u2028b\u0085c"]}
    assert score_file(written(tmp_path / "made.jsonl", row)) == {"n": 1, "em": 1.0, "f1": 1.0, "cover_em": 1.0}


def test_a_record_is_given_on_before_the_next_line_is_read(tmp_path: Path) -> None:
    """The second line is broken: the first has been scored and handed on by then."""
    path = written(tmp_path / "made.jsonl", {"pred": "x", "golden_answers": ["x"]})
    path.write_text(path.read_text() + "{\n", encoding="utf-8")
    records: list[dict[str, Any]] = []
    with pytest.raises(UserError, match=r"made.jsonl:2: not valid JSON"):
        score_file(path, records.append)
    assert [record["em"] for record in records] == [1.0]


def test_bytes_that_are_no_text_are_named_by_their_place_in_the_file(tmp_path: Path) -> None:
    good = '{"pred": "é", "golden_answers": ["x"]}\n'.encode()
    (tmp_path / "made.jsonl").write_bytes(good * 2 + b'{"pred": "\xff"}\n')
    with pytest.raises(UserError, match=rf"not UTF-8 text \(invalid start byte at byte {2 * len(good) + 10}\)"):
        score_file(tmp_path / "made.jsonl")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"pred": "x"', r"made.jsonl:2: not valid JSON"),
        ("[1]", r"made.jsonl:2: a JSON object is needed, not list"),
        ('{"golden_answers": ["x"]}', r"made.jsonl:2: no 'prediction' \(or 'pred'\) field"),
        ('{"pred": "x"}', r"made.jsonl:2: no 'golden_answers' field"),
        ('{"pred": ["x"], "golden_answers": ["x"]}', r"made.jsonl:2: 'pred' holds"),
        ('{"pred": "x", "golden_answers": [["x"]]}', r"made.jsonl:2: 'golden_answers' holds"),
        ('{"pred": "\\ud83d", "golden_answers": ["x"]}', r"made.jsonl:2: holds half of a surrogate pair"),
        ('{"id": "\\ud83d", "pred": "x", "golden_answers": ["x"]}', r"made.jsonl:2: holds half of a surrogate"),
        (f'{{"pred": "x", "golden_answers": {"[" * 100_000}}}', r"made.jsonl:2: nested too deeply"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text(f'{{"pred": "x", "golden_answers": ["x"]}}\n{line}\n')
    with pytest.raises(UserError, match=told):
        score_file(path)


def test_a_missing_an_empty_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe")
    for name, told in (("none", "cannot read"), ("empty", "holds no record"), ("binary", "not UTF-8")):
        with pytest.raises(UserError, match=told):
            score_file(tmp_path / f"{name}.jsonl")
