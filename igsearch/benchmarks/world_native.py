"""The synthetic world on disk: each benchmark in the native format of its model, and the corpus in wiki-18 form.

Two fields are our own: `hops`, and `chain`, per hop the ids of the passages any of which brings it forward.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from igsearch.benchmarks.world_facts import Fact, Facts
from igsearch.benchmarks.world_lexicon import RELATIONS
from igsearch.benchmarks.world_questions import WorldQuestion
from igsearch.corpus import contents_of
from igsearch.provenance import write_text
from igsearch.records import Passage
from igsearch.seeds import generator
from igsearch.text import normalize_answer

HOTPOT_PARAGRAPHS = 10
MUSIQUE_PARAGRAPHS = 20
_EVIDENCE_TYPES = {"bridge": "compositional"}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(records: Sequence[Any]) -> str:
    return "".join(f"{_json(record)}\n" for record in records)


def _document(records: Sequence[Any]) -> str:
    """One JSON list, one record a line."""
    return "[\n" + ",\n".join(map(_json, records)) + "\n]\n"


def _table(rows: Sequence[Mapping[str, Any]], delimiter: str) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _ours(question: WorldQuestion) -> dict[str, Any]:
    return {"hops": question.hops, "chain": question.chain_ids()}


def _distractors(rng: np.random.Generator, pool: Sequence[str], gold: Sequence[str], total: int) -> list[str]:
    """`gold` and others from `pool`, shuffled, `total` in all (fewer in a world that has not as many)."""
    chosen = list(dict.fromkeys(gold))
    others = [pool[i] for i in rng.permutation(len(pool))[: total + len(chosen)] if pool[i] not in chosen]
    chosen += others[: max(0, total - len(chosen))]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _nq(question: WorldQuestion, facts: Facts, rng: np.random.Generator) -> dict[str, Any]:
    return {"question": question.text, "answer": list(question.answers), **_ours(question)}


def _triviaqa(question: WorldQuestion, facts: Facts, rng: np.random.Generator) -> dict[str, Any]:
    value, aliases = question.answers[0], sorted(question.answers)
    page = {"DocSource": "TagMe", "Filename": f"{question.chain[0].subject}.txt", "Title": question.chain[0].subject}
    answer = {
        "Aliases": aliases,
        "NormalizedAliases": [*map(normalize_answer, aliases)],
        "NormalizedValue": normalize_answer(value),
        "Type": "WikipediaEntity",
        "Value": value,
    }
    return {
        "Answer": answer,
        "EntityPages": [page],
        "Question": question.text,
        "QuestionId": question.id,
        "QuestionSource": "synthetic",
        "SearchResults": [],
        **_ours(question),
    }


def _popqa(question: WorldQuestion, facts: Facts, rng: np.random.Generator) -> dict[str, Any]:
    [fact] = question.chain
    subject, object_ = facts.entities[fact.subject], facts.entities[fact.object]
    number = {name: i for i, name in enumerate(facts.entities)}
    return {
        "id": question.id,
        "subj": subject.name,
        "prop": fact.relation,
        "obj": object_.name,
        "subj_id": number[subject.name],
        "prop_id": list(RELATIONS).index(fact.relation),
        "obj_id": number[object_.name],
        "s_aliases": _json(list(subject.aliases[1:])),
        "o_aliases": _json(list(object_.aliases[1:])),
        "s_wiki_title": subject.name,
        "o_wiki_title": object_.name,
        "s_pop": subject.popularity,
        "o_pop": object_.popularity,
        "question": question.text,
        "possible_answers": _json(list(question.answers)),
        "hops": question.hops,
        "chain": _json(question.chain_ids()),
    }


def _sentences(facts: Facts, title: str) -> list[str]:
    return [facts.passage(fact).text for fact in facts.of_subject[title].values()]


def _paragraphs(question: WorldQuestion, facts: Facts, rng: np.random.Generator) -> dict[str, Any]:
    """Supporting facts and context in HotpotQA's form: a paragraph holds all facts of its title, one a sentence."""
    titles = _distractors(rng, list(facts.entities), [fact.subject for fact in question.chain], HOTPOT_PARAGRAPHS)
    places = [[fact.subject, list(facts.of_subject[fact.subject]).index(fact.relation)] for fact in question.chain]
    return {"supporting_facts": places, "context": [[title, _sentences(facts, title)] for title in titles]}


