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


def folder(
    path: Path, method: str, every: int, searches: int, config: Config, seed: int = 0, partial: tuple[str, ...] = ()
) -> Path:
    """An evaluation in which every so-many-th question is wrong, other ones with every seed."""
    terms = make("c" * 64, QUESTIONS, config)
    asked = [question for group in QUESTIONS.values() for question in group]
    records = [record(q, (i + seed) % every != 0, searches, terms.digest) for i, q in enumerate(asked)]
    path.mkdir(parents=True)
    store.write_records(path / store.RECORDS, records)
    write_json(path / store.CONTRACT, terms.as_json())
    subject = asdict(Subject(method, "agent", "p", True, seed))
    write_json(path / store.SUMMARY, {"subject": subject, "partial": list(partial)})
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
    rows = table(result)
    assert rows["nq"][:7] == ["20", "50.0", "75.0", "+25.0", "+10.0", "to", "+45.0"]
    assert float(rows["nq"][7]) == pytest.approx(2 / 2**5, abs=0.01)  # five questions differ, all of one sign
    assert float(rows["nq"][8]) == pytest.approx(2 * float(rows["nq"][7]), abs=0.005)
    assert rows["nq"][9] == "tie"
    assert rows["macro average"][:4] == ["40", "50.0", "75.0", "+25.0"]
    assert rows["macro average"][-1] == "B"
    assert rows["micro average"][-1] != "B"
    names = ("EM, points (synthetic data)", "F1", "cover-EM", "Searches", "Sampled tokens", "B more")
    assert all(name in result.stdout for name in names)
    assert "of these trained models" in result.stdout
    assert "+20.0" in result.stdout


def table(result: Result) -> dict[str, list[str]]:
    """The cells of the table of EM by the name of the row."""
    rows = result.stdout.split("F1, points")[0].splitlines()
    names = ("nq", "popqa", "macro average", "micro average")
    return {name: line.removeprefix(name).split() for line in rows for name in names if line.startswith(name)}


def with_seeds(count: int) -> None:
    for seed in range(1, count):
        folder(Path(f"artifacts/evaluate/grpo-{seed}"), "grpo", 2, 1, Config(), seed)
        folder(Path(f"artifacts/evaluate/ig_search-{seed}"), "ig_search", 8, 3, Config(), seed)


def test_methods_are_compared_over_all_their_seeds(here: Path) -> None:
    with_seeds(3)
    result = compare("grpo", "ig_search")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("A: grpo, seeds 0 1 2, agent\nB: ig_search, seeds 0 1 2, agent\none contract")
    assert "over seeds (3, paired) and questions" in result.stdout
    assert len(table(result)["nq"]) == 11
    assert "p models: over questions alone" in " ".join(result.stdout.split())


def test_runs_with_commas_and_patterns_name_the_same_evaluations(here: Path) -> None:
    with_seeds(3)
    listed = compare("grpo-0,grpo-1,grpo-2", "artifacts/evaluate/ig_search-*")
    assert listed.exit_code == 0, listed.output
    assert listed.stdout == compare("grpo", "ig_search").stdout


def test_two_seeds_are_told_of_as_trained_models(here: Path) -> None:
    with_seeds(2)
    result = compare("grpo-0,grpo-1", "ig_search-1,ig_search-0")
    assert "of these trained models, over questions alone; with fewer than 3 seeds" in " ".join(result.stdout.split())


def test_only_common_seeds_are_paired_and_said(here: Path) -> None:
    with_seeds(3)
    assert "paired by training seed: 2 of them" in compare("grpo-1,grpo-2", "ig_search").stdout
    refused = compare("grpo-1,grpo-2", "artifacts/evaluate/ig_search-0,other")
    assert refused.exit_code == 2


def test_several_methods_on_one_side_are_refused(here: Path) -> None:
    result = compare("grpo-0,ig_search-0", "grpo-0")
    assert result.exit_code == 2
    assert "name one method on each side" in result.stderr


def test_a_partial_evaluation_is_marked_in_the_title_of_every_table(here: Path) -> None:
    folder(Path("cut"), "ig_search", 4, 3, Config(), partial=("at most 20 questions per benchmark",))
    result = compare("grpo-0", "cut")
    assert result.stdout.count("(synthetic data, PARTIAL)") == 5
    assert "PARTIAL, ig_search, seed 0: at most 20 questions per benchmark" in result.stderr


def test_the_tables_fit_eighty_columns(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_seeds(3)
    monkeypatch.setenv("COLUMNS", "80")
    lines = compare("grpo", "ig_search").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("macro average") and line.split()[-1].startswith((".", "<")) for line in lines)


def test_runs_of_two_contracts_are_refused_after_what_differs_before_any_number(here: Path) -> None:
    result = compare("grpo-0", "other")
    assert result.exit_code == 2
    assert "  retrieval, k: 1 | 3\n" in result.stdout
    assert "  prompt, document_template: {text} | {title}\\n{text}\n" in result.stdout
    assert "  budgets, max_searches: 4 | 5\n" in result.stdout
    assert "50.0" not in result.stdout
    assert result.stderr.startswith("error: grpo-0 and other were evaluated under different contracts")
    assert "--despite" in result.stderr


def test_despite_shows_the_figures_below_what_differs(here: Path) -> None:
    result = compare("grpo-0", "other", "--despite")
    assert result.exit_code == 0, result.output
    assert result.stdout.index("retrieval, k: 1 | 3") < result.stdout.index("50.0")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("grpo-7", "artifacts/evaluate/grpo-7 is missing: run `igsearch evaluate --run grpo-7` first"),
        ("grpoo-0", "unknown method 'grpoo' (did you mean 'grpo'?)"),
        ("grpoo", "unknown method 'grpoo' (did you mean 'grpo'?)"),
        ("ig_search", "artifacts/evaluate/ig_search-1 is missing: run `igsearch evaluate --run ig_search-1` first"),
        ("none-*", "no evaluation folder matches none-*"),
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
