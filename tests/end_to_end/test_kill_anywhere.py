"""A sample of campaigns/kill_anywhere.py, at places where a kill hurts most: what is killed and run again leaves what
an undisturbed run leaves, bit for bit."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "campaigns"))

import killing
from kill_anywhere import Phase, differences, make_reference
from killing import Moment
from project import Place

START = Phase("start", ("python", "-m", "igsearch", "warm-start"), "fresh", ("world", "index", "warm_start"))
TRAIN = Phase(
    "train", ("python", "-m", "igsearch", "train", "--method", "grpo"), "started", ("prepare", "train-grpo-0")
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A project that has been run to the end once, undisturbed."""
    made = Place(tmp_path_factory.mktemp("campaign"))
    make_reference(made, [START, TRAIN])
    return made


def change(place: Place, phase: Phase, what: str, number: int = signal.SIGKILL) -> Moment:
    """A signal at the first change of a file whose description holds `what`."""
    places = place.read_reference()[phase.name]["places"]
    return Moment("change", 1 + next(at for at, each in enumerate(places) if what in each), number)


def assert_recovers(place: Place, phase: Phase) -> None:
    again = killing.run(place, phase.command)
    assert again.code == 0, again.told
    assert differences(place, phase, place.read_reference()[phase.name]) == []


@pytest.mark.parametrize(
    ("phase", "what"),
    [
        (START, "os.rename artifacts/index/.card.json"),  # a card half placed was somebody's file in the index's folder
        (TRAIN, "staging/checkpoint-4"),  # with one checkpoint whole and the next half written
    ],
)
def test_killed_and_run_again_is_as_never_killed(phase: Phase, what: str, place: Place) -> None:
    place.restore(phase.state)
    assert killing.strike(place, phase.command, change(place, phase, what)).killed
    assert_recovers(place, phase)


def test_sigterm_stops_with_130_and_a_truncated_checkpoint_is_passed_over(place: Place) -> None:
    place.restore(TRAIN.state)
    ended = killing.strike(place, TRAIN.command, change(place, TRAIN, "training/.policy.", signal.SIGTERM))
    assert ended.code == 130
    assert re.fullmatch(
        r"train-grpo-0 was interrupted; its progress is kept in artifacts/\.work/\w{16}, .*", ended.told
    )
    (newest,) = place.live.glob("artifacts/.work/*/training/checkpoints/000004/model.safetensors")
    os.truncate(newest, newest.stat().st_size // 2)
    assert_recovers(place, TRAIN)
