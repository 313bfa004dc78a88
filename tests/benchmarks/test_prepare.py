"""From native files to FlashRAG JSON lines with cards, in both layouts of folders."""

import json
from pathlib import Path

import pytest

from igsearch.benchmarks import flashrag, world
from igsearch.benchmarks.prepare import load_questions, prepare, prepare_all, read_split, read_splits
from igsearch.config import Config, load
from igsearch.errors import UserError
from igsearch.provenance import digest_file
from igsearch.records import BENCHMARKS, Question


@pytest.fixture(scope="module")
def config() -> Config:
    return load("micro")


def plain(identity: str, text: str = "who?") -> str:
    return json.dumps({"id": identity, "question": text, "golden_answers": ["a"], "metadata": {}}) + "\n"


def test_a_question_survives_the_way_through_every_native_format(
    config: Config, small_data: Path, small_worlds: dict[str, world.World], tmp_path: Path
) -> None:
    prepare_all(config, tmp_path / "prepared", small_data / "benchmarks")
    for split, made in small_worlds.items():
        for benchmark, questions in made.questions.items():
            native = read_split(small_data / "benchmarks", benchmark, split)
            assert native == read_split(tmp_path / "prepared", benchmark, split)
            for asked, read in zip(questions, native, strict=True):
                expected = asked.question()
                assert (expected.uid, expected.text, expected.answers) == (read.uid, read.text, read.answers)
                assert (expected.hops, expected.metadata["chain"]) == (read.hops, read.metadata["chain"])


def test_the_card_tells_split_count_digest_licence_and_source(small_data: Path, tmp_path: Path) -> None:
    source = small_data / "benchmarks" / "popqa" / "test.tsv"
    card = prepare(source, "popqa", "test", tmp_path / "popqa.jsonl", synthetic=True)
    assert card == json.loads((tmp_path / "popqa.card.json").read_text(encoding="utf-8"))
    assert card == {
        "benchmark": "popqa",
        "split": "test",
        "count": 12,
        "sha256": digest_file(tmp_path / "popqa.jsonl"),
        "licence": "Apache-2.0 (synthetic, made by igsearch)",
        "source": {"file": "test.tsv", "sha256": digest_file(source)},
    }
    assert prepare(source, "popqa", "test", tmp_path / "real.jsonl")["licence"] == "not stated by its card"


def test_prepared_rows_have_the_four_fields_of_flashrag(small_data: Path, tmp_path: Path) -> None:
    prepare(str(small_data / "benchmarks" / "nq" / "test.jsonl"), "nq", "test", tmp_path / "nq.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "nq.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert all(list(row) == ["id", "question", "golden_answers", "metadata"] for row in rows)
    assert rows[0]["metadata"]["hops"] == 1


def test_characters_that_look_like_line_ends_survive(tmp_path: Path) -> None:
    question = Question("1", "nq", "a\u2028b\u0085c", ("d\u2029e",), None, {"x": "y\x0cz"})
    flashrag.write(tmp_path / "nq.jsonl", [question])
    assert load_questions(tmp_path / "nq.jsonl", "nq") == [question]


def test_real_questions_lie_flat_and_are_test_sets(tmp_path: Path, real_data: Path) -> None:
    prepare_all(load("laptop"), tmp_path / "prepared", real_data / "wiki" / "questions")
    assert sum(len(read_split(tmp_path / "prepared", benchmark, "test")) for benchmark in BENCHMARKS) == 350
    flat = read_splits(real_data / "wiki" / "questions", "musique")
    assert flat == read_splits(tmp_path / "prepared", "musique")
    assert list(flat) == ["test"]


def test_an_id_in_two_splits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nq").mkdir()
    (tmp_path / "nq" / "train.jsonl").write_text(plain("1") + plain("2"), encoding="utf-8")
    (tmp_path / "nq" / "dev.jsonl").write_text(plain("2"), encoding="utf-8")
    with pytest.raises(UserError, match="id '2' of nq is in its validation and its train set"):
        read_split(tmp_path, "nq", "train")


def test_a_prepared_folder_appears_whole_or_not_at_all(config: Config, tmp_path: Path) -> None:
    only_nq = config.model_copy(
        update={"data": config.data.model_copy(update={"evaluate": ("nq",), "train": ("popqa",)})}
    )
    (tmp_path / "nq.jsonl").write_text(plain("1"), encoding="utf-8")
    with pytest.raises(UserError, match="no questions of popqa"):
        prepare_all(only_nq, tmp_path / "prepared", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["nq.jsonl"]


@pytest.mark.parametrize(
    ("benchmark", "split", "problem"),
    [
        ("hotpot", "test", "unknown benchmark 'hotpot' .*hotpotqa"),
        ("nq", "tset", "unknown split 'tset' .*test"),
        ("nq", "test", "cannot read"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest_name(
    benchmark: str, split: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=problem):
        prepare(tmp_path / "none.jsonl", benchmark, split, tmp_path / "out.jsonl")


def test_folders_that_lack_or_double_a_set_are_refused(config: Config, tmp_path: Path) -> None:
    (tmp_path / "nq.jsonl").write_text(plain("1"), encoding="utf-8")
    with pytest.raises(UserError, match=r"no train set of nq in .*there are test"):
        read_split(tmp_path, "nq", "train")
    with pytest.raises(UserError, match="nothing of this benchmark"):
        read_split(tmp_path, "popqa", "test")
    (tmp_path / "nq.json").write_text(plain("2"), encoding="utf-8")
    with pytest.raises(UserError, match="are both the test set of nq"):
        read_split(tmp_path, "nq", "test")
    with pytest.raises(UserError, match="no folder of questions"):
        prepare_all(config, tmp_path / "out", tmp_path / "none")
    (tmp_path / "empty.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="holds no questions"):
        load_questions(tmp_path / "empty.json", "nq")
