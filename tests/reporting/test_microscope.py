"""What the microscope's page is made of."""

import base64
import hashlib
import json
import math
import re
from pathlib import Path

import made_rollouts as made
import pytest

from igsearch.errors import UserError
from igsearch.reporting import microscope, microscope_data
from igsearch.reporting.microscope_data import parts, payload, visible


def test_the_parts_of_a_transcript_spell_the_response_and_the_environment_is_apart() -> None:
    row = made.run()[1][1]
    found = parts(row)
    assert "".join(part["text"] if "text" in part else "".join(part["tokens"]) for part in found) == "".join(
        row["tokens"]
    )
    one = ["think", "text", "search", "documents", "refine"]
    assert [part["kind"] for part in found] == [*one, *one, "answer"]
    assert [part["step"] for part in found if part["kind"] == "search"] == [0, 1]
    assert sum(len(part.get("tokens", ())) for part in found) == sum(row["sampled"])


def test_a_token_of_two_spans_counts_to_the_narrower_and_an_injected_correction_is_no_document() -> None:
    row = made.rollout("nq/1", 0, [], "Meldon", ["Meldon"])
    size = len(row["tokens"])
    inner = {"kind": "think", "start": 1, "end": 2, "outer_start": 1, "outer_end": 2, "step": -1, "text": ""}
    row["spans"].insert(0, inner)
    row["sampled"][size - 1] = 0
    row["spans"][1]["outer_end"] = size - 1
    assert [part["kind"] for part in parts(row)] == ["answer", "think", "answer", "environment"]


def test_advantage_is_outcome_part_plus_step_part_at_each_sampled_token() -> None:
    row = made.run()[1][0]
    episode = payload((made.about(), [row]))["questions"][0]["groups"][0]["episodes"][0]
    whole, outcome, step = (
        [value for count, value in episode[name] for _ in range(count)] for name in ("whole", "outcome", "step")
    )
    assert len(whole) == sum(row["sampled"])
    assert [a + b for a, b in zip(outcome, step, strict=True)] == pytest.approx(whole, abs=1e-3)
    query = row["spans"][1]
    each = made.ALPHA * 2.5 / (query["end"] - query["start"])
    (value,) = {value for value in step if value}
    assert value == pytest.approx(each, rel=1e-3)
    assert step.count(value) == query["end"] - query["start"]


def test_a_method_without_step_signal_has_no_parts() -> None:
    episode = payload(made.other_run())["questions"][0]["groups"][0]["episodes"][0]
    assert episode["outcome"] is None
    assert episode["step"] is None


def test_groups_are_failed_uniform_right_and_changed_as_their_figures_say() -> None:
    questions = {each["uid"]: each for each in payload(made.run(), made.other_run())["questions"]}
    assert list(questions) == list(made.RIGHT)
    assert {uid for uid, each in questions.items() if each["failed"]} == {"nq/test_2", "musique/5"}
    assert {uid for uid, each in questions.items() if each["uniform"]} == {"nq/test_2", "musique/5"}
    assert {uid for uid, each in questions.items() if each["right"]} == {"nq/test_1", "musique/4"}
    changes = {
        uid: each["change"] and (each["change"]["kind"], each["change"]["by"]) for uid, each in questions.items()
    }
    assert changes == {
        "nq/test_1": ("same", "greedy EM"),
        "nq/test_2": ("spoiled", "greedy EM"),
        "hotpotqa/test_3": ("same", "greedy EM"),
        "musique/4": ("improved", "greedy EM"),
        "musique/5": ("spoiled", "mean EM of the group"),  # the other run has no greedy answer to it
        "bamboogle/6": None,
    }
    assert questions["bamboogle/6"]["groups"][1] is None
    assert questions["nq/test_1"]["gains"] == [2.5, -1.5]


def test_without_a_greedy_answer_a_question_is_right_where_half_of_its_group_is() -> None:
    _, rows = made.run()
    questions = payload((made.about(), rows))["questions"]
    assert {each["uid"] for each in questions if each["right"]} == {"nq/test_1", "hotpotqa/test_3", "bamboogle/6"}


def test_a_rollout_without_reward_spoils_neither_mean_nor_page() -> None:
    _, rows = made.run()
    rows[0] = {**rows[0], "reward": None, "end": "retriever_failed"}
    group = payload((made.about(), rows))["questions"][0]["groups"][0]
    assert group["reward"] == pytest.approx(4 / 7, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"end": "retriever_failed"}, "the retriever failed in this rollout"),
        ({}, "its documents are too short, or there is nothing to put in their place"),
    ],
)
def test_a_search_that_was_not_scored_says_why(changes: dict[str, str], why: str) -> None:
    step = {**made.search("q", [made.document("d", "t")], None)}
    row = {**made.rollout("nq/1", 0, [step, made.search("q", [], None)], "a", ["a"]), **changes}
    steps = payload((made.about(), [row]))["questions"][0]["groups"][0]["episodes"][0]["steps"]
    assert steps[0]["why"] == why
    assert steps[1]["why"] in (why, "the search found no documents")


