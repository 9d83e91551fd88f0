"""Settings: precedence, origins, strictness, paths, and that the shipped files say what the program does."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.config import changed, flat, load, load_with_origin, model_editing, of_checkpoint
from agent.editing.settings import EditSettings
from agent.errors import ConfigError
from agent.examine import gate_of
from agent.paths import FEEDS, POCKET, WORLD, data_file, shipped
from agent.policy import AutoRule, Policy
from agent.settings import Settings, VerifySettings
from agent.verify.gate import GateSettings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def shipped_defaults() -> Settings:
    """The built-in settings with what the default model's own checkpoint says about editing it."""
    own = model_editing(Settings().model.path)
    assert own, "the shipped model carries its editing settings"
    return replace(
        Settings(), editing=changed(EditSettings(), {k: str(v) for k, v in own.items()}, "editing")
    )


def test_a_checkpoints_own_settings_give_way_to_the_users(folder: Path) -> None:
    (folder / "model").mkdir()
    write(folder / "model" / "factd-editing.yaml", "steps: 7\nclamp: 3.0\n")
    write(folder / "factd.yaml", "model: {path: ./model}\nediting: {clamp: 2.0}\n")
    editing = load(environ={}).editing
    assert (editing.steps, editing.clamp, editing.lr) == (7, 2.0, EditSettings().lr)
    write(folder / "model" / "factd-editing.yaml", "stepps: 7\n")
    with pytest.raises(ConfigError, match=r"factd-editing\.yaml.*stepps.*steps"):
        load(environ={})


def test_which_keys_of_editing_somebody_gave_is_known(folder: Path) -> None:
    """From whatever layer; `layers: []` is no choice. A checkpoint's own file is a whole."""
    assert load(data_file("demo.yaml"), environ={}).given >= {"layers", "clamp", "covariance", "preserve"}
    (folder / "model").mkdir()
    write(folder / "factd.yaml", "model: {path: ./model}\nediting: {clamp: 2.0, layers: []}\n")
    assert load(environ={}).given == {"clamp"}
    assert load(environ={"FACTD_EDITING__LAYERS": "[1, 2]"}).given == {"clamp", "layers"}
    assert of_checkpoint("model").given == set()
    write(folder / "model" / "factd-editing.yaml", "steps: 7\n")
    assert load(environ={}).given == of_checkpoint("model").given >= {"layers", "preserve"}
    assert of_checkpoint("model").editing == EditSettings(steps=7)


def test_what_was_given_is_no_key_itself(folder: Path) -> None:
    write(folder / "factd.yaml", "given: [clamp]\n")
    with pytest.raises(ConfigError, match="unknown key 'given'"):
        load(environ={})
    with pytest.raises(ConfigError, match="unknown key 'given'"):
        load(data_file("demo.yaml"), environ={"FACTD_GIVEN": "[clamp]"})
    assert "given" not in flat(Settings())


@pytest.mark.parametrize(("word", "wanted"), [
    ("on", "on"), ("off", "off"), ("'on'", "on"), ("auto", "auto"), ("true", "on"),
])  # fmt: skip
def test_on_and_off_are_words_here(folder: Path, word: str, wanted: str) -> None:
    """YAML reads them as truth values."""
    write(folder / "factd.yaml", f"model: {{chat: {word}}}\n")
    assert load(environ={}).model.chat == wanted
    assert load(environ={"FACTD_MODEL__CHAT": word}).model.chat == wanted


def test_paths_of_the_compiler_are_beside_the_file_they_stand_in(folder: Path) -> None:
    """Also in the checkpoint's own: it may carry its statistics with it. They are part of the settings' hash."""
    (folder / "model").mkdir()
    write(folder / "model" / "factd-editing.yaml", "statistics: stats/*_1000.npz\n")
    assert model_editing("model") == {"statistics": str(folder / "model/stats/*_1000.npz")}
    write(folder / "sub" / "factd.yaml", "model: {path: ../model}\nediting: {corpus: ./texts}\n")
    editing = load(folder / "sub" / "factd.yaml", environ={}).editing
    assert editing.corpus == folder / "sub" / "texts"
    assert editing.statistics == folder / "model" / "stats" / "*_1000.npz"
    assert replace(editing, corpus=None).sha != editing.sha


def test_without_any_file_the_defaults_hold(folder: Path) -> None:
    assert load(environ={}) == shipped_defaults()


