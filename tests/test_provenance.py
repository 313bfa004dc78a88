"""Digests, atomic writes, cards."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from igsearch.errors import UserError
from igsearch.provenance import (
    Card,
    atomic_path,
    clear_dead,
    digest_file,
    digest_json,
    digest_text,
    digest_tree,
    git_commit,
    module_digest,
    write_json,
    write_text,
)

CARD = Card("train-grpo-0", "in", {"config train": "a"}, {"artifacts/train/grpo-0": "b"}, "igsearch train", "c" * 40)


def test_digest_json_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1})
    assert digest_json({"b": [1, 2]}) != digest_json({"b": [2, 1]})
    assert digest_json({"a": 1}) != digest_json({"a": "1"})


def test_digests_are_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_text("abc") == digest_file(path) == digest_tree(path) == expected


def test_digest_tree_sees_names_bytes_and_depth_but_no_times(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_text(folder / "x/y", "1")
    first = digest_tree(folder)
    os.utime(folder / "x/y", (1, 1))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").touch()
    assert digest_tree(folder) == first
    (folder / "x/y").rename(folder / "x/z")
    assert digest_tree(folder) != first
    (folder / "x/z").rename(folder / "x/y")
    write_text(folder / "x/y", "2")
    assert digest_tree(folder) != first


def test_module_digest_changes_with_any_named_module(tmp_path: Path) -> None:
    for name in ("credit/grpo.py", "credit/other.py", "text.py"):
        write_text(tmp_path / name, "1")
    both = module_digest(tmp_path, ("text.py", "credit"))
    assert both == module_digest(tmp_path, ("credit", "text.py"))
    write_text(tmp_path / "credit/other.py", "2")
    assert both != module_digest(tmp_path, ("credit", "text.py"))
    assert module_digest(tmp_path, ("text.py",)) == module_digest(tmp_path, ("text.py",))


def _write_half(target: Path, error: BaseException, name: str = "") -> None:
    """Begin to write a file, or a folder with a file of that name in it, and fail."""
    with atomic_path(target) as temporary:
        write_text(temporary / name, "half")
        raise error


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError):
        _write_half(target, ZeroDivisionError())
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_beside_its_target_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    died = subprocess.Popen(["true"])
    died.wait()
    kept = [".file.notes.txt", f".file.{os.getpid()}.tmp", f".other.{died.pid}.tmp", f".file.{died.pid}.txt", "file"]
    for name in (*kept, f".file.{died.pid}.tmp"):
        (tmp_path / name).touch()
    (tmp_path / f".file.{died.pid}.old" / "below").mkdir(parents=True)
    clear_dead(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    write_text(target / "old", "1")
    with atomic_path(target) as temporary:
        write_text(temporary / "new", "2")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    write_text(target / "old", "1")
    with pytest.raises(KeyboardInterrupt):
        _write_half(target, KeyboardInterrupt(), "new")
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_takes_nothing_is_one_sentence(number: int, tmp_path: Path) -> None:
    told = r"cannot write .*: .*; free space or choose another output folder"
    with pytest.raises(UserError, match=told) as raised:
        _write_half(tmp_path / "file", OSError(number, os.strerror(number)))
    assert "\n" not in str(raised.value)


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "1")
    with pytest.raises(UserError, match="cannot write"):
        write_text(tmp_path / "file/below", "2")


def test_an_unexpected_error_of_the_system_stays_itself(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error") as raised:
        _write_half(tmp_path / "file", OSError(errno.EIO, os.strerror(errno.EIO)))
    assert not isinstance(raised.value, UserError)


def test_text_has_unix_line_ends_and_json_keeps_letters(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "a\r\nb\u2028c\n")
    assert (tmp_path / "text").read_bytes() == "a\r\nb\u2028c\n".encode()
    write_json(tmp_path / "json", {"b": "é", "a": 1})
    assert (tmp_path / "json").read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "é"\n}\n'


def test_a_card_comes_back_as_it_was(tmp_path: Path) -> None:
    CARD.write(tmp_path / "cards/card.json")
    assert Card.read(tmp_path / "cards/card.json") == CARD


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"stage": "x"}), json.dumps({"unknown": 1})])
def test_a_card_that_is_none_is_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(text, encoding="utf-8")
    assert Card.read(path) is None
    assert Card.read(tmp_path / "missing") is None


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_says_when_the_tree_is_dirty(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == "unknown"
    _git(tmp_path, "init", "-q")
    write_text(tmp_path / "file", "1")
    _git(tmp_path, "add", "file")
    _git(tmp_path, "commit", "-qm", "first")
    head = _git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == head
    write_text(tmp_path / "file", "2")
    assert git_commit(tmp_path) == f"{head}-dirty"
