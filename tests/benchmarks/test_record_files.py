"""Forms of benchmark files, and errors that name file and line."""

import json
from pathlib import Path

import pytest

from igsearch.benchmarks.files import read_records
from igsearch.errors import UserError


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def rows(path: Path) -> list[str]:
    return [record.text("q") for record in read_records(path)]


@pytest.mark.parametrize(
    "text",
    [
        '{"q": "a"}\n{"q": "b"}\n',
        '\ufeff{"q": "a"}\r\n\r\n{"q": "b"}',
        '[{"q": "a"}, {"q": "b"}]',
        '[\n {"q": "a"},\n {"q": "b"}\n]\n',
        '{"Data": [{"q": "a"}, {"q": "b"}], "Version": 1.0}',
        '{\n "version": "x",\n "data": [{"q": "a"}, {"q": "b"}]\n}\n',
    ],
)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_the_form_is_told_from_the_content_whatever_the_ending(text: str, ending: str, tmp_path: Path) -> None:
    assert rows(write(tmp_path / f"x.{ending}", text)) == ["a", "b"]


def test_a_single_object_is_one_record_on_one_line_or_many(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "a.json", '{"q": "a"}')) == ["a"]
    assert rows(write(tmp_path / "b.json", '{\n"q": "a"\n}\n')) == ["a"]


def test_u0085_and_u2028_do_not_end_a_line(tmp_path: Path) -> None:
    texts = ["x\u0085y", "x\u2028y", "x\x0cy"]
    lines = "".join(json.dumps({"q": text}, ensure_ascii=False) + "\n" for text in texts[:2])
    assert rows(write(tmp_path / "x.jsonl", lines)) == texts[:2]
    assert rows(write(tmp_path / "x.csv", "q,n\n" + "".join(f"{text},1\n" for text in texts))) == texts


def test_tables_hold_quotes_delimiters_and_line_ends(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "x.tsv", 'q\tn\n"a ""b""\tc\nd"\t1\n')) == ['a "b"\tc\nd']


def test_a_column_without_a_name_is_ignored(tmp_path: Path) -> None:
    """As `DataFrame.to_csv` writes one with the row numbers unless it is told otherwise."""
    assert rows(write(tmp_path / "x.csv", ",q,n\n0,a,1\n1,b,2\n")) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("x.jsonl", '{"q": "a"}\n\n{"q": "b"\n', "line 3: not valid JSON"),
        ("x.jsonl", '{"q": "a}\n{"q": "b"}\n', "line 1: not valid JSON"),
        ("x.jsonl", '{"q": "a"\n{"q": "b"}\n', "line 2: not valid JSON"),  # "{" does not begin a key
        ("x.jsonl", '{"q": "a"}\n["b"]\n', "line 2: a record must be an object"),
        ("x.json", '[{"q": "a"},\n {"q": }]', "line 2: not valid JSON"),
        ("x.json", '[{"q": "a"}, 3]', "record 2: a record must be an object"),
        ("x.json", "[" * 200_000, "line 1: not valid JSON"),
        ("x.jsonl", '{"q": "a"}\n{"q": null}\n', 'line 2: "q" must be a non-empty string, not nothing'),
        ("x.json", '[{"q": "a"}, {"q": " "}]', 'record 2: "q" must be a non-empty string'),
        ("x.csv", "q,n\na,1\nb\n", "line 3: the row has not the 2 columns"),
        ("x.csv", "q,n\na,1\nb,2,3\n", "line 3: the row has not the 2 columns"),
        ("x.csv", ",q\n0,a\n1,b,3\n", "line 3: the row has not the 2 columns"),
        ("x.csv", 'q,n\n"a\nb",1\n"c,2\n', "line 4: not a row of a table"),
        ("x.csv", "question\na\n", 'line 2: "q" must be'),
        ("x.jsonl", " \n", "is empty"),
    ],
)
def test_errors_name_file_and_line(name: str, text: str, where: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(UserError) as caught:
        rows(path)
    assert str(path) in str(caught.value)
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"q": "\xff"}\n')
    with pytest.raises(UserError, match="byte 7 is not UTF-8"):
        rows(tmp_path / "x.jsonl")
    with pytest.raises(UserError, match="cannot read"):
        rows(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="cannot read"):
        rows(tmp_path)
