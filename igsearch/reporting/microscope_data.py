"""What the page of `igsearch microscope` shows: groups, filters' answers and transcripts as small plain data.

Every string that leaves this module shows its invisible control characters, so that text cannot reorder what stands
around it; escaping for HTML is the page's.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

Row = Mapping[str, Any]
"""One rollout, as the stage `examine` writes it."""
Run = tuple[Mapping[str, Any], Sequence[Row]]
"""What is known about a run, and its rollouts."""

# control characters but tab and line ends, bidirectional controls, halves of surrogate pairs
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ABOUT = ("run", "method", "seed", "inference", "synthetic", "policy", "credited", "gain_settings")


def payload(run: Run, other: Run | None = None) -> dict[str, Any]:
    """Everything that the page shows, as JSON values: `runs`, `benchmarks`, `passages`, `questions`.

    Questions are those of `run` in their order. Passages are kept once. Advantages are runs of equal values over the
    sampled tokens, `[[count, value], ...]`, to four digits.
    """
    runs = [run] if other is None else [run, other]
    groups = [_groups(rows) for _, rows in runs]
    passages = _Passages()
    questions = [_question(uid, runs, groups, passages) for uid in groups[0]]
    return _visible(
        {
            "runs": [_about(*each) for each in runs],
            "benchmarks": list(dict.fromkeys(question["benchmark"] for question in questions)),
            "questions": questions,
            "passages": passages.texts,
        }
    )


def visible(text: str) -> str:
    """`text` with control characters written out: U+202E becomes `[U+202E]`."""
    return _INVISIBLE.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(each) for key, each in value.items()}
    return [_visible(each) for each in value] if isinstance(value, list) else value


def _figure(value: float | None) -> float | None:
    """Four digits; None for what is not a number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _figure(math.fsum(known) / len(known)) if known else None


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["uid"], []).append(row)
    return {uid: sorted(group, key=lambda row: row["rollout"]) for uid, group in found.items()}


