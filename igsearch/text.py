"""Answer normalisation and matching: one definition for corpus coverage, hits, rewards and metrics."""

import re
import string
from collections.abc import Iterable

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower-case, delete ASCII punctuation, drop a/an/the as words, collapse white space (FlashRAG, Search-R1)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def contains_answer(text: str, answers: Iterable[str]) -> bool:
    """Whether a normalised answer occurs in the normalised text as whole words. An empty answer never does."""
    words = f" {normalize_answer(text)} "
    return any(f" {answer} " in words for answer in map(normalize_answer, answers) if answer)
