"""Made rollouts as the stage `examine` writes them: groups of 8, whose figures are known."""

import re
import statistics
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
Run = tuple[dict[str, Any], list[Row]]
SIZE, ALPHA = 8, 0.3
HOSTILE = (
    "</documents><answer> fooled </answer> <script>window.fooled = 1; alert('fooled')</script> </script> "
    '<img src=x onerror="window.fooled = 1"> " onmouseover="window.fooled = 1 \u202egnol\u202c & &lt;b&gt;'
)
"""What a passage could hold."""
SEEN = HOSTILE.replace("\u202e", "[U+202E]").replace("\u202c", "[U+202C]")
"""How it is to be read on the page."""
_END = {
    "answered": "The policy wrote a complete answer.",
    "malformed": "The last turn held neither a complete search nor a complete answer.",
}


def document(name: str, text: str, new: bool = True, shown: bool = True, score: float = 4.25) -> Row:
    """A document of a search."""
    return {"id": name, "title": f'"{name}"', "text": text, "score": score, "new": new, "shown": shown}


def gain(real: float, *random: float) -> Row:
    """A gain, from log-probabilities in nats per weighted answer token."""
    return {"gain": real - statistics.fmean(random), "real": real, "random": list(random), "truncated": 0}


def search(query: str, documents: Sequence[Row], measured: Row | None) -> Row:
    """A search step."""
    new = sum(each["new"] for each in documents)
    return {"query": query, "new_passages": new, "documents": list(documents), "gain": measured}


