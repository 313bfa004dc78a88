"""What a training step would make of a policy's rollouts: groups, information gain, token advantages; no update.

Rollouts, signals and credit come from the code that trains. Two things differ from a step of training. The information
gain of every search is also measured as a reference, in the same way for all methods, so that they can be looked at
alike; and a decaying alpha counts as it was before any decay.
"""

import codecs
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from igsearch import credit
from igsearch.config import Config
from igsearch.credit.control import controlled
from igsearch.credit.mass import without_steps
from igsearch.methods import CreditConfig, InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.records import EndReason, Episode, Hit, Passage, Question, SearchStep, Span, SpanKind
from igsearch.retrieval.base import Retriever
from igsearch.rewards.answer import episode_reward, exact_match, f1
from igsearch.rewards.information_gain import Key, StepGain, information_gain
from igsearch.rewards.signals import measure
from igsearch.rollout.environment import rollout
from igsearch.rollout.prompts import STYLES
from igsearch.text import contains_answer
from igsearch.training.batch import credit_batch

Row = dict[str, Any]
"""One rollout as JSON values: a line of rollouts.jsonl."""
Gains = list[list[StepGain | None]]


@dataclass(frozen=True)
class Replayed:
    """Rollouts of whole groups.

    reference: the gain of each search step, None where it cannot be scored; bare: the same without the refine that
    followed; gains: as the method measures it, the reference where it does not. advantage_BL: token advantages, float
    [B, L]; outcome_BL: those of the same rule with its step signal off, None where it has none.
    """

    episodes: list[Episode]
    rewards: list[float]
    reference: Gains
    bare: Gains
    gains: Gains
    advantage_BL: torch.Tensor
    outcome_BL: torch.Tensor | None


def replay(
    policy: Policy,
    start: Policy | None,
    retriever: Retriever,
    questions: Sequence[Question],
    config: Config,
    method: CreditConfig,
    reference: InformationGainConfig,
    key: Key,
) -> Replayed:
    """A group of `config.train.group_size` rollouts for each question, scored and credited as in training.

    config: that of the method (`Config.for_method`). reference: how the gain is measured for all methods alike. start:
    the policy before any training, for methods that score by it. key: of every draw.
    """
    size = config.train.group_size
    asked, numbers = [each for each in questions for _ in range(size)], [*range(size)] * len(questions)
    episodes = rollout(policy, retriever, asked, numbers, config.rollout, config.retrieval.k, (*key, "rollout"))
    rewards = [episode_reward(method.reward, episode, method.search_r1_format) for episode in episodes]
    measured: Gains = information_gain(policy, episodes, reference, key, rewards)
    scaffold = STYLES[config.rollout.prompt].forced_answer
    signals = measure(policy, episodes, method, key, rewards, scaffold, start=start)
    batch = controlled(credit_batch(episodes, rewards, signals, method.reward), method, key)
    return Replayed(
        episodes=episodes,
        rewards=rewards,
        reference=measured,
        bare=information_gain(policy, episodes, reference.model_copy(update={"refine": False}), key, rewards),
        gains=[list(each.gains) for each in signals] if method.information_gain else measured,
        advantage_BL=credit.resolve(method.rule)(batch, method),
        outcome_BL=without_steps(batch, method),
    )


def rows(policy: Policy, replayed: Replayed) -> Iterator[Row]:
    """The rollouts one by one, as plain data that can be read without the policy."""
    for place, episode in enumerate(replayed.episodes):
        length = len(episode.response_ids)
        outcome_BL = replayed.outcome_BL
        yield {
            **_question(episode),
            **_end(episode, replayed.rewards[place]),
            "prompt": policy.pieces.text(episode.prompt_ids),
            "tokens": _texts(policy, episode.response_ids),
            "sampled": [int(flag) for flag in episode.sampled],
            "logprobs": [round(value, 6) for value in episode.logprobs],
            "advantage": _rounded(replayed.advantage_BL[place, :length]),
            "outcome_advantage": None if outcome_BL is None else _rounded(outcome_BL[place, :length]),
            "spans": [{**asdict(span), "kind": span.kind.value} for span in episode.spans],
            "steps": _steps(episode, *(of[place] for of in (replayed.gains, replayed.reference, replayed.bare))),
            "asides": [{"step": each.step, "text": policy.pieces.text(each.ids)} for each in episode.asides],
            "prompt_ids": list(episode.prompt_ids),
            "response_ids": list(episode.response_ids),
        }