def _about(about: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """The run, with as many questions and rollouts as are shown."""
    sizes = sorted({len(group) for group in _groups(rows).values()})
    counts = {"questions": len(_groups(rows)), "rollouts": " or ".join(map(str, sizes)) or "0"}
    return {**{key: about[key] for key in _ABOUT}, **counts}


class _Passages:
    """Passages by number, each kept once."""

    def __init__(self) -> None:
        self.texts: list[list[str]] = []
        self._places: dict[tuple[str, str, str], int] = {}

    def place(self, document: Mapping[str, Any]) -> int:
        """The number of a document's passage."""
        key = (document["id"], document["title"], document["text"])
        if key not in self._places:
            self._places[key] = len(self.texts)
            self.texts.append(list(key))
        return self._places[key]


def _question(
    uid: str, runs: Sequence[Run], groups: Sequence[Mapping[str, list[Row]]], passages: _Passages
) -> dict[str, Any]:
    first = groups[0][uid][0]
    greedy = [about["evaluation"].get(uid) for about, _ in runs]
    shown = [_group(found.get(uid), mark, passages) for found, mark in zip(groups, greedy, strict=True)]
    own = shown[0]
    assert own is not None
    rewards = [episode["reward"] for episode in own["episodes"]]
    return {
        **{key: first[key] for key in ("uid", "benchmark", "question", "hops", "prompt")},
        "answers": list(first["answers"]),
        "groups": shown,
        "right": (own["em"] if greedy[0] is None else greedy[0]["em"]) >= 0.5,
        "failed": own["em"] == 0,
        "uniform": len(rewards) > 1 and None not in rewards and len(set(rewards)) == 1,
        "gains": _extremes(own["episodes"]),
        "change": _change(shown, greedy),
    }


def _group(rows: Sequence[Row] | None, greedy: Mapping[str, Any] | None, passages: _Passages) -> dict[str, Any] | None:
    """The rollouts of a run to one question; None where it has none."""
    if not rows:
        return None
    solved = all(row["reward"] is None or row["reward"] >= 1 for row in rows)
    return {
        "episodes": [_episode(row, solved, passages) for row in rows],
        "reward": _mean(row["reward"] for row in rows),
        "em": _mean(row["em"] for row in rows),
        "greedy": greedy and {"em": greedy["em"], "prediction": greedy["prediction"]},
    }


def _extremes(episodes: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """Highest and lowest gain of the searches; None where no search has one."""
    measured = (step["gain"] or step["reference"] for episode in episodes for step in episode["steps"])
    gains = [found["gain"] for found in measured if found]
    return [max(gains), min(gains)] if gains else None


def _change(shown: Sequence[Mapping[str, Any] | None], greedy: Sequence[Mapping[str, Any] | None]) -> Any:
    """How the run does against the other: by both greedy answers where there are two, else by the groups' mean EM."""
    if len(shown) < 2:
        return None
    if all(mark is not None for mark in greedy):
        by, marks = "greedy EM", [mark["em"] for mark in greedy if mark]
    elif all(group is not None for group in shown):
        by, marks = "mean EM of the group", [group["em"] for group in shown if group]
    else:
        return None
    kind = "improved" if marks[0] > marks[1] else "spoiled" if marks[0] < marks[1] else "same"
    return {"kind": kind, "by": by, "from": marks[1], "to": marks[0]}


def _episode(row: Row, solved: bool, passages: _Passages) -> dict[str, Any]:
    sampled = [place for place, flag in enumerate(row["sampled"]) if flag]
    whole, outcome = row["advantage"], row["outcome_advantage"]
    steps = None if outcome is None else [own - other for own, other in zip(whole, outcome, strict=True)]
    return {
        **{key: row[key] for key in ("id", "rollout", "prediction", "end", "end_sentence")},
        **{key: _figure(row[key]) for key in ("reward", "em", "f1")},
        "parts": parts(row),
        "whole": _runs(whole, sampled),
        "outcome": None if outcome is None else _runs(outcome, sampled),
        "step": None if steps is None else _runs(steps, sampled),
        "steps": [_step(step, row, solved, passages) for step in row["steps"]],
        "asides": [{"step": each["step"], "text": each["text"]} for each in row["asides"]],
    }


def _runs(values: Sequence[float], places: Sequence[int]) -> list[list[float | None]]:
    """The values at `places` as runs of equal ones. A difference below 1e-6, the rounding of the rows, is none."""
    shown = (_figure(0.0 if abs(values[place]) < 1.5e-6 else values[place]) for place in places)
    return [[len(list(same)), value] for value, same in groupby(shown)]


def parts(row: Row) -> list[dict[str, Any]]:
    """The response in stretches of one kind and step: sampled ones token by token, the environment's as one text.

    Kinds: those of the spans; `text` for what the policy wrote outside of all tags, `environment` for what was injected
    beside documents. A token that belongs to two spans counts to the narrower.
    """
    kinds: list[tuple[str, int]] = [("", -1)] * len(row["tokens"])
    for span in sorted(row["spans"], key=lambda span: span["outer_start"] - span["outer_end"]):
        where = slice(span["outer_start"], min(span["outer_end"], len(kinds)))
        kinds[where] = [(span["kind"], span["step"])] * len(kinds[where])
    found, first = [], 0
    marked = zip(row["sampled"], kinds, strict=True)
    for (sampled, (kind, step)), same in groupby(marked):
        last = first + len(list(same))
        tokens = row["tokens"][first:last]
        if sampled:
            chances = [round(value, 3) for value in row["logprobs"][first:last]]
            name = "text" if kind in ("", "documents") else kind
            found.append({"kind": name, "step": step, "tokens": tokens, "logprobs": chances})
        else:
            name = "documents" if kind == "documents" else "environment"
            found.append({"kind": name, "step": step, "text": "".join(tokens)})
        first = last
    return found


def _step(step: Mapping[str, Any], row: Row, solved: bool, passages: _Passages) -> dict[str, Any]:
    documents = [
        [passages.place(each), _figure(each["score"]), int(each["new"]), int(each["shown"])]
        for each in step["documents"]
    ]
    gain, reference = _gain(step["gain"]), _gain(step.get("reference"))
    return {
        "query": step["query"],
        "new": step["new_passages"],
        "documents": documents,
        "gain": gain,
        "reference": None if gain else reference,
        "why": None if gain else _why(step, row, solved),
    }


def _gain(gain: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The gain rounded; None where nothing was measured."""
    if gain is None or not math.isfinite(gain["real"]):
        return None
    figures = {"gain": _figure(gain["gain"]), "real": _figure(gain["real"]), "truncated": gain["truncated"]}
    return {**figures, "random": [_figure(value) for value in gain["random"]]}


def _why(step: Mapping[str, Any], row: Row, solved: bool) -> str:
    """Why a search has no gain: of the reasons that there are (rewards/information_gain.py), the first that holds."""
    if row["end"] == "retriever_failed":
        return "the retriever failed in this rollout"
    if not step["documents"]:
        return "the search found no documents"
    if _gain(step.get("reference")) is None:
        return "its documents are too short, or there is nothing to put in their place"
    if not step["new_passages"]:
        return "the search brought no passage that was new"
    return "every rollout of the group is right" if solved else "its settings leave nothing to put in their place"