@pytest.mark.parametrize(
    ("new", "answer", "why"),
    [
        (False, "a", "the search brought no passage that was new"),
        (True, "a", "every rollout of the group is right"),
        (True, "b", "its settings leave nothing to put in their place"),
    ],
)
def test_a_gain_that_the_method_does_not_score_is_shown_for_reference(new: bool, answer: str, why: str) -> None:
    step = {**made.search("q", [made.document("d", "t", new)], None), "reference": made.gain(-1.0, -2.0)}
    row = made.rollout("nq/1", 0, [step], answer, ["a"])
    shown = payload((made.about(), [row]))["questions"][0]["groups"][0]["episodes"][0]["steps"][0]
    assert (shown["gain"], shown["reference"]["gain"], shown["why"]) == (None, 1.0, why)


def test_an_unmeasured_gain_is_none_and_json_stays_json() -> None:
    step = made.search("q", [made.document("d", "t")], {"gain": 0.0, "real": math.nan, "random": [], "truncated": 0})
    data = payload((made.about(), [made.rollout("nq/1", 0, [step], "a", ["a"])]))
    assert data["questions"][0]["groups"][0]["episodes"][0]["steps"][0]["gain"] is None
    json.dumps(data, allow_nan=False)


def test_a_passage_that_many_rollouts_found_is_kept_once() -> None:
    data = payload(made.run())
    assert len(data["passages"]) == 2 * len(made.RIGHT)


def test_what_reorders_text_is_written_out_and_scripts_of_the_world_are_not() -> None:
    assert visible("a\u202eb\u2066c\x00\ud800\t\n") == "a[U+202E]b[U+2066]c[U+0000][U+D800]\t\n"
    assert visible("می‌خواهم 日本 é") == "می‌خواهم 日本 é"
    assert "\u202e" not in json.dumps(payload(made.hostile_run()), ensure_ascii=False)


def test_data_cannot_end_their_element_and_come_back_whole() -> None:
    page = microscope.page(*made.hostile_run())
    embedded = page.split('id="data">')[1].split("</script>")[0]
    assert "<" not in embedded
    assert json.loads(embedded) == payload(made.hostile_run())
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page


def test_the_content_security_policy_names_the_hashes_of_what_stands_in_the_page() -> None:
    page = microscope.page(*made.run())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    terms = policy[1].replace("&#39;", "'")
    assert terms.startswith("default-src 'none'; ")
    for element in ("style", "script"):
        (inline,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode() in terms
    assert "unsafe" not in terms


def test_the_page_refers_to_nothing_outside_of_itself() -> None:
    page = microscope.page(*made.run(), made.other_run())
    assert not re.search(r"""(?:src|href)=["'](?!#)|url\(|@import|https?://""", page)


def test_the_top_says_run_method_seed_policy_size_synthetic_and_whether_the_gain_is_credit() -> None:
    top = microscope.page(*made.run(), made.other_run()).split("</header>")[0]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", top))
    assert "Synthetic data" in text
    assert "ig_search-0: method ig_search, seed 0, answers by agent; 6 questions × 8 rollouts" in text
    assert "of policy artifacts/train/ig_search-0/policy. Information gain is part of this method’s credit" in text
    assert "grpo-0: method grpo, seed 0, answers by agent; 5 questions × 8 rollouts" in text
    assert "only measured, not part of this method’s credit" in text
    real = microscope.page(made.about(synthetic=False), made.run()[1])
    assert "Synthetic data" not in real


def test_one_synthetic_run_of_two_is_named() -> None:
    (_, rows), (_, others) = made.run(), made.other_run()
    page = microscope.page(made.about(synthetic=False), rows, (made.about("grpo-0"), others))
    assert "Synthetic data in <bdi>grpo-0</bdi>" in page


def test_gains_that_were_measured_by_different_settings_are_said_not_to_compare() -> None:
    rows, warning = made.run()[1], "measured by different settings"
    other = made.about("ig_search_shared-0", gain_settings="ig_search_shared")
    assert warning in microscope.page(made.about(), rows, (other, rows))
    assert warning not in microscope.page(made.about(), rows, made.other_run())


def test_200_long_rollouts_stay_below_10_mb(tmp_path: Path) -> None:
    about, rows = made.large_run()
    assert len(rows) == 200
    assert min(sum(row["sampled"]) for row in rows) > 900
    microscope.write(tmp_path / "page.html", about, rows)
    assert (tmp_path / "page.html").stat().st_size < 10e6


def test_the_same_rollouts_make_the_same_page() -> None:
    assert microscope.page(*made.run(), made.other_run()) == microscope.page(*made.run(), made.other_run())


def test_a_page_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="no rollouts of ig_search-0"):
        microscope.page(made.about(), [])


def test_the_script_puts_data_into_the_page_as_text_only() -> None:
    folder = Path(microscope_data.__file__).parent / "templates"
    script = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.js"))
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|DOMParser", script)
