"""Which settings RULSTM takes, and which it refuses."""

from dataclasses import fields

import pytest

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.models import RulstmConfig

ONE = [
    "model.name=rulstm",
    "model.encoder.feature_dim=8",
    "model.rulstm.modalities=[8]",
    "source.kind=features",
    "source.features=oracle",
    "protocol.fps=4",
    "protocol.tau_a_s=0.25",
    "protocol.tau_o_s=3.5",
    "objective.past=0",
    "objective.feat=0",
]
FUSED = [*ONE, "model.rulstm.modalities=[5,3]"]


def test_a_whole_configuration_is_taken():
    config = compose_experiment([*FUSED, "model.rulstm.attention=paper", "objective.cls=0", "objective.horizons=1"])
    assert config.model.rulstm == RulstmConfig(modalities=[5, 3], attention="paper")


@pytest.mark.parametrize(
    "dead",
    [
        "model.width=32",
        "model.decoder.num_layers=2",
        "model.head.dropout=0.5",
        "model.temporal_context.num_blocks=1",
        "model.prototype_attention.num_heads=2",
        "model.encoder.feature_dropout=0.5",
        "model.encoder.recogniser=true",
        "objective.sem=1",
        "objective.detach_feature_target=true",
        "optim.encoder_lr_scale=0.1",
        "init.visual_prototypes=some.safetensors",
    ],
)
def test_a_setting_that_rulstm_does_not_read_is_refused(dead):
    with pytest.raises(ConfigError, match=rf"{dead.split('=')[0]}=.* has no effect with model\.name=rulstm"):
        compose_experiment([*ONE, dead])


@pytest.mark.parametrize("dead", ["model.rulstm.attention=paper", "init.branches=[some_run]"])
def test_a_setting_of_the_fusion_is_refused_for_one_modality(dead):
    with pytest.raises(ConfigError, match="has no effect with a single modality"):
        compose_experiment([*ONE, dead])


@pytest.mark.parametrize("name", [item.name for item in fields(RulstmConfig)])
def test_other_models_refuse_the_settings_of_rulstm(name):
    values = {"modalities": "[8]", "sequence_completion": "true", "attention": "paper", "dropout": "0.5"}
    with pytest.raises(ConfigError, match=rf"model\.rulstm\.{name}=.* has no effect with model\.name=avt"):
        compose_experiment(["experiment=kitchen/avt", f"model.rulstm.{name}={values.get(name, 3)}"])


def test_other_models_refuse_the_loss_of_rulstm():
    with pytest.raises(ConfigError, match=r"objective\.horizons=1\.0 has no effect with model\.name=avt"):
        compose_experiment(["experiment=kitchen/avt", "objective.horizons=1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("objective.past=1", r"objective\.past=1\.0 needs what model\.name=rulstm does not predict"),
        ("objective.feat=1", r"objective\.feat=1\.0 needs what model\.name=rulstm does not predict"),
        ("protocol.fps=2", r"step_s=0\.25 s is not one step of protocol\.fps=2\.0.*step_s=0\.5"),
        ("protocol.tau_a_s=1.0", r"rulstm\.tau_a_s=0\.25 must equal protocol\.tau_a_s=1\.0"),
        ("protocol.kind=recognition", "sequence_completion=true"),
    ],
)
def test_what_contradicts_the_horizons_is_refused_with_both_sides(change, message):
    clock = ["protocol.tau_a_s", "protocol.tau_o_s", "protocol.fps"]
    base = [item for item in ONE if change != "protocol.kind=recognition" or item.split("=")[0] not in clock]
    with pytest.raises(ConfigError, match=message):
        compose_experiment([*[item for item in base if item.split("=")[0] != change.split("=")[0]], change])