def test_each_layer_outdoes_the_one_before(folder: Path) -> None:
    environ = {"HOME": str(folder / "home")}
    write(
        folder / "home/.config/factd/factd.yaml",
        "policy: {max_per_run: 1}\nmodel: {device: xdg, dtype: xdg}\nstate: /xdg",
    )
    write(folder / "factd.yaml", "model: {device: project, path: /project}\nstate: /project")
    settings, origins = load_with_origin(
        environ={**environ, "FACTD_STATE": "/env", "FACTD_MODEL__PATH": "/env"}, model="/flag"
    )
    assert settings.model.path == "/flag"
    assert settings.state == Path("/env")
    assert settings.model.device == "project"
    assert settings.model.dtype == "xdg"
    assert settings.policy == Policy(max_per_run=1)
    assert origins == {
        "model.path": "flag",
        "state": "environment",
        "model.device": "factd.yaml",
        "model.dtype": f"{folder}/home/.config/factd/factd.yaml",
        "policy.max_per_run": f"{folder}/home/.config/factd/factd.yaml",
    }


def test_the_user_file_is_where_xdg_says(folder: Path) -> None:
    write(folder / "x/factd/factd.yaml", "daemon: {poll_minutes: 3}")
    write(folder / "home/.config/factd/factd.yaml", "daemon: {poll_minutes: 4}")
    environ = {"HOME": str(folder / "home")}
    assert load(environ={**environ, "XDG_CONFIG_HOME": str(folder / "x")}).daemon.poll_minutes == 3
    assert load(environ=environ).daemon.poll_minutes == 4
    assert load(environ={}).daemon.poll_minutes == 15


def test_a_named_file_stands_in_for_the_project_file(folder: Path) -> None:
    write(folder / "factd.yaml", "model: {device: project, dtype: project}")
    other = write(folder / "other.yaml", "model: {device: other}")
    for settings in (load(other, environ={}), load(environ={"FACTD_CONFIG": str(other)})):
        assert (settings.model.device, settings.model.dtype) == ("other", "auto")


