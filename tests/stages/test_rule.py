"""The rule of the cards, on real stages of a small world."""

import json
import multiprocessing
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from igsearch.config import Config, build
from igsearch.errors import Interrupted, UserError
from igsearch.provenance import Card
from igsearch.stages import layout, rule, tracked
from igsearch.stages.layout import Layout
from igsearch.stages.rule import Context, Plan
from igsearch.stages.table import STAGES, Job

WORLD, PREPARE = Job(STAGES["world"]), Job(STAGES["prepare"])
SMALL = {
    "world": {"works": 16, "persons": 24, "cities": 12, "companies": 12, "regions": 4}
    | {"train_questions": 24, "validation_questions": 6, "test_questions": 6}
}


def small(**world: int) -> Config:
    return build({"world": {**SMALL["world"], **world}})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(small().to_yaml(), encoding="utf-8")
    return tmp_path


def bring(job: Job, config: Config) -> tuple[rule.Done, list[str]]:
    said: list[str] = []
    where = layout.of(config)
    rule.lay_foundations(job, where, said.append, rule.quiet)
    return rule.run(job, where, say=said.append), said


def test_a_second_run_reuses_and_says_so(here: Path) -> None:
    first, _ = bring(PREPARE, small())
    second, said = bring(PREPARE, small())
    assert (first.reused, second.reused) == (False, True)
    assert said == ["prepare: up to date, reused"]
    assert first.card == second.card


def test_the_card_names_inputs_outputs_command_and_commit(here: Path) -> None:
    bring(WORLD, small())
    card = json.loads(Path("artifacts/cards/world.json").read_text(encoding="utf-8"))
    assert {"stage", "input_digest", "inputs", "outputs", "command", "commit", "run_id"} == set(card)
    assert "config world" in card["inputs"]
    assert "module benchmarks/world.py" in card["inputs"]
    assert set(card["outputs"]) == {"corpus", "questions"}


def test_outputs_hold_neither_time_nor_commit(here: Path) -> None:
    first, _ = bring(PREPARE, small())
    shutil.rmtree("artifacts/prepared")
    second, said = bring(PREPARE, small())
    assert said == ["prepare: its output is missing or was changed"]
    assert first.card.outputs == second.card.outputs


def test_a_changed_output_is_made_again(here: Path) -> None:
    bring(PREPARE, small())
    path = Path("artifacts/prepared/nq/test.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    done, _ = bring(PREPARE, small())
    assert not done.reused
    assert path.read_bytes() == whole


@pytest.mark.parametrize("name", ["data/benchmarks/nq.jsonl", "data/corpus.jsonl"])
def test_the_world_is_not_written_over_data_of_ones_own(name: str, here: Path) -> None:
    mine = Path(name)
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="no world's"):
        bring(WORLD, small())
    assert mine.read_text(encoding="utf-8") == "mine"


def test_a_world_of_which_half_was_removed_is_made_again(here: Path) -> None:
    bring(WORLD, small())
    shutil.rmtree("data/benchmarks")
    assert not bring(WORLD, small())[0].reused
    assert Path("data/benchmarks/nq/test.jsonl").is_file()


def test_a_changed_setting_is_named(here: Path) -> None:
    bring(WORLD, small())
    other = small(seed=8)
    Path("params.yaml").write_text(other.to_yaml(), encoding="utf-8")
    assert Plan(WORLD, layout.of(other)).stale() == "changed: config world"


def test_a_setting_of_another_stage_changes_nothing(here: Path) -> None:
    bring(PREPARE, small())
    other = build({**SMALL, "train": {"steps": 3}})
    Path("params.yaml").write_text(other.to_yaml(), encoding="utf-8")
    assert bring(PREPARE, other)[0].reused


