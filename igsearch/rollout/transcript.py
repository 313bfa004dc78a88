"""Episodes as plain data that a person can read and a program can check: one line of trajectories.jsonl each."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from igsearch.policy.base import Policy
from igsearch.records import Aside, Episode, SearchStep


def _segments(episode: Episode, policy: Policy) -> Iterator[dict[str, str]]:
    """The response cut where the writer changes."""
    for sampled, group in groupby(zip(episode.sampled, episode.response_ids, strict=True), key=lambda pair: pair[0]):
        text = policy.pieces.text(token_id for _, token_id in group)
        yield {"by": "policy" if sampled else "environment", "text": text}


def _step(step: SearchStep) -> dict[str, Any]:
    hits = [{"id": hit.passage.id, "title": hit.passage.title, "score": hit.score} for hit in step.hits]
    return {"query": step.query, "hits": hits, "shown": len(step.shown_hits), "new_passages": step.new_passages}


def _aside(aside: Aside, policy: Policy) -> dict[str, Any]:
    return {"step": aside.step, "prompt": policy.pieces.text(aside.prompt_ids), "text": policy.pieces.text(aside.ids)}


def trajectory(episode: Episode, policy: Policy) -> dict[str, Any]:
    """The episode as JSON values: who wrote what, what was searched and found, how it ended, and all ids and spans.

    `prompt` and the texts of `segments` are the bytes of the ids, so special tokens stand there as they are.
    """
    question = episode.question
    return {
        "uid": question.uid,
        "question": question.text,
        "answers": list(question.answers),
        "rollout": episode.rollout,
        "prediction": episode.prediction,
        "attempts": list(episode.attempts),
        "end": episode.end.value,
        "end_sentence": episode.end.sentence,
        "invalid_turns": episode.invalid_turns,
        "prompt": policy.pieces.text(episode.prompt_ids),
        "segments": list(_segments(episode, policy)),
        "steps": [_step(step) for step in episode.steps],
        "asides": [_aside(aside, policy) for aside in episode.asides],
        "prompt_ids": list(episode.prompt_ids),
        "response_ids": list(episode.response_ids),
        "sampled": [int(flag) for flag in episode.sampled],
        "spans": [asdict(span) for span in episode.spans],
    }
