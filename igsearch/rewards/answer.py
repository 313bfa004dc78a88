"""Outcome rewards and answer metrics, as in FlashRAG and Search-R1.

    EM = 1 if norm(prediction) = norm(alias)        cover-EM = 1 if norm(alias) is a substring of norm(prediction)
    F1 = 2PR / (P + R) over the bags of normalised words; yes, no and noanswer match only themselves

each the maximum over the aliases. AutoRefine's staircase (arXiv 2505.11277): F1 where it is positive; 0.1 where it is 0
but a gold answer stands in the refine blocks; 0 without a complete answer. Set-F1, that of IGPO's released code
(arXiv 2510.14967): F1 over sets of words, in lower case, punctuation read as a space, articles kept, no rule for yes
and no.

No prediction (None) and no gold answer score 0 everywhere; an empty prediction is a prediction. Cover-EM compares
characters, not whole words as retrieval hits do: "l" is covered by every word with an l, and an alias of which
normalisation leaves nothing is covered by every prediction.
"""

import math
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from igsearch.methods import FormatConfig, RewardKind
from igsearch.records import EndReason, Episode, SpanKind
from igsearch.rewards.format import search_r1_format
from igsearch.text import normalize_answer

VERDICTS = frozenset({"yes", "no", "noanswer"})
REFINE_REWARD = 0.1
_SPACED = str.maketrans(string.punctuation, " " * len(string.punctuation))


def _best(prediction: str | None, answers: Sequence[str], metric: Callable[[str, str], float]) -> float:
    """The best of a metric of two normalised texts over the aliases."""
    if prediction is None:
        return 0.0
    said = normalize_answer(prediction)
    return max((metric(said, normalize_answer(answer)) for answer in answers), default=0.0)


def _word_f1(said: str, gold: str) -> float:
    if said != gold and (said in VERDICTS or gold in VERDICTS):
        return 0.0
    said_words, gold_words = said.split(), gold.split()
    common = sum((Counter(said_words) & Counter(gold_words)).values())
    return 2 * common / (len(said_words) + len(gold_words)) if common else 0.0


def _equals(said: str, gold: str) -> float:
    return float(said == gold)


def _covers(said: str, gold: str) -> float:
    return float(gold in said)


def exact_match(prediction: str | None, answers: Sequence[str]) -> float:
    """1 if the prediction equals an alias after normalisation, else 0."""
    return _best(prediction, answers, _equals)


def f1(prediction: str | None, answers: Sequence[str]) -> float:
    """Word F1 in [0, 1] against the best alias."""
    return _best(prediction, answers, _word_f1)


def set_f1(prediction: str | None, answers: Sequence[str]) -> float:
    """F1 over the sets of words in [0, 1] against the best alias, as IGPO takes it."""
    said = _word_set(prediction or "")
    scores = (2 * len(said & gold) / (len(said) + len(gold)) for gold in map(_word_set, answers) if said and gold)
    return max(scores, default=0.0)


def _word_set(text: str) -> set[str]:
    return set(text.lower().translate(_SPACED).split())


def cover_em(prediction: str | None, answers: Sequence[str]) -> float:
    """1 if an alias is a substring of the prediction after normalisation, else 0."""
    return _best(prediction, answers, _covers)


def measures(prediction: str | None, answers: Sequence[str]) -> dict[str, float]:
    """`{"em", "f1", "cover_em"}`, as the functions of these names; each text is normalised once."""
    metrics = {"em": _equals, "f1": _word_f1, "cover_em": _covers}
    if prediction is None:
        return dict.fromkeys(metrics, 0.0)
    said, golds = normalize_answer(prediction), [normalize_answer(answer) for answer in answers]
    return {name: max((metric(said, gold) for gold in golds), default=0.0) for name, metric in metrics.items()}


def autorefine(prediction: str | None, answers: Sequence[str], refines: Iterable[str]) -> float:
    """AutoRefine's staircase over the final answer and the texts of the refine blocks."""
    if prediction is None:
        return 0.0
    noted = normalize_answer(" ".join(refines))
    golds = [gold for gold in map(normalize_answer, answers) if gold]
    return f1(prediction, answers) or REFINE_REWARD * any(gold in noted for gold in golds)


def outcome_reward(
    kind: RewardKind, prediction: str | None, answers: Sequence[str], refines: Iterable[str] = ()
) -> float:
    """The outcome reward of one rollout, in [0, 1]."""
    if kind == "autorefine":
        return autorefine(prediction, answers, refines)
    return {"em": exact_match, "f1": f1, "set_f1": set_f1}[kind](prediction, answers)


def attempt_rewards(kind: RewardKind, episode: Episode) -> list[float]:
    """The outcome reward of each attempt; that of the episode where it was but one."""
    if not episode.attempts or episode.end is EndReason.RETRIEVER_FAILED:
        return [episode_reward(kind, episode)]
    return [
        outcome_reward(kind, prediction, episode.question.answers, _refines(episode, attempt))
        for attempt, prediction in enumerate(episode.attempts)
    ]


def _refines(episode: Episode, attempt: int) -> list[str]:
    """The texts of the refine blocks of one attempt."""
    turns = [turn for turn in episode.turns if turn.attempt == attempt]
    spans = episode.spans_of(SpanKind.REFINE)
    return [span.text for span in spans if any(turn.start <= span.outer_start < turn.end for turn in turns)]


def episode_reward(kind: RewardKind, episode: Episode, form: FormatConfig | None = None) -> float:
    """The outcome reward of an episode; NaN (no reward, not a reward of 0) where the retriever broke it off.

    `form` has the weights of `search_r1_format`; None for the default ones.
    """
    if episode.end is EndReason.RETRIEVER_FAILED:
        return math.nan
    if kind == "search_r1_format":
        right = exact_match(episode.prediction, episode.question.answers) == 1
        return search_r1_format(episode, right, form or FormatConfig())
    refines = [span.text for span in episode.spans_of(SpanKind.REFINE)]
    return outcome_reward(kind, episode.prediction, episode.question.answers, refines)
