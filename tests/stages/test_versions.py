"""What of DVC's files a kill can break."""

import shutil
from pathlib import Path

import pytest

from igsearch.stages.versions import LOCK, mend_lock

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("until", [b"", b"stages:\n", b"    ou"])
def test_a_lock_that_was_cut_off_is_removed(until: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (PROJECT / LOCK).read_bytes()
    (tmp_path / LOCK).write_bytes(whole[: whole.index(until) + len(until)])
    assert mend_lock(tmp_path)
    assert not (tmp_path / LOCK).exists()
    assert "`dvc repro` writes it again" in capsys.readouterr().err


def test_a_whole_lock_and_none_are_left_alone(tmp_path: Path) -> None:
    assert not mend_lock(tmp_path)
    shutil.copy(PROJECT / LOCK, tmp_path)
    assert not mend_lock(tmp_path)
    assert (tmp_path / LOCK).read_bytes() == (PROJECT / LOCK).read_bytes()
