"""Building, checking and searching a Lucene index."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from passages import CONTENTS, write_corpus

from igsearch.config import RetrievalConfig
from igsearch.corpus import parse_contents
from igsearch.errors import UserError
from igsearch.records import Hit, Passage
from igsearch.retrieval import jvm, lucene
from igsearch.retrieval.base import RetrieverError
from igsearch.retrieval.lucene import LuceneRetriever, build, check


def _ids(hits: list[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def _build_in_subprocess(corpus: Path, out: Path, before: str = "") -> "subprocess.Popen[str]":
    code = (
        "import pathlib, resource\n"
        "from igsearch.config import RetrievalConfig\n"
        "from igsearch.errors import UserError\n"
        "from igsearch.retrieval import jvm, lucene\n"
        "jvm.start('64m')\n"
        "lucene._CALL_CHARACTERS = 100_000\n"
        f"{before}\n"
        "try:\n"
        f"    lucene.build(pathlib.Path({str(corpus)!r}), pathlib.Path({str(out)!r}), RetrievalConfig(heap='64m'),\n"
        "                 lambda n: print(n, flush=True))\n"
        "except UserError as error:\n"
        "    print('UserError', error)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def _long_corpus(path: Path, passages: int) -> Path:
    return write_corpus(path, [(f"p{i}", f'"Title {i}"\n' + f"word{i} number{i * 7} " * 20) for i in range(passages)])


# --- searching


def test_hits_carry_the_passages_as_they_are_on_disk(retriever: LuceneRetriever) -> None:
    (hit,) = retriever.search(["heroes album"], 1)[0]
    assert hit.passage == Passage("d4", '"Heroes" (album)', "An album; it says „quoted“, 😀 and <answer>Tos</answer>.")
    assert hit.passage == parse_contents(*CONTENTS[3])


def test_bm25_is_lucenes_formula_over_title_and_text(tmp_path: Path) -> None:
    contents = [("a", '"karvik"\nkarvik mortan'), ("b", '"belora"\nmortan belora tos karvik'), ("c", '"tos"\ntos')]
    config = RetrievalConfig(k1=1.3, b=0.6)
    build(write_corpus(tmp_path / "c.jsonl", contents), tmp_path / "index", config)
    hits = LuceneRetriever(tmp_path / "index", config).search(["karvik"], 3)[0]
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    lengths, frequencies, mean = {"a": 3, "b": 5}, {"a": 2, "b": 1}, (3 + 5 + 2) / 3
    expected = {key: idf * tf / (tf + 1.3 * (1 - 0.6 + 0.6 * lengths[key] / mean)) for key, tf in frequencies.items()}
    assert _ids(hits) == ["a", "b"]
    assert {hit.passage.id: hit.score for hit in hits} == pytest.approx(
        expected, abs=1e-4
    )  # Anserini rounds to 4 places


def test_a_subject_in_title_and_text_counts_twice(retriever: LuceneRetriever) -> None:
    assert _ids(retriever.search(["mortan"], 2)[0]) == ["d2", "d1"]


def test_equal_scores_are_ordered_by_passage_id_whatever_the_order_on_disk(
    retriever: LuceneRetriever, config: RetrievalConfig, tmp_path: Path
) -> None:
    build(write_corpus(tmp_path / "c.jsonl", CONTENTS[::-1]), tmp_path / "index", config)
    reversed_retriever = LuceneRetriever(tmp_path / "index", config)
    for k in (1, 2, 3):
        assert _ids(retriever.search(["twin"], k)[0]) == ["twin-10", "twin-a", "twin-b"][:k]
        assert retriever.search(["twin", "company tos"], k) == reversed_retriever.search(["twin", "company tos"], k)


@pytest.mark.parametrize("query", ["", " \n", "the of and", "?!", "xyzzy", "AND OR NOT", "\x00", "x" * 40_000])
def test_a_query_without_indexed_words_finds_nothing(retriever: LuceneRetriever, query: str) -> None:
    assert retriever.search([query], 3) == [[]]


@pytest.mark.parametrize(
    "query",
    [
        'mortan AND NOT (karvik "',
        "id:d9 mortan^0 -mortan +karvik~",
        "contents: mortan [karvik TO",
        "mortan\x00 karvik 😀",
        "mortan karvik \ud83d",
        "/mortan/ \\karvik* && || !",
        "mortan karvik " + " ".join(f"w{i}" for i in range(3000)),
    ],
)
def test_no_character_of_a_query_is_an_operator(retriever: LuceneRetriever, query: str) -> None:
    assert set(_ids(retriever.search([query], 3)[0])) >= {"d1", "d2"}


def test_queries_keep_their_order_and_may_repeat(retriever: LuceneRetriever) -> None:
    queries = ["karvik", "", "twin", "karvik"]
    found = retriever.search(queries, 3)
    assert found == [retriever.search([query], 3)[0] for query in queries]
    assert found[0] is not found[3]
    assert retriever.search([], 3) == []


def test_more_hits_than_passages_are_no_error_and_fewer_than_one_is(retriever: LuceneRetriever) -> None:
    assert sorted(_ids(retriever.search(["company"], 10**12)[0])) == ["d1", "d2", "d5"]
    for k in (0, -1):
        with pytest.raises(UserError, match="k must be at least 1"):
            retriever.search(["company"], k)


def test_callers_in_threads_get_their_own_hits_although_pyjnius_shares_its_receivers(
    retriever: LuceneRetriever,
) -> None:
    queries = ["karvik company", "mortan tos company", "river tos", "twin words", "album city", ""]
    expected = [retriever.search(queries[number:], 9) for number in range(3)]
    interval = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)  # threads change places between looking a method up and calling it
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda number: retriever.search(queries[number % 3 :], 9), range(300)))
    finally:
        sys.setswitchinterval(interval)
    assert found == [expected[number % 3] for number in range(300)]


def _lock_is_free() -> bool:
    taken = jvm.LOCK.acquire(blocking=False)
    if taken:
        jvm.LOCK.release()
    return taken


class WatchedSearcher:
    """Notes, for each use of Java in a search, whether another thread could have used Java at the same time."""

    def __init__(self, searcher: Any) -> None:
        self.searcher = searcher
        self.free: list[bool] = []

    def _note(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            self.free.append(pool.submit(_lock_is_free).result())

    def batch_search(self, *arguments: Any) -> "WatchedSearcher":
        self._note()
        self.found = self.searcher.batch_search(*arguments)
        return self

    def get(self, name: str) -> Any:
        self._note()
        return self.found.get(name)


def test_a_search_holds_the_lock_from_its_first_to_its_last_use_of_java(index: Path, config: RetrievalConfig) -> None:
    retriever = LuceneRetriever(index, config)
    watched = retriever._searcher = WatchedSearcher(retriever._searcher)
    retriever.search(["karvik", "mortan"], 3)
    assert watched.free == [False, False, False]
    assert _lock_is_free()


def test_chunks_change_nothing(retriever: LuceneRetriever, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [f"{word} company" for word in ("karvik", "mortan", "tos", "twin", "belora", "album", "city")]
    expected = retriever.search(queries, 3)
    monkeypatch.setattr(lucene, "_HITS_AT_A_TIME", 6)
    assert retriever.search(queries, 3) == expected


def test_a_failure_in_java_is_a_retriever_error(index: Path, config: RetrievalConfig) -> None:
    retriever = LuceneRetriever(index, config)
    retriever._searcher.close()
    with pytest.raises(RetrieverError, match="Lucene failed on 2 queries"):
        retriever.search(["karvik", "mortan"], 1)


# --- the card


def test_the_card_depends_on_corpus_and_settings_alone(index: Path, corpus: Path, config: RetrievalConfig) -> None:
    elsewhere = index.parent / "again"
    card = build(corpus, elsewhere, config)
    assert (elsewhere / "card.json").read_bytes() == (index / "card.json").read_bytes()
    assert card == check(elsewhere, corpus) == json.loads((index / "card.json").read_text(encoding="utf-8"))
    assert card["passages"] == len(CONTENTS)
    assert card["settings"] == {"k1": 0.9, "b": 0.4}
    assert set(card["versions"]) == {"pyserini", "anserini", "lucene"}


def test_a_copy_of_the_corpus_is_the_same_corpus(index: Path, corpus: Path, tmp_path: Path) -> None:
    check(index, Path(shutil.copy(corpus, tmp_path / "copy.jsonl")))


def test_an_index_of_another_corpus_is_refused(index: Path, tmp_path: Path) -> None:
    other = write_corpus(tmp_path / "other.jsonl", CONTENTS[1:])
    with pytest.raises(UserError, match=r"was built from another corpus than .*other\.jsonl; build it with"):
        check(index, other)
    with pytest.raises(UserError, match="cannot read the corpus"):
        check(index, tmp_path / "none.jsonl")


def test_a_search_is_refused_once_the_corpus_has_changed(tmp_path: Path, config: RetrievalConfig) -> None:
    path = write_corpus(tmp_path / "c.jsonl")
    build(path, tmp_path / "index", config)
    os.utime(path)
    LuceneRetriever(tmp_path / "index", config)  # touched, not changed
    write_corpus(path, CONTENTS[:-1])
    with pytest.raises(UserError, match="was built from another corpus"):
        LuceneRetriever(tmp_path / "index", config)
    path.unlink()  # an index may be moved to where its corpus is not
    assert LuceneRetriever(tmp_path / "index", config).search(["karvik"], 1)[0]


def test_the_card_of_another_index_is_refused(index: Path, tmp_path: Path, config: RetrievalConfig) -> None:
    build(write_corpus(tmp_path / "c.jsonl", CONTENTS[::-1]), tmp_path / "index", config)
    for name in ("card.json", "source.json"):
        shutil.copy(index / name, tmp_path / "index" / name)
    with pytest.raises(UserError, match="belongs to another index"):
        LuceneRetriever(tmp_path / "index", config)


def test_what_is_no_index_or_a_damaged_one_is_said_in_one_sentence(
    index: Path, tmp_path: Path, config: RetrievalConfig
) -> None:
    with pytest.raises(UserError, match=r"no index at .*none .*igsearch index"):
        LuceneRetriever(tmp_path / "none", config)
    copy = Path(shutil.copytree(index, tmp_path / "copy"))
    for segment in (copy / "lucene").glob("segments_*"):
        segment.write_bytes(b"")
    with pytest.raises(UserError, match="is damaged"):
        LuceneRetriever(copy, config)
    shutil.rmtree(copy / "lucene")
    with pytest.raises(UserError, match="is damaged"):
        LuceneRetriever(copy, config)
    (copy / "card.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"card\.json is damaged"):
        check(copy)
    (copy / "card.json").write_text('{"kind": "lucene", "format": 0}', encoding="utf-8")
    with pytest.raises(UserError, match="not a Lucene index of format 1"):
        check(copy)


# --- building


def test_progress_counts_passages(tmp_path: Path, config: RetrievalConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lucene, "_CALL_CHARACTERS", 250)
    seen: list[int] = []
    build(write_corpus(tmp_path / "c.jsonl"), tmp_path / "index", config, seen.append)
    assert seen == sorted(set(seen))
    assert len(seen) > 2
    assert seen[-1] == len(CONTENTS)


def test_the_calls_that_passages_go_to_java_in_change_nothing(
    index: Path, tmp_path: Path, config: RetrievalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lucene, "_CALL_CHARACTERS", 1)
    build(write_corpus(tmp_path / "c.jsonl"), tmp_path / "index", config)
    queries = ["karvik mortan", "heroes album", "twin words", "company city tos river"]
    expected = LuceneRetriever(index, config).search(queries, 9)
    assert LuceneRetriever(tmp_path / "index", config).search(queries, 9) == expected


def test_no_line_break_of_a_passage_ends_its_line_on_the_way_to_java(tmp_path: Path, config: RetrievalConfig) -> None:
    contents = [
        (str(number), f"karvik{mark}belora\u2028\x85😀") for number, mark in enumerate(("\n\n", "\r", "\r\n", "\x0b"))
    ]
    build(write_corpus(tmp_path / "c.jsonl", contents), tmp_path / "index", config)
    hits = LuceneRetriever(tmp_path / "index", config).search(["belora"], 9)[0]
    assert {hit.passage.id: hit.passage for hit in hits} == {each[0]: parse_contents(*each) for each in contents}


def test_a_malformed_corpus_leaves_the_old_index_and_nothing_else(tmp_path: Path, config: RetrievalConfig) -> None:
    path = write_corpus(tmp_path / "c.jsonl")
    build(path, tmp_path / "index", config)
    bad = write_corpus(tmp_path / "bad.jsonl", [*CONTENTS, ("d1", "again")])
    with pytest.raises(UserError, match=r"bad\.jsonl:10: the id 'd1' is already that of line 1"):
        build(bad, tmp_path / "index", config)
    with pytest.raises(UserError, match=r"bad\.jsonl:10"):
        build(bad, tmp_path / "new", config)
    check(tmp_path / "index", path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bad.jsonl", "c.jsonl", "index"]


def test_a_corpus_changed_while_it_is_indexed_is_refused(
    tmp_path: Path, config: RetrievalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_corpus(tmp_path / "c.jsonl")
    with pytest.raises(UserError, match="was changed while it was being indexed"):
        build(path, tmp_path / "index", config, lambda _: os.utime(path, ns=(1, 1)))
    assert not (tmp_path / "index").exists()


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path, corpus: Path, config: RetrievalConfig) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds other files than an index, such as thesis\.tex"):
        build(corpus, tmp_path, config)
    assert (tmp_path / "thesis.tex").exists()
    build(corpus, tmp_path / "index", config)
    (tmp_path / "index/notes.txt").write_text("beside the index")
    with pytest.raises(UserError, match=r"such as notes\.txt"):
        build(corpus, tmp_path / "index", config)


def test_an_index_that_lost_its_card_is_built_again(tmp_path: Path, corpus: Path, config: RetrievalConfig) -> None:
    card = build(corpus, tmp_path / "index", config)
    (tmp_path / "index/card.json").unlink()
    assert build(corpus, tmp_path / "index", config) == card


def test_an_output_folder_that_cannot_be_written_is_a_user_error(corpus: Path, config: RetrievalConfig) -> None:
    with pytest.raises(UserError, match="cannot write"):
        build(corpus, corpus / "below-a-file", config)


def test_a_full_disk_is_a_user_error_and_leaves_nothing(tmp_path: Path) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"  # Lucene's writes fail as on a full disk
    process = _build_in_subprocess(_long_corpus(tmp_path / "c.jsonl", 2_000), tmp_path / "index", limit)
    printed, _ = process.communicate(timeout=120)
    assert "UserError cannot write" in printed
    assert "choose another output folder" in printed
    assert [item.name for item in tmp_path.iterdir()] == ["c.jsonl"]


def test_a_killed_build_leaves_nothing_that_looks_like_an_index(tmp_path: Path) -> None:
    process = _build_in_subprocess(_long_corpus(tmp_path / "c.jsonl", 10_000), tmp_path / "index")
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert not (tmp_path / "index").exists()
    assert not list(tmp_path.rglob("card.json"))


def test_ctrl_c_ends_a_build_and_removes_what_it_wrote(tmp_path: Path) -> None:
    process = _build_in_subprocess(_long_corpus(tmp_path / "c.jsonl", 10_000), tmp_path / "index")
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == -signal.SIGINT
    assert [item.name for item in tmp_path.iterdir()] == ["c.jsonl"]
