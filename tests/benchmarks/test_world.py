"""What the embedded experiment needs of its world: disjoint splits, a lexical gap, regions that tell, exact sizes."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from igsearch.benchmarks import world
from igsearch.benchmarks.world_questions import SETS
from igsearch.config import RetrievalConfig, WorldConfig
from igsearch.errors import UserError
from igsearch.policy import tiny
from igsearch.retrieval import jvm
from igsearch.retrieval.lucene import LuceneRetriever, build

Worlds = dict[str, world.World]


def test_no_name_and_so_no_fact_of_one_split_is_in_another(full_worlds: Worlds) -> None:
    train, validation, test = (set(full_worlds[split].facts.entities) for split in world.SPLITS)
    assert not (train | validation) & test
    assert not train & validation
    for split, made in full_worlds.items():
        named = set(made.facts.entities)
        assert all({fact.subject, fact.object} <= named for fact in made.facts.facts)
        assert all(passage.id.startswith(f"{split}-") for passage in made.passages)


def test_one_corpus_holds_all_splits_without_a_conflict(full_worlds: Worlds) -> None:
    passages = [passage for made in full_worlds.values() for passage in made.passages]
    assert len({passage.id for passage in passages}) == len({passage.text for passage in passages}) == 3 * 1080


def test_sets_have_the_sizes_of_the_configuration(full_worlds: Worlds) -> None:
    sizes = {split: {name: len(qs) for name, qs in made.questions.items()} for split, made in full_worlds.items()}
    assert sizes["train"] == {"nq": 2000, "hotpotqa": 2000, "musique": 2000}
    assert set(sizes["validation"]) == set(SETS["validation"])
    assert set(sizes["validation"].values()) == {200}
    assert sizes["test"] == {**dict.fromkeys(SETS["test"], 300), "bamboogle": 125}


def test_no_two_questions_of_a_set_are_alike(full_worlds: Worlds) -> None:
    for made in full_worlds.values():
        for questions in made.questions.values():
            assert len({question.text for question in questions}) == len(questions)
            assert len({question.id for question in questions}) == len(questions)


def test_every_chain_leads_from_the_question_to_the_answer(full_worlds: Worlds) -> None:
    for made in full_worlds.values():
        for question in [question for questions in made.questions.values() for question in questions]:
            chain = question.chain
            assert len(question.words) == len(chain)
            assert all(
                word in world.RELATIONS[f.relation].words[:2] for word, f in zip(question.words, chain, strict=True)
            )
            assert all(word in question.text for word in question.words)
            if question.kind == "bridge":
                assert all(first.object == second.subject for first, second in pairwise(chain))
                assert len({chain[0].subject, *(fact.object for fact in chain)}) == len(chain) + 1
                assert question.answers[0] == chain[-1].object
                assert chain[-1].object not in question.text
            else:
                middle = len(chain) // 2
                same = chain[middle - 1].object == chain[-1].object
                assert chain[middle - 1].relation == chain[-1].relation
                assert question.answers == ("yes" if same else "no",)


def test_comparisons_are_a_minority_balanced_between_yes_and_no(full_worlds: Worlds) -> None:
    for name, share in (("hotpotqa", 0.2), ("2wikimultihopqa", 0.35)):
        questions = full_worlds["test"].questions[name]
        answers = Counter(question.answers[0] for question in questions if question.kind != "bridge")
        assert answers["yes"] + answers["no"] == pytest.approx(share * len(questions), abs=1)
        assert abs(answers["yes"] - answers["no"]) <= 2


def test_hops_of_musique_are_two_to_four_and_of_the_others_as_their_models(full_worlds: Worlds) -> None:
    hops = {name: Counter(q.hops for q in qs) for name, qs in full_worlds["test"].questions.items()}
    assert hops["musique"] == {2: 150, 3: 100, 4: 50}
    assert all(set(hops[name]) == {1} for name in ("nq", "triviaqa", "popqa"))
    assert set(hops["hotpotqa"]) == set(hops["bamboogle"]) == {2}


def test_bamboogle_asks_in_synonyms_and_its_last_fact_leaves_the_region(full_worlds: Worlds) -> None:
    facts = full_worlds["test"].facts
    for question in full_worlds["test"].questions["bamboogle"]:
        assert question.words == tuple(world.RELATIONS[fact.relation].synonym for fact in question.chain)
        assert facts.leaves_region(question.chain[-1])


def test_both_sides_of_a_comparison_can_be_looked_up_first(full_worlds: Worlds) -> None:
    questions = full_worlds["test"].questions["2wikimultihopqa"]
    compared = next(question for question in questions if question.kind == "comparison")
    ids = [fact.passage for fact in compared.chain]
    assert compared.chain_ids() == [ids, ids]
    bridged = next(question for question in questions if question.kind == "bridge_comparison")
    a1, a2, b1, b2 = (fact.passage for fact in bridged.chain)
    assert bridged.chain_ids() == [[a1, b1], [a2, b2], [a1, b1], [a2, b2]]


def test_a_stem_tells_the_region_and_facts_mostly_stay_within_it(full_worlds: Worlds) -> None:
    entities = [entity for made in full_worlds.values() for entity in made.facts.entities.values()]
    region_of_stem: dict[str, int] = {}
    for entity in entities:
        assert region_of_stem.setdefault(entity.name[:3], entity.region) == entity.region
    regional = [
        made.facts.leaves_region(fact)
        for made in full_worlds.values()
        for fact in made.facts.facts
        if made.facts.entities[fact.subject].region >= 0
    ]
    assert 1 - sum(regional) / len(regional) == pytest.approx(0.85, abs=0.02)


def test_every_text_is_in_the_vocabulary_of_the_tiny_tokenizer(full_worlds: Worlds) -> None:
    known = world.lexicon(WorldConfig())
    tokenizer = tiny.tokenizer(known.words, known.stems, known.suffixes)
    assert len(tokenizer) <= 350
    for made in full_worlds.values():
        questions = [question for questions in made.questions.values() for question in questions]
        texts = [passage.text for passage in made.passages]
        texts += [text for question in questions for text in (question.text, *question.answers)]
        encoded = tokenizer(texts)["input_ids"]
        assert not any(tokenizer.unk_token_id in ids for ids in encoded)
        assert max(map(len, encoded)) <= 20


def test_no_word_and_no_name_meet_in_the_english_analyser(small: WorldConfig, small_worlds: Worlds) -> None:
    jvm.start("1g")
    english = jvm.java_class("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()
    analyse = jvm.java_class("io.anserini.analysis.AnalyzerUtils").analyze
    related = [word for relation in world.RELATIONS.values() for word in relation.words]
    stems = [tuple(analyse(english, word).toArray()) for word in related]
    assert all(len(stem) == 1 for stem in stems)
    assert len(set(stems)) == len(related) == 39
    passage_words = {stem[0] for stem in stems[2::3]}
    for word in world.lexicon(small).words:
        met = set(analyse(english, word).toArray()) & passage_words
        assert not met or word in related
    names = [name for made in small_worlds.values() for name in made.facts.entities]
    assert all(analyse(english, name).toArray() == [name] for name in names)


def test_the_subject_counts_twice_so_a_perfect_query_finds_its_fact_first(
    small_data: Path, small_worlds: Worlds, tmp_path: Path
) -> None:
    build(small_data / "corpus.jsonl", tmp_path / "index", RetrievalConfig())
    retriever = LuceneRetriever(tmp_path / "index", RetrievalConfig())
    facts = [fact for made in small_worlds.values() for fact in made.facts.facts]

    def found(place: int) -> float:
        """Share of facts on top for queries of the subject and the relation's word at `place`."""
        queries = [f"{fact.subject} {world.RELATIONS[fact.relation].words[place]}" for fact in facts]
        hits = retriever.search(queries, 1)
        return sum(hit[0].passage.id == fact.passage for hit, fact in zip(hits, facts, strict=True)) / len(facts)

    assert found(2) == 1.0
    assert found(0) == found(1) < 0.35  # the first of the three or four facts of a subject, whichever was asked


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(
    small: WorldConfig, small_data: Path, tmp_path: Path
) -> None:
    world.write(small, tmp_path / "again")
    files = sorted(path.relative_to(small_data) for path in small_data.rglob("*") if path.is_file())
    assert len(files) == 1 + sum(map(len, SETS.values()))
    assert all((small_data / file).read_bytes() == (tmp_path / "again" / file).read_bytes() for file in files)
    world.write(small.model_copy(update={"seed": small.seed + 1}), tmp_path / "other")
    assert all((small_data / file).read_bytes() != (tmp_path / "other" / file).read_bytes() for file in files)