def test_a_missing_named_file_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load(folder / "nowhere.yaml", environ={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sorces: []", r"factd\.yaml: .*unknown key 'sorces'; did you mean 'sources'"),
        ("model: {pth: x}", r"factd\.yaml: model: unknown key 'pth'; did you mean 'path'"),
        ("model: {chat: maybe}", r"model\.chat: expected 'auto', 'on', 'off', got 'maybe'"),
        ("model: {arch: {family: a, layer: b, down: c}}", r"factd\.yaml: .*'layer'; did you mean 'layers'"),
        ("policy: {min_publisher: 1}", r"factd\.yaml: policy: .*did you mean 'min_publishers'"),
        ("policy: {min_publishers: two}", r"factd\.yaml: policy\.min_publishers: expected int, got 'two'"),
        ("policy: {min_publishers: true}", r"factd\.yaml: policy\.min_publishers: expected int, got True"),
        ("policy: {min_publishers: 0}", r"factd\.yaml: policy\.min_publishers must be at least 1"),
        ("policy: {max_age_days: 0}", r"factd\.yaml: policy\.max_age_days"),
        ("policy: {cool_off_h: .nan}", r"factd\.yaml: policy\.cool_off_h"),
        ("policy: {cool_off_h: -1}", r"factd\.yaml: policy\.cool_off_h"),
        ("policy: {protected: Monaco}", r"factd\.yaml: policy\.protected: expected a list, got 'Monaco'"),
        ("policy: {protected: [1]}", r"factd\.yaml: policy\.protected\[0\]: expected str, got 1"),
        ("policy: {auto_approve: true}", r"factd\.yaml: policy\.auto_approve: expected a list, got True"),
        ("policy: {auto_approve: [{relation: [ceo]}]}", r"factd\.yaml: .*did you mean 'relations'"),
        ("policy: {auto_approve: [{min_publishers: 0}]}", r"factd\.yaml: policy\.auto_approve"),
        ("editing: {algorithm: memmit}", r"factd\.yaml: editing\.algorithm: expected 'alphaedit', 'emmet', 'ft', 'memit', 'pmet', 'rome', got"),
        ("editing: {layers: [3, 1]}", r"factd\.yaml: editing\.layers must be ascending"),
        ("verify: {efficacy: 95}", r"factd\.yaml: verify\.efficacy must be between 0 and 1"),
        ("verify: {max_trials: 0}", r"factd\.yaml: verify\.max_trials must be at least 1"),
        ("daemon: {poll_minutes: 0}", r"factd\.yaml: daemon\.poll_minutes"),
        ("daemon: 3", r"factd\.yaml: daemon: expected a mapping"),
        ("state: null", r"factd\.yaml: state: must not be empty"),
        ("state: [a]", r"factd\.yaml: state: expected Path, got \['"),
        ("sources: {name: a}", r"factd\.yaml: sources: expected a list"),
        ("sources: [{name: a, url: b, publihser: c}]", r"factd\.yaml: .*did you mean 'publisher'"),
        ("sources: [{name: a}]", r"factd\.yaml: sources\[0\]: 'url' is missing"),
        ("sources: [{name: a, url: b, weight: -1}]", r"factd\.yaml: sources\[0\] \(a\): weight must be zero"),
        ("sources: [{name: a, url: b, weight: .nan}]", r"factd\.yaml: sources\[0\] \(a\): weight must be zero"),
        (
            "sources: [{name: a, url: b, publisher: p, aggregator: true}]",
            r"factd\.yaml: sources\[0\] \(a\): an aggregator's items",
        ),
        ("- a", r"factd\.yaml: expected a mapping"),
        ("model: {path: x", r"factd\.yaml, line \d+, column \d+: not valid YAML"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_and_key(folder: Path, text: str, message: str) -> None:
    write(folder / "factd.yaml", text)
    with pytest.raises(ConfigError, match=message):
        load(environ={})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"FACTD_MODEL__PTH": "x"}, "environment: model: unknown key 'pth'; did you mean 'path'"),
        ({"FACTD_POLICY__MAX_PER_RUN": "many"}, r"environment: policy\.max_per_run: expected int"),
        ({"FACTD_POLICY__PROTECTED": "[a"}, "FACTD_POLICY__PROTECTED: .* is not a YAML value"),
        ({"FACTD_MODEL": "x", "FACTD_MODEL__PATH": "y"}, "FACTD_MODEL__PATH: FACTD_MODEL is set as well"),
    ],
)
def test_a_mistake_in_a_variable_is_named(folder: Path, environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(environ=environ)


def test_variables_that_steer_the_program_are_no_settings(folder: Path) -> None:
    environ = {"FACTD_FAULT": "read:now", "FACTD_TRACEBACK": "1", "PATH": "/bin"}
    assert load(environ=environ) == shipped_defaults()


def test_variables_hold_yaml(folder: Path) -> None:
    environ = {
        "FACTD_POLICY__PROTECTED": "[Monaco, Vatican City]",
        "FACTD_POLICY__MAX_AGE_DAYS": "null",
        "FACTD_POLICY__ADD_UNKNOWN": "false",
        "FACTD_EDITING__LAYERS": "[2, 3]",
        "FACTD_MODEL__DEVICE": "cuda:1",
    }
    settings = load(environ=environ)
    assert settings.policy == Policy(
        protected=("Monaco", "Vatican City"), max_age_days=None, add_unknown=False
    )
    assert settings.editing.layers == (2, 3)
    assert settings.model.device == "cuda:1"


def test_paths_are_relative_to_the_file_they_stand_in(folder: Path) -> None:
    write(folder / "conf/models/mine/config.json", "{}")
    path = write(
        folder / "conf/factd.yaml",
        "state: ../state\nmodel: {path: models/mine}\nrelations: r.yaml\ncatalogue: [a, /b]\n"
        "ner: ./pipeline\nverify: {texts: t.txt}\n"
        "sources: [{name: f, url: feeds/a.xml}, {name: w, url: 'https://example.org/a.xml'}]\n",
    )
    settings = load(path, environ={}, state=None)
    assert settings.state == folder / "state"
    assert settings.model.path == str(folder / "conf/models/mine")
    assert settings.relations == folder / "conf/r.yaml"
    assert settings.catalogue == (folder / "conf/a", Path("/b"))
    assert settings.ner == str(folder / "conf/pipeline")
    assert [s.url for s in settings.sources] == [
        str(folder / "conf/feeds/a.xml"),
        "https://example.org/a.xml",
    ]
    assert settings.verify.texts == folder / "conf/t.txt"
    assert load(path, environ={"FACTD_STATE": "here"}).state == folder / "here"
    assert load(path, environ={}, state=Path("there")).state == folder / "there"


def test_a_hub_id_and_a_package_name_stay_what_they_are(folder: Path) -> None:
    write(folder / "factd.yaml", "model: {path: Qwen/Qwen2.5-0.5B}\nner: en_core_web_sm")
    settings = load(environ={})
    assert (settings.model.path, settings.ner) == ("Qwen/Qwen2.5-0.5B", "en_core_web_sm")


def test_shipped_paths_work_from_anywhere(folder: Path) -> None:
    write(folder / "factd.yaml", "model: {path: 'shipped:demo/pocket'}\ncatalogue: ['shipped:demo/world']")
    settings = load(environ={})
    assert settings.model.path == str(POCKET)
    assert settings.catalogue == (WORLD,)
    assert shipped("shipped:configs/relations.yaml") == data_file("relations.yaml")
    with pytest.raises(ConfigError, match=r"no\.yaml: not found"):
        shipped("shipped:configs/no.yaml")


def test_an_empty_section_is_no_change(folder: Path) -> None:
    write(folder / "factd.yaml", "policy:\nmodel: {arch: null}\nsources:\n")
    assert load(environ={}) == shipped_defaults()


def test_auto_approval_is_a_list_of_rules_or_off(folder: Path) -> None:
    write(folder / "factd.yaml", "policy: {auto_approve: [{relations: [ceo], min_publishers: 4}]}")
    assert load(environ={}).policy.auto_approve == (AutoRule(("ceo",), 4),)
    assert load(environ={"FACTD_POLICY__AUTO_APPROVE": "false"}).policy.auto_approve == ()


def keys_of(cls: Any, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for field in fields(cls):
        if field.name == "given":  # derived
            continue
        default = getattr(Settings() if cls is Settings else cls, field.name)
        found |= (
            keys_of(default, f"{prefix}{field.name}.") if is_dataclass(default) else {prefix + field.name}
        )
    return found


def test_the_example_has_every_key_and_every_default(folder: Path) -> None:
    example = load(data_file("factd.yaml"), environ={})
    assert replace(example, state=Path("state")) == Settings()
    given = yaml.safe_load(data_file("factd.yaml").read_text(encoding="utf-8"))
    dotted = {
        f"{section}.{key}" if isinstance(value, dict) else section
        for section, value in given.items()
        for key in (value if isinstance(value, dict) else [section])
    }
    assert dotted == keys_of(Settings()) == set(flat(Settings()))


def test_the_example_says_a_word_on_every_section() -> None:
    text = data_file("factd.yaml").read_text(encoding="utf-8")
    for section in (
        "state",
        "model",
        "sources",
        "relations",
        "ner",
        "extractor",
        "editing",
        "verify",
        "policy",
        "daemon",
        "serve",
    ):
        assert re.search(rf"(?m)^{section}:", text), section
    example = re.search(r"(?m)^#   - (\{name: example.*)$", text)
    assert example is not None and set(yaml.safe_load(example[1])) == {
        "name",
        "url",
        "publisher",
        "allow_private",
        "body",
        "weight",
        "aggregator",
    }


def test_the_demo_reads_the_four_feeds_and_approves_nothing_by_itself() -> None:
    demo = load(data_file("demo.yaml"), environ={})
    assert {Path(s.url) for s in demo.sources} == set(FEEDS.glob("*.xml"))
    assert len({s.publisher for s in demo.sources}) == 4
    assert demo.policy.auto_approve == ()
    assert demo.state.parts[-2:] == ("build", "demo-state")
    assert demo.model.path == str(POCKET)


def test_a_home_that_nobody_has_is_an_error_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "factd.yaml"
    file.write_text("state: ~nobody-is-called-so/state\n")
    with pytest.raises(ConfigError, match=r"nobody-is-called-so.*no such home"):
        load(file, environ={})


def test_the_quick_settings_hold_nothing_but_keys_whatever_the_checkpoint_says() -> None:
    quick = load(data_file("quick.yaml"), environ={})
    assert (quick.editing.kl, quick.editing.prompts, quick.editing.rounds, quick.preserve_limit) == (
        0,
        1,
        1,
        300,
    )
    for name in ("turns", "give_up", "carriers", "keep_tokens", "null_share", "seed"):
        assert getattr(quick.editing, name) == getattr(EditSettings(), name)


@given(
    st.dictionaries(
        st.sampled_from(["state", "model", "sources", "policy", "editing", "catalogue", "nonsense"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["path", "name", "url", "min_publishers", "layers"]), inner, max_size=2
                )
            ),
            max_leaves=4,
        ),
    )
)
def test_any_settings_file_loads_or_is_refused_with_a_message(
    tmp_path_factory: Any, document: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("any") / "factd.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    try:
        assert isinstance(load(path, environ={}), Settings)
    except ConfigError as error:
        assert str(path) in str(error)


def test_the_gate_and_the_settings_have_the_same_defaults() -> None:
    assert gate_of(VerifySettings()) == GateSettings()