def _hotpotqa(question: WorldQuestion, facts: Facts, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "_id": question.id,
        "answer": question.answers[0],
        "question": question.text,
        "type": question.kind,
        "level": "hard",
        **_paragraphs(question, facts, rng),
        **_ours(question),
    }


def _two_wiki(question: WorldQuestion, facts: Facts, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "_id": question.id,
        "type": _EVIDENCE_TYPES.get(question.kind, question.kind),
        "question": question.text,
        "answer": question.answers[0],
        "evidences": [[fact.subject, fact.relation, fact.object] for fact in question.chain],
        **_paragraphs(question, facts, rng),
        **_ours(question),
    }


def _musique(question: WorldQuestion, facts: Facts, rng: np.random.Generator) -> dict[str, Any]:
    by_id = {fact.passage: fact for fact in facts.facts}
    chosen = _distractors(rng, list(by_id), [fact.passage for fact in question.chain], MUSIQUE_PARAGRAPHS)
    gold = {fact.passage for fact in question.chain}
    texts = [facts.passage(by_id[passage]) for passage in chosen]

    def hop(i: int, fact: Fact) -> dict[str, Any]:
        subject = f"#{i}" if i else fact.subject
        asked = {"id": int(fact.passage.rpartition("-")[2]), "question": f"{subject} >> {fact.relation}"}
        return {**asked, "answer": fact.object, "paragraph_support_idx": chosen.index(fact.passage)}

    return {
        "id": question.id,
        "paragraphs": [
            {"idx": i, "title": text.title, "paragraph_text": text.text, "is_supporting": text.id in gold}
            for i, text in enumerate(texts)
        ],
        "question": question.text,
        "question_decomposition": [hop(i, fact) for i, fact in enumerate(question.chain)],
        "answer": question.answers[0],
        "answer_aliases": list(question.answers[1:]),
        "answerable": True,
        **_ours(question),
    }


def _bamboogle(question: WorldQuestion, facts: Facts, rng: np.random.Generator) -> dict[str, Any]:
    ours = {"hops": question.hops, "chain": _json(question.chain_ids())}
    return {"Question": question.text, "Answer": question.answers[0], **ours}


def _trivia_document(records: Sequence[Any]) -> str:
    data = json.dumps(records, ensure_ascii=False, indent=1)
    return f'{{"Data": {data}, "Domain": "Synthetic", "VerifiedEval": false, "Version": 1.0}}\n'


_Native = Callable[[WorldQuestion, Facts, np.random.Generator], dict[str, Any]]
_FORMATS: Mapping[str, tuple[str, _Native, Callable[[Sequence[Any]], str]]] = {
    "nq": ("jsonl", _nq, _lines),
    "triviaqa": ("json", _triviaqa, _trivia_document),
    "popqa": ("tsv", _popqa, lambda rows: _table(rows, "\t")),
    "hotpotqa": ("json", _hotpotqa, _document),
    "2wikimultihopqa": ("json", _two_wiki, _document),
    "musique": ("jsonl", _musique, _lines),
    "bamboogle": ("csv", _bamboogle, lambda rows: _table(rows, ",")),
}


def native_file(benchmark: str, split: str) -> str:
    """Where a set lies below the folder of all benchmarks: `nq/test.jsonl`."""
    return f"{benchmark}/{split}.{_FORMATS[benchmark][0]}"


def write_native(
    folder: Path, benchmark: str, split: str, facts: Facts, questions: Sequence[WorldQuestion], seed: int
) -> None:
    """Write one set below the folder of all benchmarks. `seed` draws the distractor paragraphs."""
    _, native, compose = _FORMATS[benchmark]
    rng = generator(seed, "world", "distractors", split, benchmark)
    write_text(
        folder / native_file(benchmark, split), compose([native(question, facts, rng) for question in questions])
    )


def write_corpus(path: Path, passages: Sequence[Passage]) -> None:
    """Write passages as wiki-18 JSON lines: contents are the quoted title, a newline and the text."""
    write_text(path, _lines([{"id": passage.id, "contents": contents_of(passage)} for passage in passages]))
