"""Synthetic passages, questions, predictions and evaluations of any size, the same at every run.

Words are drawn by rank from 100,000, the probability of rank r being proportional to 1 / (r + 2.7) (Zipf's law as
Mandelbrot wrote it), which gives an index long and short posting lists. A passage holds 60 to 140 words; a question
holds the rarer words of a passage that exists, so that it is found; every third prediction is right.
"""

import json
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from igsearch.records import EndReason, Question, QuestionRecord
from igsearch.seeds import generator

VOCABULARY = 100_000
SHORTEST, LONGEST = 60, 140  # words of a passage
_BLOCK = 1000
_ASKED = 50_000  # questions are about the first passages only, however many there are
_COMMON = 200  # words of a lower rank say little, and no question holds them
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]

TEST_SETS = {
    "nq": 3610,
    "triviaqa": 11313,
    "popqa": 14267,
    "hotpotqa": 7405,
    "2wikimultihopqa": 12576,
    "musique": 2417,
    "bamboogle": 125,
}
"""Questions of each benchmark that Search-R1 (arXiv 2503.09516) evaluates on, 51,713 in all."""

HOPS = {"hotpotqa": 2, "2wikimultihopqa": 2, "musique": 3, "bamboogle": 2}


@cache
def _words() -> np.ndarray:
    """A word of two to four syllables for each rank."""
    base, found = len(_SYLLABLES), []
    for rank in range(VOCABULARY):
        number, parts = rank + base, []
        while number:
            number, syllable = divmod(number, base)
            parts.append(_SYLLABLES[syllable])
        found.append("".join(parts))
    return np.array(found, dtype=object)


@cache
def _shares() -> np.ndarray:
    """Cumulative probability by rank."""
    weights = 1 / (np.arange(VOCABULARY) + 2.7)
    shares: np.ndarray = np.cumsum(weights / weights.sum())
    return shares


def _ranks(block: int) -> list[np.ndarray]:
    """The words of each of the 1,000 passages of a block, as ranks."""
    draw = generator("bench", "passages", block)
    lengths = draw.integers(SHORTEST, LONGEST, _BLOCK, endpoint=True)
    ranks = np.searchsorted(_shares(), draw.random(int(lengths.sum())))
    return np.split(np.minimum(ranks, VOCABULARY - 1), np.cumsum(lengths)[:-1])


def passages(count: int) -> Iterator[dict[str, str]]:
    """`{"id", "contents"}`: a title of two words, then the text."""
    words = _words()
    for number in range(count):
        if number % _BLOCK == 0:
            block = _ranks(number // _BLOCK)
        text = words[block[number % _BLOCK]]
        yield {"id": f"p{number}", "contents": f'"{text[0]} {text[1]}"\n{" ".join(text)}'}


def queries(count: int, of_passages: int) -> Iterator[str]:
    """Eight of the rarer words of a passage among the first `of_passages`, in their order there; no passage is
    asked about twice before each has been once."""
    words, blocks = _words(), cache(_ranks)
    for number in islice(cycle(generator("bench", "queries").permutation(min(of_passages, _ASKED))), count):
        ranks = blocks(int(number) // _BLOCK)[int(number) % _BLOCK]
        yield " ".join(words[ranks[ranks >= _COMMON][:8]])


def questions(count: int, of_passages: int) -> Iterator[dict[str, Any]]:
    """FlashRAG records `{"id", "question", "golden_answers"}`; the answers are two words of the question, or one."""
    for number, query in enumerate(queries(count, of_passages)):
        first, second, third, *_ = query.split()
        yield {"id": f"q{number}", "question": query, "golden_answers": [f"{first} {second}", f"The {third}."]}


def is_right(number: int) -> bool:
    """Whether the prediction of a question is right."""
    return number % 3 == 0


def predictions(count: int) -> Iterator[dict[str, Any]]:
    """Records for `igsearch score`: two gold answers each, a third of the predictions right."""
    words = _words()
    for number in range(count):
        first, second, third = (str(words[number * step % VOCABULARY]) for step in (1, 7, 11))
        golds = [f"{first} {second}", f"The {third} of {first}."]
        said = f"{first}, {second}" if is_right(number) else f"{second} and the {first}"
        yield {"id": f"q{number}", "prediction": said, "golden_answers": golds}


def benchmark_of(number: int) -> str:
    """The benchmark of a question, so that every prefix has the shares of TEST_SETS, nearly."""
    names = [name for name, size in TEST_SETS.items() for _ in range(max(1, round(size / 517)))]
    return names[number * 37 % len(names)]


def asked(count: int) -> dict[str, list[Question]]:
    """The questions of `records`, by benchmark."""
    found: dict[str, list[Question]] = {name: [] for name in TEST_SETS}
    for number, each in enumerate(predictions(count)):
        name, said = benchmark_of(number), str(each["prediction"])
        found[name].append(Question(each["id"], name, f"what of {said}?", tuple(each["golden_answers"])))
    return {name: questions for name, questions in found.items() if questions}


def records(count: int, contract: str, run: int = 0) -> Iterator[QuestionRecord]:
    """What an evaluation of the predictions would record; `run` tells runs apart."""
    for number, each in enumerate(predictions(count)):
        name, right = benchmark_of(number), float(is_right(number + run))
        yield QuestionRecord(
            uid=f"{name}/{each['id']}",
            benchmark=name,
            question=f"what of {each['prediction']}?",
            answers=tuple(each["golden_answers"]),
            hops=HOPS.get(name),
            prediction=each["prediction"],
            em=right,
            em_by_attempt=(right,),
            f1=right or (number % 7) / 7,
            cover_em=right,
            searches=number % 4,
            searches_without_new_passage=number % 2,
            sampled_tokens=60 + number % 40,
            retrieval_hit=number % 5 < 3 if number % 4 else None,
            first_query_useful=None,
            end=EndReason.ANSWERED,
            contract=contract,
            policy="0" * 64,
        )


def trajectory(number: int) -> dict[str, Any]:
    """What an evaluation keeps beside a record: some 3 kB, as of two searches with three passages each."""
    text = " ".join(_words()[(number + np.arange(100)) % VOCABULARY])
    return {"id": number, "text": [text] * 4, "sampled": [[0, 60], [200, 260]]}


def write_lines(path: Path, rows: Iterator[dict[str, Any]]) -> Path:
    """JSON lines; the path."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path
