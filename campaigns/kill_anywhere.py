"""Kill the pipeline at seeded random points, run the same command again, and see that nothing differs.

    python campaigns/kill_anywhere.py FOLDER [--points 100] [--stops 0] [--seed 0] [--until HH:MM]

FOLDER keeps the reference, the states and a line of JSON per point (points.jsonl): started again, the campaign goes on
where it stopped. A point is drawn from its number and the seed alone. What is compared: the bytes of all outputs, the
digests on the cards, the history of every MLflow run, and that nothing is left behind.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import killing
from killing import Moment
from project import Place

from igsearch.config import load
from igsearch.stages import table
from igsearch.stages.layout import home
from igsearch.stages.rule import Plan

KILLS, STOPS = ("change", "time"), ("int", "term")
DOORS = {
    "dvc": ("dvc", "repro"),
    "flow": ("python", "-m", "flows.run"),
    "benchmark": ("python", "-m", "igsearch", "benchmark"),
}
ENTER = "enter"
"""The phase that enters the world into data.dvc and DVC's cache."""
FIRST_STOP = 1000
"""The number of the first point that is a signal and no kill."""
_LATE = 5
"""Doors mostly start from one of so many last states, as each of their points runs all that is left twice."""


@dataclass(frozen=True)
class Phase:
    """A command, the state it starts from, and the jobs whose outputs it makes (none: it enters the world into DVC)."""

    name: str
    command: tuple[str, ...]
    state: str
    jobs: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Where it leaves its outputs, from the project folder."""
        return tuple(name for job in self.jobs for name in outputs_of(job)) or ("data.dvc",)


@dataclass(frozen=True)
class Point:
    """A phase, how it is ended, and at which share of its changes or seconds."""

    number: int
    phase: Phase
    kind: str
    share: float


def phases() -> list[Phase]:
    """The stages of the profile `micro` in order, each a command of its own; the world is entered into DVC."""
    made: list[Phase] = []
    for job in table.benchmark(load("micro")):
        command = job.fill(job.stage.command.split())
        made.append(Phase(job.name, ("python", "-m", "igsearch", *command), job.name, (job.name,)))
        if job.name == "world":
            made.append(Phase(ENTER, ("python", "-m", "igsearch.stages.versions"), ENTER, ()))
    return made


def outputs_of(job: str) -> tuple[str, ...]:
    """Where a job of `micro` leaves its outputs, from the project folder."""
    config = load("micro")
    found = next(each for each in table.benchmark(config) if each.name == job)
    return tuple(str(home(config).at(name)) for name in Plan(found, home(config)).output_names)


def make_reference(place: Place, wanted: Sequence[Phase]) -> None:
    """Run every phase once, undisturbed, and keep the state before it and what it made."""
    place.create()
    known: dict[str, Any] = {}
    for phase in wanted:
        place.keep(phase.state)
        ended = killing.run(place, phase.command)
        if ended.code:
            sys.exit(f"{' '.join(phase.command)} ended with {ended.code}: {ended.told}")
        known[phase.name] = _made(place, phase, ended.seconds)
        print(f"reference {phase.name}: {ended.seconds:.1f} s, {known[phase.name]['changes']} changes", flush=True)
    place.write_reference(known)


def _made(place: Place, phase: Phase, seconds: float) -> dict[str, Any]:
    changes, runs = place.changes(), place.runs()
    places: dict[str, list[str]] = {}
    for process, _, *what in changes:
        places.setdefault(process, []).append(" ".join(what))
    busiest = max(places.values(), key=len, default=[])
    times = [float(change[1]) for change in changes]
    if runs[1]:
        sys.exit(f"reference {phase.name}: {'; '.join(runs[1])}")
    return {
        "seconds": times[-1] - times[0] if times else seconds,
        "changes": len(busiest),
        "places": busiest,
        "outputs": place.outputs(phase.outputs),
        "runs": runs[0],
    }


def points(known: Sequence[Phase], kills: int, stops: int, seed: int) -> Iterator[Point]:
    """The points of a campaign: in every twenty each stage, training three times more, and every door."""
    by_name = {phase.name: phase for phase in known}
    trained = [name for name in by_name if name.startswith("train-")]
    for number in (*range(kills), *range(FIRST_STOP, FIRST_STOP + stops)):
        rng = random.Random(f"{seed}/{number}")
        kinds = KILLS if number < FIRST_STOP else STOPS
        slots = (
            [*by_name, *trained, trained[-1], *DOORS, "flow"]
            if kinds is KILLS
            else list(dict.fromkeys([*DOORS, *trained, *by_name]))
        )
        turn, place = divmod(number % FIRST_STOP, len(slots))
        kind, name = kinds[(place + turn) % 2], slots[place]
        if name in DOORS:
            phase = Phase(name, DOORS[name], _from(rng, known), tuple(job for each in known for job in each.jobs))
            kind = kind if kind in STOPS else "parent" if (turn + place) % 2 else "time"
        else:
            phase = by_name[name]
        yield Point(number, phase, kind, rng.random())


def _from(rng: random.Random, known: Sequence[Phase]) -> str:
    """The state that a door starts from: after the world was entered, mostly a late one."""
    states = [phase.state for phase in known if phase.state not in ("world", ENTER)]
    return rng.choice(states if rng.random() < 0.15 else states[-_LATE:])


def _expected(known: Sequence[Phase], reference: dict[str, Any], phase: Phase) -> dict[str, Any]:
    """What a phase makes: its own outputs and runs, or, by a door, all."""
    if phase.name in reference:
        return dict(reference[phase.name])
    done = [reference[each.name] for each in known]
    outputs = {name: digest for each in done for name, digest in each["outputs"].items()}
    left = [each["seconds"] + 4.0 for each in done[[p.state for p in known].index(phase.state) :]]
    return {"seconds": sum(left), "changes": 0, "outputs": outputs, "runs": done[-1]["runs"]}


def differences(place: Place, phase: Phase, expected: dict[str, Any]) -> list[str]:
    """What is not as after an uninterrupted run."""
    made, (runs, wrong) = place.outputs(expected["outputs"]), place.runs()
    wrong += [f"{name} differs" for name, digest in expected["outputs"].items() if made.get(name) != digest]
    wrong += [f"{name} was left behind" for name in place.temporaries()]
    for job in phase.jobs:
        card = place.card(job)
        noted = dict(card.outputs) if card else {}
        if set(noted.values()) != set(place.outputs(outputs_of(job)).values()):
            wrong.append(f"the card of {job} does not fit")
    for name, history in expected["runs"].items():
        found = runs.get(name, {})
        bad = sorted(key for key in {*history, *found} if found.get(key) != history.get(key))
        if bad:
            wrong.append(f"MLflow run {name}: {len(bad)} of {len(history)} metrics differ, such as {bad[0]}")
    return wrong


def attempt(place: Place, known: Sequence[Phase], reference: dict[str, Any], point: Point) -> dict[str, Any]:
    """End a phase at a point, run it again, compare. Drawn again where the phase ended before."""
    phase, expected = point.phase, _expected(known, reference, point.phase)
    size = expected["changes"] if point.kind == "change" else expected["seconds"]
    for _ in range(4):
        place.restore(phase.state)
        at = 1 + int(point.share * size) if point.kind == "change" else point.share * size
        struck = killing.strike(place, phase.command, Moment(point.kind, at))
        if struck.killed and struck.code:  # a signal may still meet a command that has done all its work
            break
        times = [float(change[1]) for change in place.changes()]
        size = min(size * 0.9, max(times) - min(times)) if point.kind != "change" else size - 1
    wrong = [] if struck.killed else ["it ended before it could be killed"]
    if phase.name != "dvc":  # which has an exit code of its own, and lets the command that it runs go on
        wrong += [f"{each} outlived it" for each in struck.outlived]
        if point.kind in STOPS and struck.killed and struck.code != 130:
            wrong.append(f"it stopped with exit code {struck.code} and not 130: {struck.told}")
    again = killing.run(place, phase.command)
    if again.code:
        wrong.append(f"the second run ended with {again.code}: {again.told}")
    wrong += differences(place, phase, expected)
    return {
        **{key: value for key, value in asdict(point).items() if key != "phase"},
        "phase": phase.name if phase.name == phase.state else f"{phase.name} from {phase.state}",
        "at": round(at, 2),
        "where": struck.where,
        "told": struck.told,
        "seconds": round(struck.seconds + again.seconds, 1),
        "wrong": wrong,
    }


def line(result: dict[str, Any]) -> str:
    """One line for a point."""
    verdict = "; ".join(result["wrong"]) or "identical"
    unit = "change" if result["kind"] == "change" else "s"
    return f"{result['number']:4d} {result['phase']}: {result['kind']} at {result['at']:g} {unit}: {verdict}"


def finished(path: Path) -> dict[int, dict[str, Any]]:
    """The points that are done, by number."""
    if not path.exists():
        return {}
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    return {each["number"]: each for each in map(json.loads, whole)}


def summary(results: Sequence[dict[str, Any]]) -> list[str]:
    """The count of each sort of point, and what failed."""
    told: list[str] = []
    for name, kinds in (("kills", (*KILLS, "parent")), ("stops", STOPS)):
        mine = [each for each in results if each["kind"] in kinds]
        if mine:
            told.append(f"{name}: {sum(not each['wrong'] for each in mine)} of {len(mine)} identical")
    return [*told, *(f"failed: {line(each)}, after {each['where']}" for each in results if each["wrong"])]


def campaign(place: Place, known: Sequence[Phase], wanted: Sequence[Point], until: str) -> list[dict[str, Any]]:
    """Do the points that are not done yet, and note each."""
    path = place.folder / "points.jsonl"
    done, reference = finished(path), place.read_reference()
    for point in wanted:
        if point.number in done:
            continue
        if until and time.strftime("%H:%M") >= until:
            break
        done[point.number] = attempt(place, known, reference, point)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[point.number]) + "\n")
        print(line(done[point.number]), flush=True)
    return [done[point.number] for point in wanted if point.number in done]


def main() -> int:
    """Run the campaign; 1 where a point was not identical."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, default=100, help="how many kills")
    parser.add_argument("--stops", type=int, default=0, help="how many SIGINT and SIGTERM besides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", default="", help="begin no point at or after this time of day")
    given = parser.parse_args()
    place, known = Place(given.folder), phases()
    if not place.reference.exists():
        make_reference(place, known)
    results = campaign(place, known, list(points(known, given.points, given.stops, given.seed)), given.until)
    print("\n".join(summary(results)))
    return int(any(each["wrong"] for each in results))


if __name__ == "__main__":
    sys.exit(main())
