"""What figures read of examined rollouts, against sums by hand."""

import json
from pathlib import Path

import pytest
from made_results import examined_row, examined_rows

from igsearch.errors import UserError
from igsearch.reporting.examined import SOURCES, read, summary


def test_gains_know_their_search_and_the_outcome_of_their_rollout() -> None:
    gains = summary("ig_search", 0, examined_rows(0.3)).gains
    assert [(each.gain, each.search, each.right) for each in gains[:4]] == [
        (1.5, 1, True),
        (0.5, 2, True),
        (-0.5, 1, False),
        (0.1, 1, False),
    ]
    assert [each.search for each in gains[3:6]] == [1, 3, 4]  # the second search was not scored


def test_mass_is_told_apart_by_outcome_and_by_whether_the_group_differs() -> None:
    mass = summary("ig_search", 0, examined_rows(0.3)).mass
    assert mass[SOURCES[0]] == pytest.approx(4 * 0.7)  # two tokens each of two rollouts
    assert mass[SOURCES[1]] == pytest.approx(2 * 0.3)
    assert mass[SOURCES[2]] == pytest.approx(2 * 0.3)


def test_a_rollout_whose_retriever_failed_does_not_make_a_group_differ() -> None:
    rows = [examined_row("nq/1", number, [], True, 0.5) for number in (0, 1)]
    rows[1]["reward"] = None
    assert summary("ig_search", 0, rows).mass == {SOURCES[0]: 0.0, SOURCES[2]: 1.0}


def test_a_rule_without_step_signal_has_no_mass_to_tell_apart() -> None:
    assert summary("grpo", 0, examined_rows(None)).mass == {}


def test_the_folder_of_an_examination_is_read_line_by_line(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in examined_rows(0.3))
    (tmp_path / "rollouts.jsonl").write_text(lines, encoding="utf-8")
    found = read(tmp_path, "ig_search", 2)
    assert (found.method, found.seed, found.questions, found.rollouts) == ("ig_search", 2, 2, 4)
    with pytest.raises(UserError, match="run `igsearch examine grpo-1` first"):
        read(tmp_path / "nowhere", "grpo", 1)
