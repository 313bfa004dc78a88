"""Two GRPO + IG steps of a pretrained model on real questions and real passages, against the oracle."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import scripted

from igsearch.benchmarks.prepare import load_questions
from igsearch.config import PolicyConfig, build
from igsearch.corpus import read_passages
from igsearch.policy.base import Policy
from igsearch.policy.load import load_policy
from igsearch.records import Episode, Hit, Passage, Question
from igsearch.rollout.environment import Loop
from igsearch.rollout.prompts import prompt_ids, trusted_ids
from igsearch.text import contains_answer
from igsearch.training import trainer
from igsearch.training.metrics import Metrics

CONFIG = build(
    {
        "rollout": {"prompt": "tiny", "document_template": "{title}: {text}\n", "max_turn_tokens": 60}
        | {"max_observation_tokens": 80, "max_response_tokens": 400, "max_prompt_tokens": 200},
        "train": {"steps": 2, "prompts_per_step": 2, "group_size": 2, "micro_batch": 2, "learning_rate": 1e-5}
        | {"beta": 0.1, "validation_questions": 0},
    }
)


class Titles:
    """Finds the passage with the title that was asked for."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.by_title = {passage.title.strip(): passage for passage in passages}

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        return [[Hit(self.by_title[query], 1.0)] for query in queries]


@pytest.fixture(scope="module")
def smollm2() -> Policy:
    return load_policy(PolicyConfig(name="smollm2"))


@pytest.fixture(scope="module")
def answerable(real_data: Path) -> list[tuple[Question, Passage]]:
    """Two real questions, each with a real passage that holds an answer."""
    passages = list(read_passages(real_data / "wiki" / "corpus_small.jsonl"))
    questions = load_questions(real_data / "wiki" / "questions" / "nq.jsonl", "nq")
    found = ((q, next((p for p in passages if contains_answer(p.text, q.answers)), None)) for q in questions)
    return [(question, passage) for question, passage in found if passage is not None][:2]


@pytest.fixture
def gigabytes(tmp_path: Path) -> Iterator[Path]:
    """A folder that does not outlive the test."""
    with TemporaryDirectory(dir=tmp_path) as folder:
        yield Path(folder)


def played(policy: Policy, answerable: list[tuple[Question, Passage]]) -> list[Episode]:
    """The first question is answered rightly and wrongly, the second wrongly twice; every rollout searches."""
    (first, useful), (second, other) = answerable
    note = f"<refine> {first.answers[0]} </refine>"
    scripts = [
        (first, useful, f"{note}<answer> {first.answers[0]} </answer>"),
        (first, other, "<answer> nobody knows </answer>"),
        (second, other, "<refine> nothing there </refine><answer> nobody knows </answer>"),
        (second, useful, "<answer> forty-two </answer>"),
    ]
    config = CONFIG.rollout
    episodes = [Episode(q, row % 2, prompt_ids(policy, q.text, config)) for row, (q, _, _) in enumerate(scripts)]
    turns = [[f"<think> First I look it up. </think>\n<search> {p.title} </search>", end] for _, p, end in scripts]
    session = scripted.Scripted([[trusted_ids(policy, turn) for turn in script] for script in turns])
    Loop(policy, session, Titles([useful, other]), episodes, config, 1, None).run()
    return episodes


@pytest.mark.slow
def test_smollm2_two_steps_equal_the_oracle(
    smollm2: Policy,
    answerable: list[tuple[Question, Passage]],
    gigabytes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[tuple[int, Metrics]] = []
    episodes = played(smollm2, answerable)
    monkeypatch.setattr(trainer, "rollout", lambda *_: episodes)
    trainer.train(
        smollm2,
        Titles([]),
        [question for question, _ in answerable],
        [],
        CONFIG,
        "ig_search",
        0,
        gigabytes,
        lambda step, metrics: logged.append((step, metrics)),
        verify_oracle=True,
    )
    assert [step for step, _ in logged] == [1, 2]
    for _, metrics in logged:
        assert metrics["ig/steps"] == 4
        assert metrics["reward/uniform_groups"] == 0.5
        assert metrics["policy/grad_norm"] > 0.1
        assert metrics["oracle/loss_difference"] < 1e-5
        assert metrics["oracle/gradient_difference"] < 1e-4
    assert logged[1][1]["policy/kl"] > 0
