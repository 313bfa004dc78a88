"""Gold paragraphs from the native forms, hub rows and FlashRAG rows; none from whatever is in another form."""

import json
from pathlib import Path
from typing import Any

import pytest

from igsearch.benchmarks import world
from igsearch.benchmarks.paragraphs import gold_paragraphs, gold_texts
from igsearch.benchmarks.prepare import load_questions, prepare, read_split

PAIRS = [["Solaris", ["A film.", " By Tarkovsky."]], ["Stalker", ["Another."]], ["Tarkovsky", ["Born in Zavrazhye."]]]
FACTS = [["Solaris", 1], ["Tarkovsky", 0]]
COLUMNS = {"title": [title for title, _ in PAIRS], "sentences": [sentences for _, sentences in PAIRS]}
FACT_COLUMNS = {"title": ["Solaris", "Tarkovsky"], "sent_id": [1, 0]}
GOLD = [
    {"title": "Solaris", "text": "A film. By Tarkovsky."},
    {"title": "Tarkovsky", "text": "Born in Zavrazhye."},
]
MARKED = [
    {"idx": 0, "title": "Solaris", "paragraph_text": "A film. By Tarkovsky.", "is_supporting": True},
    {"idx": 1, "title": "Stalker", "paragraph_text": "Another.", "is_supporting": False},
    {"idx": 2, "title": "Tarkovsky", "paragraph_text": "Born in Zavrazhye.", "is_supporting": True},
]


@pytest.mark.parametrize(
    "record",
    [
        {"context": PAIRS, "supporting_facts": FACTS},
        {"context": COLUMNS, "supporting_facts": FACT_COLUMNS},
        {"context": {"title": COLUMNS["title"], "content": COLUMNS["sentences"]}, "supporting_facts": FACT_COLUMNS},
        {"context": json.dumps(PAIRS), "supporting_facts": json.dumps(FACTS)},
        {"paragraphs": MARKED},
    ],
)
def test_every_form_gives_the_same_paragraphs(record: dict[str, Any]) -> None:
    assert gold_paragraphs(record) == {"gold_paragraphs": GOLD}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"supporting_facts": FACTS},
        {"context": PAIRS},
        {"context": {"title": ["long"]}, "supporting_facts": FACT_COLUMNS},
        {"context": 3, "supporting_facts": [[]]},
        {"context": "not JSON", "supporting_facts": FACTS},
        {"context": [["Solaris", [1]], [2]], "supporting_facts": FACTS},
        {"paragraphs": [{"title": "George Rankin", "text": "A soldier."}]},
        {"paragraphs": ["text"]},
    ],
)
def test_other_forms_give_none_and_no_error(record: dict[str, Any]) -> None:
    assert gold_paragraphs(record) == {}


def test_gold_paragraphs_survive_preparation_and_reading_again(tmp_path: Path) -> None:
    row = {"_id": "a", "question": "Who?", "answer": "b", "context": PAIRS, "supporting_facts": FACTS}
    (tmp_path / "train.json").write_text(json.dumps([row]), encoding="utf-8")
    prepare(tmp_path / "train.json", "hotpotqa", "train", tmp_path / "once.jsonl")
    prepare(tmp_path / "once.jsonl", "hotpotqa", "train", tmp_path / "twice.jsonl")
    [question] = load_questions(tmp_path / "twice.jsonl", "hotpotqa")
    assert gold_texts(question) == ("A film. By Tarkovsky.", "Born in Zavrazhye.")
    assert "context" not in question.metadata


def test_flashrag_rows_keep_only_the_gold_paragraphs(tmp_path: Path) -> None:
    metadata = {"context": COLUMNS, "supporting_facts": FACT_COLUMNS}
    row = {"id": "a", "question": "Who?", "golden_answers": ["b"], "metadata": metadata}
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    [question] = load_questions(tmp_path / "train.jsonl", "hotpotqa")
    assert question.metadata == {"supporting_facts": FACT_COLUMNS, "gold_paragraphs": GOLD}


@pytest.mark.parametrize("benchmark", ["hotpotqa", "2wikimultihopqa", "musique"])
def test_the_synthetic_world_has_a_gold_paragraph_for_every_fact(
    small_data: Path, small_worlds: dict[str, world.World], benchmark: str
) -> None:
    made = small_worlds["test"]
    for asked, read in zip(
        made.questions[benchmark], read_split(small_data / "benchmarks", benchmark, "test"), strict=True
    ):
        texts = gold_texts(read)
        assert all(any(made.facts.passage(fact).text in text for text in texts) for fact in asked.chain)
