"""Configuration: profiles, overrides, unknown keys, params.yaml."""

from pathlib import Path

import pytest
import yaml

from igsearch.config import Config, build, load, profiles
from igsearch.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent
NOWHERE = Path("/nonexistent/params.yaml")


def test_params_yaml_is_the_resolved_default() -> None:
    """The committed params.yaml is the embedded profile, to the byte."""
    assert (PROJECT / "params.yaml").read_text(encoding="utf-8") == Config().to_yaml()


def test_defaults_are_the_embedded_profile() -> None:
    assert load("embedded", params=NOWHERE) == Config() == load(params=NOWHERE)


@pytest.mark.parametrize("name", sorted(path.stem for path in (PROJECT / "profiles").glob("*.yaml")))
def test_every_profile_loads_and_round_trips(name: str, tmp_path: Path) -> None:
    config = load(name)
    assert config.profile == name
    params = tmp_path / "params.yaml"
    params.write_text(config.to_yaml(), encoding="utf-8")
    assert load(params=params) == config
    assert load(params=params).digest == config.digest


def test_set_overrides_the_profile_and_digests_differ() -> None:
    config = load("micro", ["train.steps=7", "methods.ig_search.alpha=1.5", "benchmark.seeds=[3, 4]"])
    assert (config.train.steps, config.methods["ig_search"].alpha, config.benchmark.seeds) == (7, 1.5, (3, 4))
    assert config.train.group_size == load("micro").train.group_size
    assert config.digest != load("micro").digest


def test_profiles_of_the_working_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/mine.yaml").write_text("train: {steps: 1}\n", encoding="utf-8")
    assert load("mine").train.steps == 1
    assert set(profiles()) >= {"mine", "embedded"}


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["train.stepz=3"], r"unknown key 'train.stepz' \(did you mean 'steps'\?\)"),
        (["trian.steps=3"], r"unknown key 'trian' \(did you mean 'train'\?\)"),
        (["methods.grpo.rul=x"], r"unknown key 'methods.grpo.rul' \(did you mean 'rule'\?\)"),
        (["methods.ig_search.stabiliser.bond=1"], r"unknown key .* \(did you mean 'bound'\?\)"),
        (["train.steps"], r"--set 'train.steps': write it as section.key=value"),
        (["train.steps=[1"], r"--set 'train.steps=\[1': the value is not valid YAML"),
        (["train.steps=many"], r"setting 'train.steps': .*integer"),
        (["train.steps=0"], r"setting 'train.steps': .*greater than 0"),
        (["data.train=[hotpot]"], r"unknown benchmark 'hotpot' \(did you mean 'hotpotqa'\?\)"),
        (["benchmark.methods=[ig_serch]"], r"unknown method 'ig_serch' \(did you mean 'ig_search'\?\)"),
        (["methods.ig_serch.alpha=1"], r"unknown method 'ig_serch' \(did you mean 'ig_search'\?\)"),
        (["data.corpus=mine.jsonl"], r"would overwrite: add data\.synthetic=false"),
        (["data.questions=mine"], r"would overwrite: add data\.synthetic=false"),
        (["data.synthetic=false", "data.questions=null"], r"data\.questions is null: name a folder of questions"),
        (["data.synthetic=false", "data.hub=true"], r"data\.hub=true takes the questions from the hub"),
    ],
)
def test_a_bad_setting_is_one_sentence_that_names_the_nearest(sets: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load("embedded", sets)
    assert "\n" not in str(raised.value)


def test_a_method_of_ones_own_names_its_rule() -> None:
    config = load("embedded", ["methods.mine.rule=ig_search", "methods.mine.alpha=1.0"])
    assert config.method("mine").alpha == 1.0
    assert build(config.resolved()) == config


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown profile 'embeded' \(did you mean 'embedded'\?\)"):
        load("embeded")


@pytest.mark.parametrize("text", ["train: [", "- 1\n- 2\n", "just words"])
def test_a_malformed_params_file_is_named(text: str, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml") as raised:
        load(params=params)
    assert "\n" not in str(raised.value)


def test_an_empty_params_file_means_the_defaults(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("", encoding="utf-8")
    assert load(params=params) == Config()


def test_yaml_keeps_every_value() -> None:
    config = load("paper", ["warm_start=null"])
    assert build(yaml.safe_load(config.to_yaml())) == config
