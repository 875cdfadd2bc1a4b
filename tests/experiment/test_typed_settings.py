"""Settings have the type of what is chosen; what it does not read cannot be said."""

import shlex
from dataclasses import asdict

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.compose import load_run_config, save_config
from sgear.experiment.schema import choices
from sgear.experiment.settings import as_override, hydra_override

FEATURES = ["source.kind=features", "source.features=x", "model.encoder.feature_dim=384"]


def refusal(overrides: list[str]) -> str:
    with pytest.raises(ConfigError) as error:
        compose_experiment(overrides)
    return str(error.value)


@pytest.mark.parametrize("name", ["avt", "rulstm", "frequency"])
def test_a_choice_takes_what_it_reads_of_a_recipe_for_another_one(name):
    kind = {"avt": "video", "rulstm": "features", "frequency": "annotations"}[name]
    dead = {"rulstm": [*FEATURES, "objective.past=0", "objective.feat=0", "model.encoder.name=features"]}
    dead["rulstm"] += ["model.rulstm.step_s=1", "model.rulstm.tau_a_s=1", "init.visual_prototypes="]
    change = [f"model.name={name}", f"source.kind={kind}", *dead.get(name, [])]
    off = [*(f"objective.{term}=0" for term in ("sem", "reg", "next")), "init.visual_prototypes=", "init.blocks=[]"]
    config = compose_experiment(["experiment=own/sgear", "init.run=", *off, *change])
    assert type(config.model) is choices("model")[name]
    assert type(config.source) is choices("source")[kind]


def test_what_a_recipe_for_another_choice_cannot_mean_is_said():
    message = refusal(["experiment=own/avt", *FEATURES])
    assert "model.encoder.name=vit_small_patch16_224.augreg_in21k_ft_in1k and source.kind=features do not" in message


def test_all_that_was_typed_for_another_choice_is_named_at_once():
    message = refusal(["experiment=own/avt", "source.confusion=0.5", "model.temporal_context.num_blocks=1"])
    assert "model.name=avt has no setting model.temporal_context.num_blocks" in message
    assert "source.kind=video has no setting source.confusion" in message
    assert "unknown setting 'optim.lrr'; did you mean optim.lr" in refusal(["experiment=own/avt", "optim.lrr=1"])


@settings(max_examples=10)
@given(st.text(st.characters(exclude_characters="\\$", exclude_categories=["Cs", "Cc"]), max_size=20))
def test_a_text_comes_through_the_quotes_of_hydra_and_the_shell(text):
    (word,) = shlex.split(as_override("dataset.root", f"x{text}"))
    assert word == hydra_override("dataset.root", f"x{text}")
    assert compose_experiment(["experiment=own/avt", word]).dataset.root == f"x{text}"


def test_a_text_that_hydra_cannot_read_comes_with_its_quotes():
    message = refusal(["experiment=own/avt", "dataset.root=a[b]c"])
    assert message.endswith("""stands in quotes: 'dataset.root="a[b]c"'""")


def test_a_home_that_the_shell_did_not_expand_comes_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert refusal(["experiment=own/avt", "dataset.root=~/kitchen"]).endswith("quotes: dataset.root=/home/me/kitchen")


def test_the_file_of_a_run_made_before_is_read(tmp_path):
    config = compose_experiment(["experiment=kitchen/avt"])
    save_config(config, tmp_path / "config.yaml")
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    # Runs had the settings of all models, steps and protocols once, those that nothing read with their defaults.
    for part in ("model", "source"):
        for kind in choices(part).values():
            values[part] = asdict(kind()) | values[part]
    values["source"]["decoder"] = "pyav"
    values["protocol"] |= {"num_steps": 4, "jitter": 1.0, "after_start_s": 0.0}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert load_run_config(tmp_path / "config.yaml") == config
    values["source"]["reading"] = "films"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert load_run_config(tmp_path / "config.yaml").source.reading == "videos"


def test_an_old_word_is_told_the_new_one():
    assert "is now source.reading=videos" in refusal(["experiment=own/avt", "source.reading=films"])
