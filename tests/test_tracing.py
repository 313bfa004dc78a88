"""Traces of episodes in a real MLflow store: their spans, their scores, and that none is written twice."""

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted
from mlflow import MlflowClient
from mlflow.entities import SpanType, Trace
from mlflow.tracing.client import TracingClient

from igsearch import inference, tracing, tracking
from igsearch.config import Config
from igsearch.evaluation import store as evaluations
from igsearch.evaluation.evaluate import evaluate
from igsearch.policy.base import Policy
from igsearch.records import BENCHMARKS, Question
from igsearch.stages import benchmark_run, tracked

SHELF = {"karvik": "karvik is by meldon", "torras": "torras was born in baldon", "baldon": "baldon is in karras"}
TEXTS = ("who wrote karvik", "where was torras born", "who is baldon by")
TOLD = {"run": "ig_search-0", "method": "ig_search", "synthetic": True}
PER_BENCHMARK = 6
ANSWERING = [name for name in inference.METHODS if not inference.refusal(name, "tiny")]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return scripted.tiny_policy()


def evaluated(policy: Policy, out: Path, method: str = "agent", limit: int | None = None) -> Path:
    """An evaluation folder of an untrained policy."""
    asked = {
        name: [Question(str(i), name, TEXTS[i % 3], ("meldon",), 1 + i % 3) for i in range(PER_BENCHMARK)]
        for name in BENCHMARKS
    }
    base = Config()
    data = base.data.model_copy(update={"limit": limit})
    config = base.model_copy(update={"rollout": scripted.settings(policy, max_turn_tokens=12), "data": data})
    subject = evaluations.Subject("untrained", method, "tiny", synthetic=True)
    shelf = scripted.Shelf(**SHELF)
    evaluate(policy, shelf, asked, config, subject, out, corpus_digest="c", policy_digest="p")
    return out


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / evaluations.TRAJECTORIES).read_text(encoding="utf-8")
    return [{**json.loads(line), "benchmark": "nq"} for line in text.splitlines()]


def searched() -> dict[str, Any]:
    """A trajectory of two searches; the second shows again what the first has shown, and a hit that is cut off."""
    hit, other = ({"id": name, "title": name.upper(), "score": 2.5} for name in ("a", "b"))
    segments = [
        "<search> x</search>",
        "<documents> A x .</documents>",
        "<search> y</search>",
        "<documents> A B </documents>",
    ]
    spans = [
        {"kind": "documents", "start": 2, "end": 3, "step": 0, "text": "A x ."},
        {"kind": "documents", "start": 4, "end": 5, "step": 1, "text": "A B"},
    ]
    return {
        "uid": "nq/1",
        "benchmark": "nq",
        "question": "who?",
        "answers": ["meldon", "Meldon"],
        "prediction": None,
        "end": "malformed",
        "end_sentence": "The last turn held neither.",
        "prompt": "who?",
        "segments": [{"by": "x", "text": text} for text in (*segments, "done")],
        "sampled": [1, 1, 0, 1, 0, 1],
        "spans": spans,
        "steps": [
            {"query": "x", "hits": [hit, other], "shown": 1, "new_passages": 1},
            {"query": "y", "hits": [hit, other], "shown": 2, "new_passages": 1},
        ],
        "asides": [{"step": 1, "prompt": "read", "text": "B it is"}],
        "em": 0.0,
        "f1": 0.25,
    }


def examined(rollout: int = 0, uid: str = "nq/1") -> dict[str, Any]:
    """A rollout of one search, whose gain was measured."""
    document = {"id": "a", "title": "A", "text": "A is by meldon.", "score": 3.0, "new": True, "shown": True}
    gain = {"gain": 0.5, "real": -1.0, "random": [-1.25, -1.75], "truncated": 0}
    return {
        "id": f"{uid}#{rollout}",
        "uid": uid,
        "benchmark": "nq",
        "question": "who?",
        "answers": ["meldon"],
        "hops": 1,
        "rollout": rollout,
        "prediction": "meldon",
        "end": "answered",
        "end_sentence": "The policy wrote a complete answer.",
        "reward": 1.0,
        "em": 1.0,
        "f1": 1.0,
        "prompt": "who?",
        "tokens": ["<search>", " x", "</search>", "<documents>", " A", "</documents>", "<answer> meldon</answer>"],
        "sampled": [1, 1, 1, 0, 0, 0, 1],
        "spans": [{"kind": "documents", "start": 4, "end": 5, "step": 0, "text": "A"}],
        "steps": [{"query": "x", "new_passages": 1, "documents": [document], "gain": gain}],
        "asides": [],
    }


