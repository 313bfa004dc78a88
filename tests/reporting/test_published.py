"""The published rows."""

from collections import Counter

import pytest

from igsearch.reporting.published import fits_mean_of_batch_means, over_questions, published
from igsearch.reporting.published_tables import ordered, published_table, sections


def test_every_row_is_read_with_its_source() -> None:
    rows = published()
    assert len(rows) == 188
    assert all(row.source and row.model and row.method for row in rows)
    assert Counter(row.metric for row in rows) == {"EM": 172, "F1": 14, "LLM judge": 2}
    known = [score for row in rows for score in (*row.scores.values(), row.average) if score is not None]
    assert all(0 <= score <= 1 for score in known)


def test_f1_judged_derived_and_subset_rows_are_not_comparable() -> None:
    rows = {(row.method, row.model, row.variant): row for row in published()}
    obstacles = {
        ("IG-Search [word-F1 metric]", "Qwen2.5-3B", "instruct"): "F1, not EM",
        ("R1-Searcher [LLM-judge accuracy]", "Qwen2.5-7B", "base"): "LLM judge, not EM",
        ("GiGPO (Bamboogle corrected to 48/125; our arithmetic)", "Qwen2.5-7B", "instruct"): "derived, not published",
        ("CW-GRPO", "Qwen3-8B", "post-trained"): "a subset of the test questions",
    }
    for key, obstacle in obstacles.items():
        assert rows[key].obstacles == (obstacle,)
        assert not rows[key].comparable
    ours = rows["IG-Search", "Qwen2.5-3B", "base"]
    assert ours.comparable
    assert (ours.average, ours.scores["bamboogle"], ours.scores["nq"]) == (0.43, 0.424, None)


@pytest.mark.parametrize(
    ("score", "batched"), [(0.641, True), (0.689, True), (0.424, False), (0.536, False), (0.64, False)]
)
def test_bamboogle_figures_that_are_means_of_batch_means_are_recognised(score: float, batched: bool) -> None:
    assert fits_mean_of_batch_means(score) is batched


def test_suspicious_rows_say_so_and_printed_averages_are_checked() -> None:
    remarks = {(row.method, row.model): row.remarks for row in published() if row.remarks}
    assert remarks["GiGPO", "Qwen2.5-3B"] == ("Bamboogle fits a mean of batch means, 0.288 over questions",)
    assert remarks["IRCoT", "Qwen2.5-7B"] == ("the mean of the row is 0.226",)


def test_the_published_table_marks_what_is_not_comparable() -> None:
    lines = published_table().markdown().split("\n")
    rows = [line for line in lines if line.startswith("| ")][2:]
    assert len(rows) == 188
    assert all("NOT comparable" in line for line in rows if "[F1]" in line or "LLM-judge" in line)


def test_the_correction_is_that_of_the_derived_rows() -> None:
    """36 and 48 of 125: (35/124 + 1)/2 = .641 and (47/124 + 1)/2 = .689."""
    assert over_questions(0.641) == 36 / 125
    assert over_questions(0.689) == 48 / 125
    rows = {(row.method, row.model): row for row in published()}
    for model, average in (("Qwen2.5-3B", 0.370), ("Qwen2.5-7B", 0.428)):
        printed = rows["GiGPO", model]
        assert printed.average_over_questions == pytest.approx(average, abs=0.001)
    assert rows["IG-Search", "Qwen2.5-3B"].bamboogle_over_questions is None


def test_rows_stand_by_model_and_metric() -> None:
    keys = [(row.model, row.metric) for row in ordered(published())]
    assert len(set(keys)) == sum(a != b for a, b in zip(keys, [None, *keys], strict=False))
    titles = [table.title for table in sections()]
    assert len(titles) == len(set(titles)) == len(set(keys))
    assert "Qwen2.5-3B, EM" in titles
    assert "Qwen2.5-3B, F1: NOT comparable with EM" in titles
    assert titles.index("Qwen2.5-3B, EM") < titles.index("Qwen2.5-14B, EM")


def test_sections_hold_every_row_with_its_source_and_the_corrected_beside_the_printed() -> None:
    assert sum(len(table.rows) for table in sections()) == 188
    (only,) = sections("2.5-3b", "EM")
    gigpo = next(row for row in only.rows if row[0] == "GiGPO")
    assert gigpo[-3:-1] == (".641!\n.288", ".421!\n.370")
    number = int(gigpo[-1].strip("[]"))
    assert any(note.startswith(f"[{number}] arXiv:2505.10978") for note in only.notes)
