"""Answer normalisation and whole-word matching."""

import pytest

from igsearch.text import contains_answer, normalize_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Eiffel-Tower.", "eiffeltower"),
        ("  An apple,\ta day ", "apple day"),
        ("theatre", "theatre"),
        ("Beyoncé", "beyoncé"),
        ("", ""),
    ],
)
def test_normalisation_deletes_punctuation_then_articles(text: str, expected: str) -> None:
    assert normalize_answer(text) == expected


def test_a_hit_needs_whole_words() -> None:
    assert contains_answer("Born in Paris, France.", ["paris"])
    assert contains_answer("He won the U.S. Open.", ["nothing", "US Open"])
    assert not contains_answer("a comparison of cities", ["paris"])


def test_an_empty_answer_is_never_a_hit() -> None:
    assert not contains_answer("anything at all", ["", "the"])
