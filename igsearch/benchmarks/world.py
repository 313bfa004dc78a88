"""The synthetic world: three splits with facts, passages and questions of their own, from a seed alone.

`generate` gives the world as data, `write` puts it on disk as one corpus in wiki-18 form and seven benchmarks, each in
the native format of its model. No name, and so no fact, of one split occurs in another; one corpus holds all passages.
"""

from dataclasses import dataclass
from pathlib import Path

from igsearch.benchmarks.world_facts import Entity, Fact, Facts, draw
from igsearch.benchmarks.world_lexicon import RELATIONS, SPLITS, Lexicon, Relation, lexicon
from igsearch.benchmarks.world_native import native_file, write_corpus, write_native
from igsearch.benchmarks.world_questions import SETS, WorldQuestion, ask
from igsearch.config import WorldConfig
from igsearch.errors import UserError
from igsearch.provenance import atomic_path
from igsearch.records import Passage

__all__ = [
    "RELATIONS",
    "SPLITS",
    "Entity",
    "Fact",
    "Facts",
    "Lexicon",
    "Relation",
    "World",
    "WorldQuestion",
    "generate",
    "lexicon",
    "write",
]


@dataclass(frozen=True)
class World:
    """One split: its facts (by subject, by object, by relation), its passages, and its questions by benchmark."""

    split: str
    facts: Facts
    passages: tuple[Passage, ...]
    questions: dict[str, tuple[WorldQuestion, ...]]


def generate(config: WorldConfig) -> dict[str, World]:
    """The world by split. UserError where the sizes ask for more names or questions than there are."""
    worlds = {}
    for split in SPLITS:
        facts = draw(config, split)
        questions = {benchmark: ask(config, facts, benchmark, split) for benchmark in SETS[split]}
        worlds[split] = World(split, facts, tuple(facts.passages()), questions)
    return worlds


def write(config: WorldConfig, out: Path) -> None:
    """Write `corpus.jsonl` and `benchmarks/<benchmark>/<split>.<native ending>` below `out`, the same bytes every time.

    Each of the two takes its place as a whole when it is complete, and replaces that of a world; other files in `out`
    stay. UserError where one of the two is there and is no world's.
    """
    _require_world(out)
    worlds = generate(config)
    with atomic_path(out / "benchmarks") as folder:
        for world in worlds.values():
            for benchmark, questions in world.questions.items():
                write_native(folder, benchmark, world.split, world.facts, questions, config.seed)
    with atomic_path(out / "corpus.jsonl") as corpus:
        write_corpus(corpus, [passage for world in worlds.values() for passage in world.passages])


_FILES = {native_file(benchmark, split) for split, benchmarks in SETS.items() for benchmark in benchmarks}


def require_replaceable(benchmarks: Path) -> set[str]:
    """The files of the sets in a folder that a world will replace; UserError where it holds any other."""
    found = {path.relative_to(benchmarks).as_posix() for path in benchmarks.rglob("*") if path.is_file()}
    if other := sorted(found - _FILES):
        raise UserError(f"{benchmarks} holds files that are no world's, such as {other[0]}; move them elsewhere")
    return found


def _require_world(out: Path) -> None:
    """A world has all sets; a corpus without them is somebody else's."""
    found = require_replaceable(out / "benchmarks")
    if found != _FILES and (found or (out / "corpus.jsonl").exists()):
        raise UserError(f"{out} holds a corpus or benchmarks that are no world's; choose another folder")