def traces_of(client: MlflowClient, run_id: str) -> list[Trace]:
    found = client.search_traces(locations=[tracking.open_store()[1]], run_id=run_id, max_results=500)
    return sorted(found, key=lambda trace: trace.info.tags["igsearch.uid"])


def nodes(node: tracing.Node) -> Iterator[tracing.Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


@pytest.mark.parametrize("method", ANSWERING)
def test_a_tree_holds_what_the_policy_wrote_and_every_search_once(method: str, policy: Policy, tmp_path: Path) -> None:
    for row in lines(evaluated(policy, tmp_path / "out", method, limit=3)):
        made = list(nodes(tracing.tree(row, TOLD)))
        turns = [node.outputs["choices"][0]["message"]["content"] for node in made if node.type == SpanType.CHAT_MODEL]
        assert turns == [each["text"] for each in row["segments"] if each["by"] == "policy"]
        searches = [node for node in made if node.type == SpanType.RETRIEVER]
        assert [node.inputs["query"] for node in searches] == [step["query"] for step in row["steps"]]
        new = [sum(each["metadata"]["new"] and each["metadata"]["shown"] for each in node.outputs) for node in searches]
        assert new == [step["new_passages"] for step in row["steps"]]
        assert sum(node.name == "aside" for node in made) == len(row["asides"])


def test_documents_have_the_text_that_was_shown_or_their_title() -> None:
    first, second = (node for node in nodes(tracing.tree(searched(), {})) if node.type == SpanType.RETRIEVER)
    assert [each["page_content"] for each in first.outputs] == ["A x .", "B"]
    assert [each["metadata"]["shown"] for each in first.outputs] == [True, False]
    assert [each["page_content"] for each in second.outputs] == ["A", "B"]
    assert [each["metadata"]["new"] for each in second.outputs] == [False, True]
    assert second.attributes["shown_text"] == "A B"
    assert [child.outputs for child in second.children] == ["B it is"]


def test_a_turn_is_told_what_came_since_the_last(policy: Policy) -> None:
    turns = [node for node in nodes(tracing.tree(searched(), {})) if node.type == SpanType.CHAT_MODEL]
    assert [[said["role"] for said in node.inputs["messages"]] for node in turns] == [["user"], ["tool"], ["tool"]]
    assert turns[1].inputs["messages"][0]["content"] == "<documents> A x .</documents>"


def test_an_empty_search_is_a_retrieval_without_documents() -> None:
    """An examined search that finds nothing has `documents: []`, and no `hits`."""
    row = examined()
    row["steps"] = [{"query": "x", "new_passages": 0, "documents": [], "gain": None}, *row["steps"]]
    row["spans"] = [{**row["spans"][0], "step": 1}]
    retrieved = [node.outputs for node in nodes(tracing.tree(row, {})) if node.type == SpanType.RETRIEVER]
    assert [len(documents) for documents in retrieved] == [0, 1]


def test_a_trace_reads_back_with_spans_scores_and_answers(store: MlflowClient) -> None:
    with tracking.run("read", {}, {}) as run:
        tracing.log(run.id, "evaluation", [searched()], TOLD)
    (trace,) = traces_of(store, run.id)
    assert (trace.info.request_preview, trace.info.response_preview) == ("who?", "The last turn held neither.")
    told = {each.name: each for each in trace.info.assessments}
    assert {name: told[name].value for name in ("em", "f1", "answers")} == {
        "em": 0.0, "f1": 0.25, "answers": ["meldon", "Meldon"],
    }  # fmt: skip
    assert told["em"].source.source_type == "CODE"
    spans = sorted(trace.data.spans, key=lambda span: span.start_time_ns)
    assert [span.name for span in spans] == ["nq/1", "turn 1", "search 1", "turn 2", "search 2", "aside", "turn 3"]
    root = spans[0]
    attributes = {name: root.attributes[name] for name in ("uid", "searches", "sampled_tokens", "end", "synthetic")}
    assert attributes == {"uid": "nq/1", "searches": 2, "sampled_tokens": 4, "end": "malformed", "synthetic": True}
    assert root.attributes["times"].startswith("not measured")
    ends = {span.span_id: span.end_time_ns for span in spans}
    assert all(span.end_time_ns <= ends[span.parent_id] for span in spans if span.parent_id)
    assert len(ends) == len(spans)


def test_a_rollout_has_its_gain_and_scores_of_its_own(store: MlflowClient) -> None:
    with tracking.run("gain", {}, {}) as run:
        tracing.log(run.id, "examined", [examined()], TOLD)
    (trace,) = traces_of(store, run.id)
    told = {each.name: each.value for each in trace.info.assessments}
    assert told == {"em of rollout": 1.0, "f1 of rollout": 1.0, "information gain": 0.5, "answers": ["meldon"]}
    spans = {span.name: span for span in trace.data.spans}
    gain, search = spans["information gain +0.50"], spans["search 1"]
    assert gain.parent_id == search.span_id
    assert gain.outputs == {"gain": 0.5, "real": -1.0, "mean_of_random": -1.5}
    assert gain.inputs["log_probability"] == {"real": -1.0, "random": [-1.25, -1.75]}
    assert search.outputs[0]["page_content"] == "A is by meldon."


def test_nothing_is_logged_twice_and_what_has_changed_is_replaced(store: MlflowClient) -> None:
    rows = [examined(i) for i in range(3)]
    with tracking.run("first", {}, {}) as run, tracking.run("second", {}, {}) as other:
        assert tracing.log(run.id, "examined", rows, TOLD) == 3
        assert tracing.log(run.id, "examined", rows, TOLD) == 0
        assert tracing.log(other.id, "examined", rows, TOLD) == 3
        assert tracing.log(run.id, "evaluation", [searched()], TOLD) == 1
        assert tracing.log(run.id, "examined", [*rows[:1], {**rows[1], "prediction": "bal"}], TOLD) == 1
    found = traces_of(store, run.id)
    assert Counter(trace.info.tags["igsearch.kind"] for trace in found) == {"examined": 2, "evaluation": 1}
    assert {trace.info.response_preview for trace in found} >= {"bal", "meldon"}
    assert len(traces_of(store, other.id)) == 3


def test_traces_that_were_cut_short_are_written_whole_the_next_time(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, begin, begun = [examined(i) for i in range(3)], TracingClient.start_trace, list[str]()

    def once(self: TracingClient, info: Any) -> Any:
        begun.append(info.trace_id)
        if len(begun) == 2:
            raise OSError("disk full")
        return begin(self, info)

    with tracking.run("cut", {}, {}) as run:
        with monkeypatch.context() as patch:
            patch.setattr(TracingClient, "start_trace", once)
            with pytest.raises(OSError, match="disk full"):
                tracing.log(run.id, "examined", rows, TOLD)
        assert tracing.log(run.id, "examined", rows, TOLD) == 2
    found = traces_of(store, run.id)
    assert [len(trace.data.spans) for trace in found] == [5] * 3
    assert [len(trace.info.assessments) for trace in found] == [4] * 3


def test_a_process_that_leaves_at_once_leaves_its_traces(store: MlflowClient) -> None:
    """igsearch ends by os._exit, which waits for no thread of an exporter."""
    with tracking.run("left", {}, {}) as run:
        code = (
            "import json, os, sys; from igsearch import tracing; "
            "tracing.log(sys.argv[1], 'examined', json.loads(sys.argv[2]), {}); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", code, run.id, json.dumps([examined()])], check=True, env=dict(os.environ))
    (trace,) = traces_of(store, run.id)
    assert len(trace.data.spans) == 5


def test_the_same_questions_are_traced_for_every_method_evenly_over_the_benchmarks(
    store: MlflowClient, policy: Policy, tmp_path: Path
) -> None:
    folders = [evaluated(policy, tmp_path / method, method) for method in ("agent", "direct")]
    uids = []
    for folder in folders:
        with tracking.run(folder.name, {}, {}) as run:
            for _ in range(2):
                tracked.trace_evaluation(run.id, folder.name, folder, 20)
        found = traces_of(store, run.id)
        uids.append([trace.info.tags["igsearch.uid"] for trace in found])
        counts = Counter(trace.info.tags["benchmark"] for trace in found)
        assert sum(counts.values()) == 20
        assert set(counts) == set(BENCHMARKS)
        assert set(counts.values()) == {2, 3}
        records = {each.uid: each for each in evaluations.load(folder).records}
        for trace in found:
            told = {each.name: each.value for each in trace.info.assessments}
            assert told["f1"] == records[trace.info.tags["igsearch.uid"]].f1
    assert uids[0] == uids[1]


def test_zero_switches_traces_off(store: MlflowClient, policy: Policy, tmp_path: Path) -> None:
    folder = evaluated(policy, tmp_path / "out", limit=1)
    with tracking.run("off", {}, {}) as run:
        tracked.trace_evaluation(run.id, "off", folder, 0)
    assert traces_of(store, run.id) == []


def test_an_evaluation_does_not_fail_where_its_traces_do(
    store: MlflowClient, policy: Policy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = evaluated(policy, tmp_path / "out", limit=1)
    (folder / evaluations.TRAJECTORIES).write_text('{"uid": "nq/0"}\n', encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        tracked.trace_evaluation("0" * 32, "grpo-0", folder, 5)
    (told,) = [each.getMessage() for each in caplog.records if each.name == tracked.__name__]
    assert told.startswith("grpo-0: MLflow has not taken all of its traces")


def test_the_first_rollout_of_each_question_is_traced(store: MlflowClient, tmp_path: Path) -> None:
    rows = [examined(rollout, f"nq/{place}") for place in range(3) for rollout in range(2)]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "about.json").write_text(json.dumps({**TOLD, "gain_settings": "ig_search"}), encoding="utf-8")
    with tracking.run("looked at", {}, {}) as run:
        tracked.trace_examined(run.id, "ig_search-0", tmp_path, 2)
    found = traces_of(store, run.id)
    assert [trace.info.tags["mlflow.traceName"] for trace in found] == ["nq/0#0", "nq/1#0"]
    assert found[0].info.tags["gain_settings"] == "ig_search"


def test_a_partial_evaluation_is_marked_in_figures_and_tags(policy: Policy, tmp_path: Path) -> None:
    part = tracked.read_summary(evaluated(policy, tmp_path / "part", limit=1))
    whole = tracked.read_summary(evaluated(policy, tmp_path / "whole"))
    assert tracked.figures(part)["partial"] == 1.0
    assert tracked.figures(whole)["partial"] == 0.0
    assert tracked.marks(part["partial"])["partial"] == "; ".join(part["partial"]) != ""
    assert tracked.marks(whole["partial"]) == {"partial": "no"}


def test_averages_of_tables_become_metrics_and_single_benchmarks_do_not() -> None:
    main = [
        {"method": "grpo", "seeds": "3", "synthetic": "True", "partial": "", "metric": metric, "nq": "0.9",
         "2wikimultihopqa_95_low": "0.1", "macro": "0.500000", "macro_95_low": "0.450000"}
        for metric in ("em", "f1")
    ]  # fmt: skip
    assert benchmark_run.averages(main) == {
        "grpo": {
            f"{metric}/{name}": value
            for metric in ("em", "f1")
            for name, value in {"seeds": 3.0, "macro": 0.5, "macro_95_low": 0.45}.items()
        }
    }
    differences = [
        {"method": "ig_search", "base": "grpo", "metric": "em", "figure": figure, "points": "-1.5", "p_holm": "",
         "points_by_seed": "+1.0000 -4.0000", "verdict": "tie"}
        for figure in ("nq", "macro average")
    ]  # fmt: skip
    assert benchmark_run.averages(differences) == {"ig_search": {"grpo/em/macro average/points": -1.5}}