def _question(episode: Episode) -> Row:
    asked = episode.question
    return {
        "id": f"{asked.uid}#{episode.rollout}",
        "uid": asked.uid,
        "benchmark": asked.benchmark,
        "question": asked.text,
        "answers": list(asked.answers),
        "hops": asked.hops,
        "rollout": episode.rollout,
    }


def _end(episode: Episode, reward: float) -> Row:
    answers = episode.question.answers
    return {
        "prediction": episode.prediction,
        "end": episode.end.value,
        "end_sentence": episode.end.sentence,
        "reward": None if math.isnan(reward) else reward,
        "em": exact_match(episode.prediction, answers),
        "f1": f1(episode.prediction, answers),
    }


def _texts(policy: Policy, ids: Sequence[int]) -> list[str]:
    """The text that each token adds. One that holds a part of a character adds it with the token that completes it."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    texts = [decoder.decode(policy.pieces.bytes(token)) for token in ids]
    return [*texts[:-1], texts[-1] + decoder.decode(b"", final=True)] if texts else []


def _rounded(values_L: torch.Tensor) -> list[float]:
    return [round(value, 6) for value in values_L.tolist()]


def _steps(episode: Episode, *measured: Sequence[StepGain | None]) -> list[Row]:
    """Each search with what it found, its gain, the reference and that without refine, and where the answer stands."""
    names = ("gain", "reference", "without_refine")
    return [
        {
            **_step(step, _known(episode.steps[:number])),
            **{name: _gain(of[number]) for name, of in zip(names, measured, strict=True)},
            "answer_in": _answer_in(episode, number),
        }
        for number, step in enumerate(episode.steps)
    ]


def _answer_in(episode: Episode, step: int) -> str | None:
    """Where a gold answer stands as whole words: `documents`, or else `refine`; None where in neither."""
    for kind in (SpanKind.DOCUMENTS, SpanKind.REFINE):
        span = episode.span_at(kind, step)
        if span and contains_answer(span.text, episode.question.answers):
            return kind.value
    return None


def _known(steps: Sequence[SearchStep]) -> set[str]:
    """The passages that these searches have shown."""
    return {hit.passage.id for step in steps for hit in step.shown_hits}


def _gain(gain: StepGain | None) -> Row | None:
    """None where it was not measured; a gain that counts as 0 unmeasured (searches without a new passage) is none."""
    return None if gain is None or math.isnan(gain.real) else {**asdict(gain), "random": list(gain.random)}


def _step(step: SearchStep, known: set[str]) -> Row:
    shown = len(step.shown_hits)
    documents = [
        {
            "id": hit.passage.id,
            "title": hit.passage.title,
            "text": hit.passage.text,
            "score": hit.score,
            "new": hit.passage.id not in known,
            "shown": place < shown,
        }
        for place, hit in enumerate(step.hits)
    ]
    return {"query": step.query, "new_passages": step.new_passages, "documents": documents}


def episode_of(row: Row) -> Episode:
    """The inverse of `rows`, but for turns and asides."""
    question = Question(
        row["uid"].removeprefix(f"{row['benchmark']}/"),
        row["benchmark"],
        row["question"],
        tuple(row["answers"]),
        row["hops"],
    )
    spans = [Span(**{**span, "kind": SpanKind(span["kind"])}) for span in row["spans"]]
    return Episode(
        question,
        row["rollout"],
        row["prompt_ids"],
        row["response_ids"],
        [bool(flag) for flag in row["sampled"]],
        row["logprobs"],
        spans,
        steps=[_search_step(step) for step in row["steps"]],
        prediction=row["prediction"],
        end=EndReason(row["end"]),
    )


def _search_step(step: Row) -> SearchStep:
    hits = tuple(Hit(Passage(each["id"], each["title"], each["text"]), each["score"]) for each in step["documents"])
    return SearchStep(step["query"], hits, step["new_passages"], sum(each["shown"] for each in step["documents"]))