@pytest.mark.parametrize("name", ["corpus.jsonl", "benchmarks/nq/test.jsonl", "benchmarks/nq/dev.jsonl"])
def test_a_world_replaces_a_world_and_nobody_elses_files(name: str, small: WorldConfig, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="no world's"):
        world.write(small, tmp_path / "mine")
    assert mine.read_text(encoding="utf-8") == "mine"
    for seed in (1, 2):
        world.write(small.model_copy(update={"seed": seed}), tmp_path / "world")


@pytest.mark.parametrize(
    ("change", "named"),
    [({"persons": 40_000}, "world.persons"), ({"test_questions": 1_000}, "world.test_questions")],
)
def test_a_world_that_cannot_be_is_refused(small: WorldConfig, change: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        world.generate(small.model_copy(update=change))


def test_more_regions_than_cities_are_no_obstacle(small: WorldConfig) -> None:
    lean = {"works": 5, "persons": 7, "cities": 3, "companies": 4, "regions": 5}
    few = {"train_questions": 6, "validation_questions": 4, "test_questions": 3}
    worlds = world.generate(small.model_copy(update=lean | few))
    assert Counter(entity.kind for entity in worlds["test"].facts.entities.values()) == {
        "work": 5, "person": 7, "city": 3, "company": 4
    }  # fmt: skip
