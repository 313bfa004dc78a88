"""Passages on disk: JSON lines `{"id", "contents"}`, contents = quoted title, newline, text (wiki-18, Search-R1)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from igsearch.errors import UserError
from igsearch.provenance import digest_file
from igsearch.records import Passage

_BLOCK = 1 << 20  # ids kept in a set before they move to the sorted array


def parse_contents(passage_id: str, contents: str) -> Passage:
    """The passage behind `contents`.

    The first line is the title, quoted or not; a quote doubled inside a quoted title (as in the wiki-18 dump) is one
    quote. Contents without a newline are all text and have no title.
    """
    head, newline, text = contents.partition("\n")
    if not newline:
        return Passage(passage_id, "", contents)
    if len(head) > 1 and head[0] == head[-1] == '"':
        return Passage(passage_id, head[1:-1].replace('""', '"'), text)
    return Passage(passage_id, head.strip(), text)


def contents_of(passage: Passage) -> str:
    """The `contents` field of a passage, the inverse of `parse_contents`; the title, too, is indexed with it."""
    if not passage.title and "\n" not in passage.text:
        return passage.text
    title = passage.title.replace('"', '""')
    return f'"{title}"\n{passage.text}'


def _text_field(record: dict[str, object], key: str, where: str) -> str:
    value = record.get(key)
    if key == "id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f'{where}: "{key}" must be a non-empty string')
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f'{where}: "{key}" holds half of a surrogate pair, which is not a character') from error
    return value


def _passage(line: bytes, where: str) -> Passage:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError covers bad JSON and bad UTF-8
        raise UserError(f"{where}: not a line of JSON in UTF-8 ({error})") from error
    if not isinstance(record, dict):
        raise UserError(f'{where}: expected an object {{"id", "contents"}}, found {type(record).__name__}')
    passage = parse_contents(_text_field(record, "id", where), _text_field(record, "contents", where))
    if not passage.title.strip() and not passage.text.strip():
        raise UserError(f'{where}: "contents" holds neither title nor text')
    return passage


class _SeenIds:
    """Which ids came before, in 8 bytes an id (21 million: 170 MB). Two ids may share a hash, so check a "seen"."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted = np.empty(0, dtype=np.int64)

    def add(self, passage_id: str) -> bool:
        """Note an id; True where its hash was there before."""
        key = hash(passage_id)
        place = int(np.searchsorted(self._sorted, key))
        if key in self._recent or (place < len(self._sorted) and self._sorted[place] == key):
            return True
        self._recent.add(key)
        if len(self._recent) >= _BLOCK:
            block = np.fromiter(self._recent, np.int64, len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, block]))
            self._recent.clear()
        return False


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read the corpus {path}: {error.strerror}; name a file of passages") from error


def _line_of(path: Path, passage_id: str, before: int) -> int | None:
    """The first line of the file that holds an id, looking at the lines before `before` only."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if number >= before:
                return None
            if not line.isspace() and _passage(line, f"{path}:{number}").id == passage_id:
                return number
    return None


def read_passages(path: Path) -> Iterator[Passage]:
    """All passages of a corpus file, one at a time, validated as they come. Lines end at "\\n" only.

    An id is a string or a whole number, unique in the file; contents hold a title or a text; blank lines are skipped
    and further fields ignored. Raises UserError naming file and line.
    """
    seen = _SeenIds()
    empty = True
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            passage = _passage(line, f"{path}:{number}")
            if seen.add(passage.id) and (first := _line_of(path, passage.id, number)) is not None:
                raise UserError(
                    f"{path}:{number}: the id {passage.id!r} is already that of line {first}; make ids unique"
                )
            empty = False
            yield passage
    if empty:
        raise UserError(f"{path} holds no passages")


def digest(path: Path) -> str:
    """sha256 of the corpus file, in hex; UserError where it cannot be read."""
    _open(path).close()
    return digest_file(path)