def test_a_changed_module_makes_only_its_dependents_stale(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(PREPARE, small())
    copy = here / "package"
    shutil.copytree(rule.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(rule, "PACKAGE", copy)
    (copy / "credit" / "grpo.py").write_text("# other\n", encoding="utf-8")
    assert Plan(PREPARE, layout.of(small())).stale() is None
    (copy / "benchmarks" / "nq.py").write_text("# other\n", encoding="utf-8")
    assert Plan(PREPARE, layout.of(small())).stale() == "changed: module benchmarks/nq.py"
    assert Plan(WORLD, layout.of(small())).stale() is None


def test_overrides_go_to_a_folder_of_their_own(here: Path) -> None:
    bring(PREPARE, small())
    before = Path("artifacts/cards/prepare.json").read_bytes()
    other = small(seed=8)
    done, _ = bring(PREPARE, other)
    folder = Path("artifacts/runs") / other.digest[:12]
    assert not done.reused
    assert (folder / "prepared/nq/test.jsonl").is_file()
    assert (folder / "data/corpus.jsonl").is_file()
    assert Path("artifacts/cards/prepare.json").read_bytes() == before


def test_a_run_with_overrides_takes_over_what_the_project_has_made(here: Path) -> None:
    project, _ = bring(PREPARE, small())
    other = build({**SMALL, "train": {"steps": 3}})
    done, said = bring(PREPARE, other)
    assert done.reused
    assert "prepare: taken over from prepare of the project, which has the same inputs" in said
    assert done.card == project.card
    assert Plan(PREPARE, layout.of(other)).stale() is None


def test_an_evaluation_with_overrides_takes_the_policy_that_the_project_trained(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And logs its figures, which may be of fewer questions, in a run of its own."""

    def train(context: Context) -> str:
        (context.out / "policy").mkdir(parents=True)
        (context.out / "policy/weights").touch()
        return "run of the project"

    monkeypatch.setattr("igsearch.stages.train.run", train)
    few = {**SMALL, "warm_start": {"steps": 2}}
    Path("params.yaml").write_text(build(few).to_yaml(), encoding="utf-8")
    bring(Job(STAGES["train"], "grpo", 0), build(few))
    job, where = Job(STAGES["evaluate"], "grpo", 0), layout.of(build({**few, "data": {"limit": 2}}))
    rule.lay_foundations(job, where, lambda _: None, rule.quiet)
    assert where.run
    assert where.at("artifacts/train/grpo-0/policy/weights").is_file()
    assert Plan(job, where).missing == []
    assert tracked._training_run(job, where) is None
    assert tracked._training_run(job, layout.of(build(few))) == "run of the project"

    other = layout.of(build({**few, "train": {"steps": 3}}))
    rule.lay_foundations(job, other, lambda _: None, rule.quiet)
    with pytest.raises(UserError, match=r"run `igsearch train --method grpo --seed 0` .*\(with the same --profile"):
        rule.run(job, other)


def test_a_missing_input_names_the_command_that_makes_it(here: Path) -> None:
    job = Job(STAGES["evaluate"], "grpo", 3)
    rule.lay_foundations(PREPARE, layout.of(small()), print, rule.quiet)
    with pytest.raises(UserError, match=r"index/card.json is missing: run `igsearch index` or|prepared is missing"):
        rule.run(job, layout.of(small()))


def test_missing_raw_data_are_named(here: Path) -> None:
    config = build({"data": {"synthetic": False, "corpus": "nowhere.jsonl"}})
    with pytest.raises(UserError, match=r"nowhere.jsonl is missing: name an existing file"):
        rule.run(Job(STAGES["index"]), Layout(config))


def _start(directory: Path) -> tuple[Job, Config]:
    """The start policy where no warm start makes it, and all else that the stage reads."""
    config = build({"warm_start": None, "policy": {"name": str(directory)}})
    Path("params.yaml").write_text(config.to_yaml(), encoding="utf-8")
    layout.of(config).at("artifacts/index/card.json").mkdir(parents=True)
    return Job(STAGES["warm_start"]), config


def test_new_weights_in_the_same_folder_are_a_new_start_policy(here: Path) -> None:
    Path("model").mkdir()
    (here / "model/weights").write_bytes(b"1")
    job, config = _start(Path("model"))
    first = rule.run(job, layout.of(config))
    assert rule.run(job, layout.of(config)).reused
    (here / "model/weights").write_bytes(b"2")
    assert Plan(job, layout.of(config)).stale() == "changed: data policy"
    second = rule.run(job, layout.of(config))
    assert first.card.outputs != second.card.outputs


def test_a_start_policy_that_does_not_exist_is_one_sentence(here: Path) -> None:
    job, config = _start(Path("nowhere"))
    with pytest.raises(UserError, match=r"no policy nowhere: set policy\.name to smollm2 or"):
        rule.run(job, layout.of(config))


def test_a_stage_cannot_read_what_it_does_not_declare(here: Path) -> None:
    bring(WORLD, small())
    context = Context(Plan(PREPARE, layout.of(small())), print, rule.quiet)
    assert context.input("questions") == Path("data/benchmarks")
    with pytest.raises(KeyError, match="corpus is not an input of prepare"):
        context.input("corpus")


def test_a_card_that_is_cut_off_counts_as_none(here: Path) -> None:
    bring(WORLD, small())
    card = Path("artifacts/cards/world.json")
    card.write_bytes(card.read_bytes()[:40])
    assert Card.read(card) is None
    assert Plan(WORLD, layout.of(small())).stale() == "never made"


def _stub(monkeypatch: pytest.MonkeyPatch, run: Callable[[Context], None]) -> None:
    monkeypatch.setattr("igsearch.stages.prepare.run", run)


def test_ctrl_c_names_what_is_kept_and_leaves_outputs_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(PREPARE, small())
    Path("artifacts/prepared/nq/test.jsonl").unlink()

    def half(context: Context) -> None:
        (context.work / "progress").write_text("1", encoding="utf-8")
        (context.out / "half").mkdir(parents=True)
        raise KeyboardInterrupt

    _stub(monkeypatch, half)
    with pytest.raises(Interrupted, match=r"prepare was interrupted; its progress is kept in artifacts/\.work/\w{16}"):
        rule.run(PREPARE, layout.of(small()))
    assert not Path("artifacts/prepared/half").exists()


def test_a_full_disk_is_one_sentence_whatever_a_library_makes_of_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.save answers a full disk with a RuntimeError about the position in its archive."""
    bring(WORLD, small())

    def save(_: Context) -> None:
        raise RuntimeError("unexpected pos 64 vs 0")

    _stub(monkeypatch, save)
    with pytest.raises(RuntimeError, match="unexpected pos"):
        rule.run(PREPARE, layout.of(small()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(UserError, match=r"the disk of .* is full; what is done is kept in artifacts/\.work/\w{16}"):
        rule.run(PREPARE, layout.of(small()))


def test_a_work_folder_that_vanishes_is_one_sentence(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(WORLD, small())

    def work(context: Context) -> None:
        shutil.rmtree(context.work)
        (context.work / "progress").touch()

    _stub(monkeypatch, work)
    with pytest.raises(UserError, match="vanished while prepare was working there; the same command starts afresh"):
        rule.run(PREPARE, layout.of(small()))
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert not bring(PREPARE, small())[0].reused


def test_a_world_killed_between_its_two_outputs_is_made_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus alone would be taken for somebody's own."""
    place, placed = rule._place, list[Path]()

    def once(source: Path, target: Path) -> None:
        if placed:
            raise SystemExit
        placed.append(target)
        place(source, target)

    monkeypatch.setattr(rule, "_place", once)
    with pytest.raises(SystemExit):
        bring(WORLD, small())
    monkeypatch.setattr(rule, "_place", place)
    assert not bring(WORLD, small())[0].reused


def test_what_a_killed_process_left_beside_an_output_is_removed(here: Path) -> None:
    bring(WORLD, small())
    died = subprocess.Popen(["true"])
    died.wait()
    left = [Path(f"artifacts/{name}.{died.pid}.tmp") for name in (".prepared", "cards/.prepare.json")]
    for path in left:
        path.mkdir(parents=True)
    bring(PREPARE, small())
    assert not any(path.exists() for path in left)


def test_no_resume_starts_from_an_empty_work_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(WORLD, small())
    found: list[list[str]] = []

    def look(context: Context) -> None:
        found.append(sorted(path.name for path in context.work.iterdir()))
        (context.work / "checkpoint").touch()
        raise UserError("stop")

    _stub(monkeypatch, look)
    for resume in (True, True, False):
        with pytest.raises(UserError, match="stop"):
            rule.run(PREPARE, layout.of(small()), resume=resume)
    assert found == [["out"], ["checkpoint", "out"], ["out"]]


def _bring_in_a_process(queue: "multiprocessing.Queue[bool]") -> None:
    queue.put(rule.run(WORLD, layout.of(small())).reused)


def test_two_processes_never_do_the_same_job_at_once(here: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bool] = context.Queue()
    both = [context.Process(target=_bring_in_a_process, args=(queue,)) for _ in range(2)]
    for process in both:
        process.start()
    reused = sorted(queue.get(timeout=120) for _ in both)
    for process in both:
        process.join()
    assert reused == [False, True]


def test_torchrun_is_refused_as_its_processes_would_wait_for_each_other(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="world is the work of one process: start it without torchrun"):
        rule.run(WORLD, layout.of(small()))


@pytest.mark.parametrize(("key", "value"), [("train.steps", 80), ("methods.ig_search.alpha", 0.3), ("retrieval.k", 1)])
def test_settings_are_found_by_dotted_key(key: str, value: float) -> None:
    assert rule.setting(Config(), key) == value


def test_a_section_that_is_switched_off_reads_as_none() -> None:
    assert rule.setting(build({"warm_start": None}), "warm_start.steps") is None


def test_two_seeds_of_a_method_are_two_pieces_of_work(here: Path) -> None:
    """They share every setting and input; sharing a folder for checkpoints would let one resume as the other."""
    where = layout.of(small())
    for name in ("artifacts/prepared", "artifacts/index/card.json", "artifacts/warm_start"):
        where.at(name).mkdir(parents=True)
    plans = [Plan(Job(STAGES["train"], "grpo", seed), where) for seed in (0, 1)]
    assert plans[0].work != plans[1].work
