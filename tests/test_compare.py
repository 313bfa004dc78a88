"""`igsearch compare`: what differs comes before any figure, and different contracts are not mixed."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from igsearch.cli.entry import app
from igsearch.config import Config, build
from igsearch.evaluation import store
from igsearch.evaluation.contract import make
from igsearch.evaluation.store import Subject
from igsearch.provenance import write_json
from igsearch.records import EndReason, Question, QuestionRecord

QUESTIONS = {name: [Question(str(i), name, f"q{i}", ("a",)) for i in range(20)] for name in ("nq", "popqa")}


def record(question: Question, right: bool, searches: int, contract: str) -> QuestionRecord:
    of = {"uid": question.uid, "benchmark": question.benchmark, "question": question.text, "answers": question.answers}
    scores = {**{name: float(right) for name in ("em", "f1", "cover_em")}, "em_by_attempt": (float(right),)}
    effort = {"searches": searches, "searches_without_new_passage": 0, "sampled_tokens": 10 * searches}
    found = {"retrieval_hit": right, "first_query_useful": None, "hops": None, "prediction": "a" if right else "b"}
    names = {"end": EndReason.ANSWERED, "contract": contract, "policy": "p"}
    return QuestionRecord(**of, **scores, **effort, **found, **names)  # type: ignore[arg-type]


def folder(path: Path, method: str, every: int, searches: int, config: Config) -> Path:
    """An evaluation in which every so-many-th question is wrong."""
    terms = make("c" * 64, QUESTIONS, config)
    asked = [question for group in QUESTIONS.values() for question in group]
    records = [record(q, i % every != 0, searches, terms.digest) for i, q in enumerate(asked)]
    path.mkdir(parents=True)
    store.write_records(path / store.RECORDS, records)
    write_json(path / store.CONTRACT, terms.as_json())
    write_json(path / store.SUMMARY, {"subject": asdict(Subject(method, "agent", "p", True, 0)), "partial": []})
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    folder(Path("artifacts/evaluate/grpo-0"), "grpo", 2, 1, Config())
    folder(Path("artifacts/evaluate/ig_search-0"), "ig_search", 4, 3, Config())
    folder(
        Path("other"),
        "ig_search",
        4,
        3,
        build({"retrieval": {"k": 3}, "rollout": {"max_searches": 5, "document_template": "{title}\n{text}"}}),
    )
    return tmp_path


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments], prog_name="igsearch")


def test_runs_of_one_contract_stand_side_by_side(here: Path) -> None:
    result = compare("grpo-0", "artifacts/evaluate/ig_search-0")
    assert result.exit_code == 0, result.output
    first, second, contract, *_ = result.stdout.splitlines()
    assert (first, second) == ("A: grpo, seed 0, agent", "B: ig_search, seed 0, agent")
    assert contract.startswith("one contract: ")
    assert "0.500" in result.stdout
    assert "0.750" in result.stdout
    assert "+0.250  +0." in result.stdout
    assert "+2.0  +2.0 to +2.0" in result.stdout
    assert "+20.0" in result.stdout
    assert all(name in result.stdout for name in ("EM", "F1", "cover-EM", "Searches", "Sampled tokens", "average"))


def test_runs_of_two_contracts_are_refused_after_what_differs_before_any_number(here: Path) -> None:
    result = compare("grpo-0", "other")
    assert result.exit_code == 2
    assert "  retrieval, k: 1 | 3\n" in result.stdout
    assert "  prompt, document_template: {text} | {title}\\n{text}\n" in result.stdout
    assert "  budgets, max_searches: 4 | 5\n" in result.stdout
    assert "0.500" not in result.stdout
    assert result.stderr.startswith("error: grpo-0 and other were evaluated under different contracts")
    assert "--despite" in result.stderr


def test_despite_shows_the_figures_below_what_differs(here: Path) -> None:
    result = compare("grpo-0", "other", "--despite")
    assert result.exit_code == 0, result.output
    assert result.stdout.index("retrieval, k: 1 | 3") < result.stdout.index("0.500")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("grpo-7", "artifacts/evaluate/grpo-7 is missing: run `igsearch evaluate --run grpo-7` first"),
        ("grpoo-0", "unknown method 'grpoo' (did you mean 'grpo'?)"),
        ("artifacts", "artifacts is not an evaluation folder: it has no summary.json"),
    ],
)
def test_what_is_no_evaluation_is_named(here: Path, name: str, said: str) -> None:
    result = compare("grpo-0", name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_runs_over_other_questions_of_the_same_numbers_have_nothing_in_common(here: Path) -> None:
    records = store.load(Path("other")).records
    store.write_records(Path("other") / store.RECORDS, [replace(each, question="another") for each in records])
    result = compare("grpo-0", "other", "--despite")
    assert result.exit_code == 2
    assert "grpo-0 and other have no question in common" in result.stderr
