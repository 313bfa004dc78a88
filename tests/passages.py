"""A small corpus, for the tests of retrieval."""

import json
from collections.abc import Sequence
from pathlib import Path

CONTENTS = (
    ("d1", '"Karvik"\nKarvik founded the company Mortan.'),
    ("d2", '"Mortan"\nMortan is a company in Belora.'),
    ("d3", '"Belora"\nBelora is a city on the river Tos.'),
    ("d4", '"""Heroes"" (album)"\nAn album; it says „quoted“, 😀 and <answer>Tos</answer>.'),
    ("d5", "no title here, only a company"),
    ("twin-b", '"Twin"\nThe same words in both.'),
    ("twin-a", '"Twin"\nThe same words in both.'),
    ("twin-10", '"Twin"\nThe same words in both.'),
    ("dots", '"..."\n!?'),
)


def write_corpus(path: Path, contents: Sequence[tuple[str, str]] = CONTENTS) -> Path:
    """A corpus file of (id, contents) pairs."""
    lines = [json.dumps({"id": key, "contents": text}) + "\n" for key, text in contents]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path