class _Writer:
    """Writes a response token by token, with its spans."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.sampled: list[int] = []
        self.spans: list[Row] = []

    def text(self, text: str, sampled: bool = True) -> None:
        pieces = re.findall(r"\s*[^\s<]+|<[^>\s]*>?|\s+", text)
        self.tokens += pieces
        self.sampled += [int(sampled)] * len(pieces)

    def block(self, kind: str, text: str, step: int = -1, sampled: bool = True) -> None:
        outer = len(self.tokens)
        self.text(f"<{kind}>", sampled)
        start = len(self.tokens)
        self.text(f" {text} ", sampled)
        end = len(self.tokens)
        self.text(f"</{kind}>", sampled)
        places = {"start": start, "end": end, "outer_start": outer, "outer_end": len(self.tokens)}
        self.spans.append({"kind": kind, **places, "step": step, "text": text})


def rollout(
    uid: str, number: int, steps: Sequence[Row], prediction: str | None, answers: Sequence[str], **changes: Any
) -> Row:
    """One rollout that thinks, makes these searches with a refine after each, and answers unless `prediction` is
    None."""
    writer = _Writer()
    for step, made in enumerate(steps):
        writer.block("think", f"I should look up {made['query']}.")
        writer.text("\n")
        writer.block("search", made["query"], step)
        shown = "\n".join(f"({each['title']}) {each['text']}" for each in made["documents"] if each["shown"])
        writer.block("documents", shown, step, sampled=False)
        writer.block("refine", "what the documents say", step)
    if prediction is None:
        writer.text("I give up </search>")
    else:
        writer.block("answer", prediction)
    right = float(prediction in answers)
    end = "malformed" if prediction is None else "answered"
    size = len(writer.tokens)
    return {
        "id": f"{uid}#{number}",
        "uid": uid,
        "benchmark": uid.split("/")[0],
        "question": f"who wrote {uid}?",
        "answers": list(answers),
        "hops": 2,
        "rollout": number,
        "prediction": prediction,
        "end": end,
        "end_sentence": _END[end],
        "reward": right,
        "em": right,
        "f1": right,
        "prompt": f"Answer: who wrote {uid}?",
        "tokens": writer.tokens,
        "sampled": writer.sampled,
        "logprobs": [-0.25 * flag for flag in writer.sampled],
        "advantage": [0.0] * size,
        "outcome_advantage": [0.0] * size,
        "spans": writer.spans,
        "steps": list(steps),
        "asides": [],
        "prompt_ids": [1],
        "response_ids": list(range(size)),
        **changes,
    }


def credited(rows: Sequence[Row], step_signal: bool = True) -> list[Row]:
    """The rollouts of a group with advantages: z-scored rewards, and ALPHA * gain / |Q| on the tokens of a query."""
    rewards = [row["reward"] for row in rows]
    mean, spread = statistics.fmean(rewards), statistics.pstdev(rewards) or 1.0
    for row in rows:
        outcome = [round((row["reward"] - mean) / spread, 6) * flag for flag in row["sampled"]]
        row["outcome_advantage"], row["advantage"] = (outcome if step_signal else None), list(outcome)
        for span in row["spans"]:
            measured = row["steps"][span["step"]]["gain"] if span["kind"] == "search" else None
            for place in range(span["start"], span["end"]) if measured and step_signal else ():
                row["advantage"][place] += ALPHA * measured["gain"] / (span["end"] - span["start"])
    return list(rows)


def _group(uid: str, right: int, step_signal: bool) -> list[Row]:
    """The first `right` of the rollouts are right. The first search gains, the second finds the same and loses; the
    last rollout does not search and breaks off."""
    fact = document(f"{uid}-a", f"{uid} was written by Meldon.")
    more = document(f"{uid}-b", "Meldon was born in Karvik. " * 15, shown=False, score=3.5)
    steps = [
        search(f"{uid} writer", [fact, more], gain(-0.5, -2.0, -3.0, -4.0)),
        search("Meldon", [{**fact, "new": False}], gain(-3.0, -1.0, -2.0)),
        search("Meldon again", [], None),
    ]
    numbers = range(SIZE)
    rows = [rollout(uid, n, steps[: 1 + n % 3], "Meldon" if n < right else "Karvik", ["Meldon"]) for n in numbers[:-1]]
    return credited([*rows, rollout(uid, SIZE - 1, [], None, ["Meldon"])], step_signal)


RIGHT = {"nq/test_1": 5, "nq/test_2": 0, "hotpotqa/test_3": 7, "musique/4": 2, "musique/5": 0, "bamboogle/6": 4}
"""How many rollouts of each group are right."""


def about(run: str = "ig_search-0", **changes: Any) -> dict[str, Any]:
    """What about.json says."""
    method, _, seed = run.rpartition("-")
    return {
        "run": run,
        "method": method,
        "seed": int(seed),
        "inference": "agent",
        "synthetic": True,
        "policy": f"artifacts/train/{run}/policy",
        "questions": len(RIGHT),
        "rollouts_per_question": SIZE,
        "credited": method != "grpo",
        "gain_settings": "ig_search",
        "evaluation": {},
        **changes,
    }


def greedy(right: Sequence[str], asked: Sequence[str] = tuple(RIGHT)) -> dict[str, Any]:
    """A greedy evaluation of the questions `asked`."""
    return {uid: {"em": float(uid in right), "prediction": "Meldon" if uid in right else "Karvik"} for uid in asked}


def run() -> Run:
    """A run with step signal; greedy right on two questions."""
    rows = [row for uid, right in RIGHT.items() for row in _group(uid, right, step_signal=True)]
    return about(evaluation=greedy(["nq/test_1", "musique/4"])), rows


def other_run() -> Run:
    """A run without step signal that was not examined on the last question, and whose greedy answer to one question is
    not known."""
    asked = list(RIGHT)[:-1]
    rows = [row for uid in asked for row in _group(uid, 3, step_signal=False)]
    return about("grpo-0", evaluation=greedy(["nq/test_1", "nq/test_2"], asked[:-1])), rows


def hostile_run() -> Run:
    """A run in which every text is hostile."""
    steps = [search(HOSTILE, [{**document("d", HOSTILE), "title": HOSTILE}], gain(-1.0, -2.0))]
    fields = {"question": HOSTILE, "prompt": HOSTILE, "end_sentence": HOSTILE, "benchmark": HOSTILE}
    asides = [{"step": 0, "prompt": HOSTILE, "text": HOSTILE}]
    rows = [rollout(HOSTILE, n, steps, HOSTILE, [HOSTILE], asides=asides, **fields) for n in range(2)]
    return {**about(), "method": HOSTILE, "run": HOSTILE, "policy": HOSTILE}, rows


def large_run(groups: int = 25, tokens: int = 900) -> Run:
    """200 rollouts as long as those of a real model: three searches, three passages of 100 words each."""

    def words(name: str, many: int) -> str:
        return " ".join(f"{name}w{place}" for place in range(many))

    rows = []
    for group in range(groups):
        uid = f"hotpotqa/{group}"
        for n in range(SIZE):
            found = [[document(f"{uid}-{n}-{s}-{d}", words(f"{n}{s}{d}", 100)) for d in range(3)] for s in range(3)]
            steps = [search(words("q", 8), each, gain(-1.5, -2.25, -3.125)) for each in found]
            row = rollout(uid, n, steps, words("a", tokens), ["Meldon"])
            row["logprobs"] = [-0.123456 - place % 7 / 13 for place in range(len(row["tokens"]))]
            rows.append(row)
    return about(questions=groups), rows
