"""Passages on disk: titles as wiki-18 writes them, and errors that name file and line."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igsearch import corpus
from igsearch.errors import UserError
from igsearch.records import Passage


def _file(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def _line(passage_id: str | int, contents: str) -> str:
    return json.dumps({"id": passage_id, "contents": contents})


@pytest.mark.parametrize(
    ("contents", "title", "text"),
    [
        ('"Jeff Porcaro"\nA drummer.', "Jeff Porcaro", "A drummer."),
        ('"""Uncle Tom\'s Cabin"" Contrasted"\nas vicious', '"Uncle Tom\'s Cabin" Contrasted', "as vicious"),
        ('"""Heroes"""\nAn album.', '"Heroes"', "An album."),
        ('"John "Hannibal" Smith"\nColonel', 'John "Hannibal" Smith', "Colonel"),
        ('"Merry Go Round (Royce da 5\'9" song)"\n" Merry"', "Merry Go Round (Royce da 5'9\" song)", '" Merry"'),
        ("Bare title\ntext", "Bare title", "text"),
        ('"Two"\nlines\nof text', "Two", "lines\nof text"),
        ("no newline at all", "", "no newline at all"),
        ('"quoted, no newline"', "", '"quoted, no newline"'),
        ('"\ntext', '"', "text"),
        ('""\ntext', "", "text"),
        ('"Title"\n', "Title", ""),
    ],
)
def test_titles_are_parsed_as_wiki_18_quotes_them(contents: str, title: str, text: str) -> None:
    assert corpus.parse_contents("1", contents) == Passage("1", title, text)


@given(st.text(alphabet='"a \nß', max_size=12))
def test_contents_of_is_the_inverse_of_parse_contents(contents: str) -> None:
    passage = corpus.parse_contents("1", contents)
    assert corpus.parse_contents("1", corpus.contents_of(passage)) == passage


def test_passages_are_read_with_extra_fields_blank_lines_and_whole_number_ids(tmp_path: Path) -> None:
    first = json.dumps({"id": "0", "contents": '"A"\na', "sources": ["x"], "nested": {"id": "0"}})
    path = _file(tmp_path / "c.jsonl", first, "", "  ", _line(7, "b") + "\r")
    assert list(corpus.read_passages(path)) == [Passage("0", "A", "a"), Passage("7", "", "b")]


def test_unicode_line_separators_do_not_cut_a_record_in_two(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three\x0bfour"
    line = json.dumps({"id": "0", "contents": f'"A"\n{text}'}, ensure_ascii=False)
    assert [passage.text for passage in corpus.read_passages(_file(tmp_path / "c.jsonl", line))] == [text]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "1", "contents": ', "not a line of JSON"),
        (b'{"id": "1", "contents": "\xff"}', "not a line of JSON in UTF-8"),
        ("[" * 100_000, "not a line of JSON"),
        ('["1", "text"]', "expected an object"),
        ('{"contents": "text"}', '"id" must be a non-empty string'),
        ('{"id": " ", "contents": "text"}', '"id" must be a non-empty string'),
        ('{"id": true, "contents": "text"}', '"id" must be a non-empty string'),
        ('{"id": null, "contents": "text"}', '"id" must be a non-empty string'),
        ('{"id": "1"}', '"contents" must be a non-empty string'),
        ('{"id": "1", "contents": " \\n "}', '"contents" must be a non-empty string'),
        ('{"id": "1", "contents": ["text"]}', '"contents" must be a non-empty string'),
        ('{"id": "1", "contents": "\\"\\"\\n "}', "neither title nor text"),
        ('{"id": "1", "contents": "half \\ud83d"}', "half of a surrogate pair"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(tmp_path: Path, line: str | bytes, says: str) -> None:
    path = _file(tmp_path / "c.jsonl", _line("0", "fine"), "", line)
    with pytest.raises(UserError, match=says) as error:
        list(corpus.read_passages(path))
    assert str(error.value).startswith(f"{path}:3: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("block", [1 << 20, 4])
def test_a_repeated_id_names_both_lines_also_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(corpus, "_BLOCK", block)
    path = _file(tmp_path / "c.jsonl", *(_line(f"p{i}", "x") for i in range(11)), _line("p2", "y"))
    with pytest.raises(UserError, match=r"c\.jsonl:12: the id 'p2' is already that of line 3"):
        list(corpus.read_passages(path))


def test_a_number_and_a_string_may_not_share_an_id(tmp_path: Path) -> None:
    path = _file(tmp_path / "c.jsonl", _line("1", "x"), _line(1, "y"))
    with pytest.raises(UserError, match=r":2: the id '1'"):
        list(corpus.read_passages(path))


def test_two_ids_with_one_hash_are_not_taken_for_a_repetition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "hash", lambda _: 1, raising=False)
    path = _file(tmp_path / "c.jsonl", *(_line(f"p{i}", "x") for i in range(5)))
    assert [passage.id for passage in corpus.read_passages(path)] == ["p0", "p1", "p2", "p3", "p4"]


def test_a_missing_an_unreadable_and_an_empty_corpus_are_user_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UserError, match="cannot read the corpus"):
            list(corpus.read_passages(path))
        with pytest.raises(UserError, match="cannot read the corpus"):
            corpus.digest(path)
    with pytest.raises(UserError, match="holds no passages"):
        list(corpus.read_passages(_file(tmp_path / "empty.jsonl", "")))


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = _file(tmp_path / "c.jsonl", _line("0", "fine"))
    assert corpus.digest(path) == sha256(path.read_bytes()).hexdigest()


def test_the_real_corpus_reads_whole(real_data: Path) -> None:
    passages = list(corpus.read_passages(real_data / "wiki" / "corpus.jsonl"))
    assert len(passages) == 27_802
    assert all(passage.title and passage.text for passage in passages)
    by_id = {passage.id: passage.title for passage in passages}
    assert by_id["0"] == "Jeff Porcaro"
    assert "\"Uncle Tom's Cabin\" Contrasted with Buckingham Hall, the Planter's Home" in by_id.values()
