"""The entities and facts of one split of the synthetic world, and ways to walk from fact to fact."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from igsearch.benchmarks.world_lexicon import KINDS, RELATIONS, Relation, names
from igsearch.config import WorldConfig
from igsearch.records import Passage
from igsearch.seeds import generator

_MOST_POPULAR = 50_000


@dataclass(frozen=True, slots=True)
class Entity:
    """A work, person, city or company. `region` is -1 for works; `popularity` a made-up number of monthly views."""

    name: str
    kind: str
    region: int
    popularity: int

    @property
    def aliases(self) -> tuple[str, ...]:
        """What a question about it accepts; the name alone stands in passages and comes first."""
        long = {"person": f"sir {self.name}", "city": f"{self.name} city", "company": f"{self.name} ltd"}
        return (self.name, long[self.kind]) if self.kind in long else (self.name,)


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: names of subject and object, name of the relation, id of the passage that states it."""

    subject: str
    relation: str
    object: str
    passage: str


@dataclass(frozen=True)
class Facts:
    """The facts of one split, found by subject or by object. Each subject has one object per relation of its kind."""

    entities: dict[str, Entity]
    facts: tuple[Fact, ...]
    of_subject: dict[str, dict[str, Fact]] = field(init=False)
    of_object: dict[tuple[str, str], list[Fact]] = field(init=False)
    of_relation: dict[str, list[Fact]] = field(init=False)

    def __post_init__(self) -> None:
        by_subject: dict[str, dict[str, Fact]] = defaultdict(dict)
        by_object: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        by_relation: dict[str, list[Fact]] = defaultdict(list)
        for fact in self.facts:
            by_subject[fact.subject][fact.relation] = fact
            by_object[fact.relation, fact.object].append(fact)
            by_relation[fact.relation].append(fact)
        for name, index in (("of_subject", by_subject), ("of_object", by_object), ("of_relation", by_relation)):
            object.__setattr__(self, name, dict(index))

    def leaves_region(self, fact: Fact) -> bool:
        """Whether subject and object of a fact lie in different regions (a work lies in none)."""
        return self.entities[fact.subject].region != self.entities[fact.object].region

    def passage(self, fact: Fact) -> Passage:
        """The passage of a fact. Its title is the subject, which so counts twice in the index."""
        return Passage(fact.passage, fact.subject, RELATIONS[fact.relation].state(fact.subject, fact.object))

    def passages(self) -> list[Passage]:
        """All passages, in the order of the facts."""
        return [self.passage(fact) for fact in self.facts]


def _entities(config: WorldConfig, split: str) -> dict[str, Entity]:
    named = [(name, kind, region) for kind in KINDS for name, region in names(config, kind)[split]]
    ranks = generator(config.seed, "world", "popularity", split).permutation(len(named))
    return {
        name: Entity(name, kind, region, int(_MOST_POPULAR / (rank + 1)))
        for (name, kind, region), rank in zip(named, ranks, strict=True)
    }


def _draw_object(
    rng: np.random.Generator, subject: Entity, relation: Relation, pool: dict[str, list[Entity]], within: float
) -> str:
    """An entity of the relation's object kind: with probability `within` of the subject's region, else of another."""
    others = [entity for entity in pool[relation.object] if entity is not subject]
    stay = bool(rng.random() < within)
    if subject.region >= 0:
        others = [entity for entity in others if (entity.region == subject.region) == stay] or others
    return others[rng.integers(len(others))].name


def draw(config: WorldConfig, split: str) -> Facts:
    """The entities and facts of a split. Its passage ids say its name: `test-0042`."""
    entities = _entities(config, split)
    pool: dict[str, list[Entity]] = defaultdict(list)
    for entity in entities.values():
        pool[entity.kind].append(entity)
    rng = generator(config.seed, "world", "facts", split)
    facts: list[Fact] = []
    for entity in entities.values():
        for relation in RELATIONS.values():
            if relation.subject == entity.kind:
                found = _draw_object(rng, entity, relation, pool, config.within_region)
                facts.append(Fact(entity.name, relation.name, found, f"{split}-{len(facts):04d}"))
    return Facts(entities, tuple(facts))
