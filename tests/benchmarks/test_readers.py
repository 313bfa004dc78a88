"""One record of each benchmark in each form in circulation, and the traps of the real files."""

import json
from pathlib import Path
from typing import Any

import pytest

from igsearch.benchmarks.prepare import READERS, load_questions
from igsearch.errors import UserError
from igsearch.records import BENCHMARKS, Question

HOTPOT = {"_id": "5a", "question": "Who?", "answer": "Rush", "type": "bridge", "level": "hard"}
MUSIQUE = {
    "id": "3hop1__1_2_3",
    "question": "Who?",
    "answer": "G. Hall",
    "answer_aliases": ["Hall"],
    "answerable": True,
}
TRIVIA = {
    "Question": "Who?",
    "QuestionId": "tc_33",
    "Answer": {"Value": "B", "Aliases": ["A", "B"], "HumanAnswers": ["C"]},
}
POPQA = {
    "id": 0,
    "question": "Who?",
    "possible_answers": '["politician", "pol"]',
    "s_pop": 142,
    "subj": "G",
    "obj_id": 3,
}


def read(folder: Path, benchmark: str, *records: dict[str, Any]) -> list[Question]:
    path = folder / "test.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return load_questions(path, benchmark)


def test_there_is_a_reader_for_every_benchmark() -> None:
    assert tuple(READERS) == BENCHMARKS


def test_nq_has_no_ids_and_gets_them_from_its_split(tmp_path: Path) -> None:
    first, second = read(
        tmp_path, "nq", {"question": "who", "answer": ["a", "b", "a"]}, {"question": "w", "answer": "c"}
    )
    assert (first.id, first.uid, first.answers, first.hops) == ("test_0", "nq/test_0", ("a", "b"), None)
    assert (second.id, second.answers) == ("test_1", ("c",))


def test_triviaqa_takes_the_value_first_then_aliases(tmp_path: Path) -> None:
    [native] = read(tmp_path, "triviaqa", TRIVIA)
    assert (native.id, native.answers) == ("tc_33", ("B", "A", "C"))
    answer = {"value": "B", "aliases": ["A"], "normalized_aliases": ["a", "b"]}
    [hub] = read(tmp_path, "triviaqa", {"question": "Who?", "question_id": "tc_1", "answer": answer})
    assert (hub.id, hub.answers) == ("tc_1", ("B", "A"))


def test_popqa_answers_are_json_inside_a_string(tmp_path: Path) -> None:
    [question] = read(tmp_path, "popqa", POPQA)
    assert (question.id, question.answers, question.hops) == ("0", ("politician", "pol"), 1)
    assert question.metadata == {"subj": "G", "s_pop": 142}
    path = tmp_path / "test.tsv"
    path.write_text(
        'id\tquestion\ts_pop\tpossible_answers\n0\tWho?\t142\t"[""politician"", ""pol""]"\n', encoding="utf-8"
    )
    [row] = load_questions(path, "popqa")
    assert (row.answers, row.metadata["s_pop"]) == (("politician", "pol"), 142)


def test_2wiki_without_context_and_with_four_facts(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        "2wikimultihopqa",
        {**HOTPOT, "type": "compositional"},
        {**HOTPOT, "_id": "6", "type": "bridge_comparison"},
    )
    assert (first.hops, second.hops) == (2, 4)


def test_hotpotqa_reads_the_id_of_hub_rows_too(tmp_path: Path) -> None:
    row = {key: value for key, value in HOTPOT.items() if key != "_id"} | {"id": "5b", "unknown": {"field": [1]}}
    [question] = read(tmp_path, "hotpotqa", row)
    assert (question.id, question.answers, question.hops) == ("5b", ("Rush",), 2)
    assert question.metadata == {"type": "bridge", "level": "hard"}


def test_musique_reads_the_answerable_only(tmp_path: Path) -> None:
    steps = [{"id": 1, "question": "#1 >> x", "answer": "y"}] * 2
    questions = read(
        tmp_path,
        "musique",
        MUSIQUE,
        {**MUSIQUE, "id": "2hop__1", "question_decomposition": steps},
        {**MUSIQUE, "id": "no", "answerable": False},
    )
    assert [(question.id, question.hops, question.answers) for question in questions] == [
        ("3hop1__1_2_3", 3, ("G. Hall", "Hall")),
        ("2hop__1", 2, ("G. Hall", "Hall")),
    ]


def test_bamboogle_in_its_several_forms(tmp_path: Path) -> None:
    table = tmp_path / "test.csv"
    table.write_text('Question,Answer\n"Who, then?",James Madison\n', encoding="utf-8")
    [question] = load_questions(table, "bamboogle")
    assert (question.id, question.text, question.answers) == ("test_0", "Who, then?", ("James Madison",))
    for record in (
        {"Question": "Who?", "answer": ["james madison"], "id": "x"},
        {"Question": "Who?", "Answer": "james madison", "id": "x"},
        {"question": "Who?", "golden_answers": ["james madison"], "id": "x"},
    ):
        [question] = read(tmp_path, "bamboogle", record)
        assert (question.id, question.answers, question.hops) == ("x", ("james madison",), 2)


