"""The words of the synthetic world: its relations, and names that no language model can know.

A name is a stem and a suffix written as one word ("karvik"). The suffix tells the kind. The stem of a person, city or
company tells its region; the stems of works tell nothing. Each relation has three words: questions use the first two,
passages only the third, so a policy has to learn which word finds a passage. In Lucene's English analyser (Porter
stems, stop words) no word and no name may become another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from igsearch.config import WorldConfig
from igsearch.errors import UserError
from igsearch.seeds import generator

SPLITS = ("train", "validation", "test")
REGIONAL = ("person", "city", "company")
KINDS = ("work", *REGIONAL)


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation between two kinds of entities. `name` is its question word; `sentence` is how a passage states it."""

    name: str
    synonym: str
    passage: str
    subject: str
    object: str
    sentence: str

    @property
    def words(self) -> tuple[str, str, str]:
        """Question word, synonym and the word of passages, the only one of the three that an index finds."""
        return self.name, self.synonym, self.passage

    def state(self, subject: str, object_: str) -> str:
        """The text of the passage that holds this fact."""
        return self.sentence.format(s=subject, o=object_)


_RELATIONS = (
    Relation("author", "writer", "penned", "work", "person", "{s} was penned by {o}."),
    Relation("publisher", "imprint", "issued", "work", "company", "{s} was issued by {o}."),
    Relation("setting", "scene", "unfolds", "work", "city", "{s} unfolds in {o}."),
    Relation("mentor", "teacher", "tutored", "person", "person", "{s} was tutored by {o}."),
    Relation("idol", "hero", "admires", "person", "person", "{s} admires {o}."),
    Relation("birthplace", "hometown", "born", "person", "city", "{s} was born in {o}."),
    Relation("employer", "workplace", "hired", "person", "company", "{s} was hired by {o}."),
    Relation("mayor", "leader", "governed", "city", "person", "{s} is governed by {o}."),
    Relation("rival", "competitor", "envies", "city", "city", "{s} envies {o}."),
    Relation("supplier", "utility", "powered", "city", "company", "{s} is powered by {o}."),
    Relation("founder", "creator", "launched", "company", "person", "{s} was launched by {o}."),
    Relation("headquarters", "base", "located", "company", "city", "{s} is located in {o}."),
    Relation("parent", "owner", "acquired", "company", "company", "{s} was acquired by {o}."),
)
RELATIONS: Mapping[str, Relation] = {relation.name: relation for relation in _RELATIONS}

_FUNCTION_WORDS = (
    *("who", "which", "person", "city", "company", "is", "the", "of", "do", "and", "have", "same", "yes", "no"),
    *("was", "by", "in", "sir", "ltd", "?", "."),
)
WORDS = (*_FUNCTION_WORDS, *(word for relation in _RELATIONS for word in relation.words))

# No suffix ends as English inflections do, so Porter's algorithm leaves every name whole.
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "work": ("ando", "ulta", "orno", "impa", "esko", "olda"),
    "person": ("vik", "mon", "dor", "lan", "tak", "rim"),
    "city": ("burg", "stad", "wick"),
    "company": ("tron", "plex", "cort"),
}
_CONSONANTS, _VOWELS = "bdfgklmnprtvz", "aeiou"


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All that passages, questions and demonstrations can contain: words, and the pieces of names."""

    words: tuple[str, ...]
    stems: tuple[str, ...]
    suffixes: tuple[str, ...]


def _free_stems() -> list[str]:
    """Every consonant-vowel-consonant syllable with which no word begins, so that a name reads as stem + suffix."""
    syllables = [a + b + c for a in _CONSONANTS for b in _VOWELS for c in _CONSONANTS]
    return [stem for stem in syllables if not any(word.startswith(stem) for word in WORDS)]


def counts(config: WorldConfig) -> dict[str, int]:
    """How many entities of each kind one split has."""
    return {"work": config.works, "person": config.persons, "city": config.cities, "company": config.companies}


def _stems_needed(config: WorldConfig) -> tuple[int, int]:
    """Stems for works, and stems per region: with all suffixes they give the three splits names of their own."""
    size = counts(config)
    per_region = [ceil(len(SPLITS) * ceil(size[kind] / config.regions) / len(SUFFIXES[kind])) for kind in REGIONAL]
    return ceil(len(SPLITS) * size["work"] / len(SUFFIXES["work"])), max(per_region)


def stem_groups(config: WorldConfig) -> list[list[str]]:
    """The stems of each region, then those of works. UserError where there are not enough syllables for the sizes."""
    for_works, per_region = _stems_needed(config)
    free = _free_stems()
    needed = for_works + per_region * config.regions
    if needed > len(free):
        raise UserError(
            f"the synthetic world needs {needed} name stems and there are {len(free)}: lower world.works, "
            "world.persons, world.cities, world.companies or world.regions"
        )
    order = generator(config.seed, "world", "stems").permutation(len(free))[:needed]
    stems = [free[i] for i in order]
    regions = [stems[start : start + per_region] for start in range(0, per_region * config.regions, per_region)]
    return [*regions, stems[per_region * config.regions :]]


def names(config: WorldConfig, kind: str) -> dict[str, list[tuple[str, int]]]:
    """The names of one kind, by split, each with its region (-1 for works). No two splits share one."""
    groups = stem_groups(config)
    homes = {-1: groups[-1]} if kind == "work" else dict(enumerate(groups[:-1]))
    size = counts(config)[kind]
    dealt: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
    for region, stems in homes.items():
        every = [stem + suffix for stem in stems for suffix in SUFFIXES[kind]]
        order = generator(config.seed, "world", "names", kind, region).permutation(len(every))
        share = len(range(max(region, 0), size, len(homes)))
        for i, split in enumerate(SPLITS):
            dealt[split] += [(every[j], region) for j in order[i * share : (i + 1) * share]]
    return dealt


def lexicon(config: WorldConfig) -> Lexicon:
    """The lexicon of all three splits: what the tiny policy's tokenizer must know."""
    stems = tuple(stem for group in stem_groups(config) for stem in group)
    return Lexicon(WORDS, stems, tuple(suffix for kind in KINDS for suffix in SUFFIXES[kind]))
