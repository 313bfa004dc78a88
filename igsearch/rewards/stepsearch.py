"""StepSearch's step reward: what a search adds to the coverage of the gold paragraphs, less what it repeats.

    reward_t = (1/n) sum over gold paragraphs k of max(m_kt - max over s < t of m_ks, 0) - repeated_t
    m_kt = max over the passages that search t found of the TF-IDF cosine of passage and gold paragraph k
    repeated_t = share of the passages of search t that an earlier one, or an earlier place in it, has already shown

Source: StepSearch (arXiv 2505.15107). As in its code, texts are normalised as answers are, and the document frequencies
of a cosine are those of the passage and the n gold paragraphs alone (scikit-learn's default TF-IDF).

Deviations: a passage is repeated if its id is, not its text. Only passages that were shown, whole or in part, count. A
question without gold paragraphs gives no step reward; the original is trained on MuSiQue alone, where every question
has some.
"""

from collections.abc import Sequence
from functools import lru_cache

from igsearch.benchmarks.paragraphs import gold_texts
from igsearch.records import Episode
from igsearch.text import normalize_answer


@lru_cache(maxsize=1 << 16)
def similarities(passage: str, gold: tuple[str, ...]) -> tuple[float, ...]:
    """TF-IDF cosine of a passage with each gold paragraph, in [0, 1]; 0 for a text without words of two characters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer()
    texts = [normalize_answer(text) for text in (passage, *gold)]
    if not any(map(vectorizer.build_analyzer(), texts)):
        return (0.0,) * len(gold)
    rows = vectorizer.fit_transform(texts)  # of unit length
    return tuple(min(float(cosine), 1.0) for cosine in (rows[1:] @ rows[0].T).toarray()[:, 0])


def gains(found: Sequence[Sequence[str]], gold: tuple[str, ...]) -> list[float]:
    """For the texts that each search found, how much better than before they match the gold paragraphs, on average."""
    best = [0.0] * len(gold)
    values = []
    for texts in found:
        matches = [similarities(text, gold) for text in texts]
        now = [max(column) for column in zip(*matches, strict=True)] or [0.0] * len(gold)
        values.append(sum(max(new - old, 0.0) for new, old in zip(now, best, strict=True)) / len(gold))
        best = [max(pair) for pair in zip(now, best, strict=True)]
    return values


def repetitions(found: Sequence[Sequence[str]]) -> list[float]:
    """For the passage ids that each search found, the share that was found before; 0 where nothing was found."""
    seen: set[str] = set()
    shares = []
    for ids in found:
        before = len(seen)
        seen |= set(ids)
        shares.append(1 - (len(seen) - before) / len(ids) if ids else 0.0)
    return shares


def stepsearch(episode: Episode) -> list[float | None]:
    """The reward of each search step, in [-1, 1]; None where the question has no gold paragraphs."""
    gold = gold_texts(episode.question)
    if not gold:
        return [None] * len(episode.steps)
    texts = [[hit.passage.text or hit.passage.title for hit in step.shown_hits] for step in episode.steps]
    ids = [[hit.passage.id for hit in step.shown_hits] for step in episode.steps]
    return [gain - repeated for gain, repeated in zip(gains(texts, gold), repetitions(ids), strict=True)]