def test_flashrag_rows_tell_hops_as_native_records_do(tmp_path: Path) -> None:
    metadata = {"type": "bridge_comparison", "context": {"title": ["long"]}, "level": None}
    row = {"id": 7, "question": "Who?", "golden_answers": ["a"], "metadata": metadata}
    [question] = read(tmp_path, "2wikimultihopqa", row)
    assert (question.id, question.hops, question.metadata) == ("7", 4, {"type": "bridge_comparison"})
    [told] = read(tmp_path, "nq", {**row, "metadata": {"hops": 2}})
    assert told.hops == 2
    [bare] = read(tmp_path, "nq", {**row, "metadata": None})
    assert bare.hops is None


@pytest.mark.parametrize(
    ("benchmark", "record", "named"),
    [
        ("nq", {"question": "who", "answer": []}, '"answer" must be a non-empty list of strings'),
        ("nq", {"question": "who", "answer": ["a", 3]}, '"answer" must be'),
        ("nq", {"question": 3, "answer": ["a"]}, '"question" must be'),
        ("nq", {"question": "who", "answer": ["a"], "chain": ["p"]}, '"chain" must be'),
        ("nq", {"question": "who", "answer": ["a"], "chain": 3}, '"chain" must be'),
        ("nq", {"question": "who", "answer": ["a"], "chain": {"p": ["p"]}}, '"chain" must be'),
        ("nq", {"question": "who", "answer": ["a"], "hops": "two"}, '"hops" must be a whole number'),
        ("nq", {"question": "half \ud83d", "answer": ["a"]}, "half of a surrogate pair"),
        ("triviaqa", {"Question": "Who?"}, '"Answer" must be an object'),
        ("triviaqa", {"Question": "Who?", "Answer": {"Value": "B", "Aliases": "A"}}, '"Aliases" must be a list'),
        ("popqa", {**POPQA, "possible_answers": "[politician]"}, '"possible_answers" must be JSON inside a string'),
        ("popqa", {**POPQA, "possible_answers": "{}"}, '"possible_answers" must be a non-empty list'),
        ("popqa", {"id": 0, "question": "Who?"}, '"possible_answers" is missing'),
        ("popqa", {**POPQA, "s_pop": "many"}, '"s_pop" must be a whole number'),
        ("hotpotqa", {**HOTPOT, "answer": None}, '"answer" must be'),
        ("hotpotqa", {**HOTPOT, "_id": ["5a"]}, '"_id" must be a string or a number'),
        ("musique", {**MUSIQUE, "answer_aliases": [1]}, '"answer_aliases" must be'),
        ("bamboogle", {"Question": "Who?"}, '"Answer" must be'),
        ("bamboogle", {"question": "Who?", "golden_answers": None}, '"golden_answers" must be'),
        ("bamboogle", {"question": "Who?", "golden_answers": ["a"], "metadata": 3}, '"metadata" must be an object'),
    ],
)
def test_a_malformed_record_is_named_by_file_and_line(
    benchmark: str, record: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, benchmark, record)
    assert str(caught.value).startswith(f"{tmp_path / 'test.jsonl'}, line 1: ")
    assert named in str(caught.value)


def test_an_id_that_occurs_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 3: the id '5a' is already that of .*line 1"):
        read(tmp_path, "hotpotqa", HOTPOT, {**HOTPOT, "_id": "6"}, HOTPOT)


def test_every_real_native_file_is_read(real_data: Path) -> None:
    counts = {
        ("nq", "nq_open.jsonl"): 40,
        ("triviaqa", "triviaqa_sample.json"): 1,
        ("popqa", "popqa.json"): 20,
        ("hotpotqa", "hotpotqa_distractor.jsonl"): 12,
        ("2wikimultihopqa", "2wikimultihopqa.jsonl"): 12,
        ("musique", "musique_ans.jsonl"): 8,
        ("bamboogle", "bamboogle.json"): 20,
    }
    for (benchmark, name), count in counts.items():
        questions = load_questions(real_data / "native" / name, benchmark)
        assert len(questions) == count, name
        assert all(question.answers and question.text for question in questions)
    assert {path.name for path in (real_data / "native").iterdir()} == {name for _, name in counts}


def test_every_real_flashrag_file_is_read(real_data: Path) -> None:
    folder = real_data / "wiki" / "questions"
    counts = {benchmark: len(load_questions(folder / f"{benchmark}.jsonl", benchmark)) for benchmark in BENCHMARKS}
    assert counts == {
        "nq": 60, "triviaqa": 60, "popqa": 60, "hotpotqa": 40, "2wikimultihopqa": 40, "musique": 30, "bamboogle": 60
    }  # fmt: skip
