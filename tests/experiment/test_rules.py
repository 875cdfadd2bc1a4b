"""Which settings a model takes, which nothing would read, and which contradict each other."""

import pytest

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.models import RulstmConfig

SMOKE = "experiment=smoke/kitchen"
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
TCA, PA, HEAD = "model.temporal_context", "model.prototype_attention", "model.head"


@pytest.mark.parametrize(
    "overrides",
    [
        [f"{TCA}.num_blocks=1", f"{TCA}.mode=decay", f"{TCA}.lifetime_steps=3", f"{TCA}.normalise=false"],
        [f"{TCA}.num_blocks=1", f"{TCA}.mode=causal", f"{TCA}.detach_past=false"],
        [f"{PA}.share=0.1", f"{PA}.subset_seed=3"],
        [f"{PA}.num_prototypes=4", f"{PA}.subset_seed=3", f"{PA}.top_k=2"],
        [f"{PA}.mode=released", f"{PA}.toeplitz=false", f"{PA}.top_k=4"],
        [f"{HEAD}.verb_noun=true", "objective.cls_verb=1", "objective.cls_noun=1"],
        [f"{HEAD}.mix_prototypes=false", f"{HEAD}.detach_similarity_feature=true", "objective.past_sem=1"],
        [f"{HEAD}.past_similarity=encoder", "objective.past_sem=1", "objective.past_mean=all", "objective.past=0"],
        ["objective.past_mean=all"],
        ["model.encoder.map=false"],
        [f"{HEAD}.temperature=1.0", f"{HEAD}.learn_temperature=false", f"{HEAD}.detach_prototype_values=false"],
        ["objective.mixup=0.2", "objective.detach_reg_target=false", "init.freeze=[prototypes,encoder]"],
    ],
)
def test_settings_that_are_read_are_taken(overrides):
    assert compose_experiment([SMOKE, *overrides])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([f"{TCA}.mode=decay"], r"temporal_context\.mode=decay has no effect with .*num_blocks=0"),
        (
            [f"{TCA}.num_blocks=1", f"{TCA}.lifetime_steps=3"],
            r"lifetime_steps=3.0 has no effect .*mode=cumulative",
        ),
        ([f"{TCA}.num_blocks=1", f"{TCA}.mode=causal", f"{TCA}.normalise=false"], r"normalise=False has no effect"),
        ([f"{PA}.subset_seed=3"], r"subset_seed=3 has no effect with .*share=1"),
        ([f"{PA}.num_prototypes=4", f"{PA}.share=0.5"], r"share=0.5 has no effect with .*num_prototypes=4"),
        ([f"{PA}.mode=released", f"{PA}.share=0.5"], r"share=0.5 has no effect with .*mode=released"),
        ([f"{PA}.toeplitz=false"], r"toeplitz=False has no effect with .*mode=paper"),
        ([f"{PA}.enabled=false", f"{PA}.top_k=2"], r"top_k=2 has no effect with .*enabled=false"),
        ([f"{HEAD}.mix_prototypes=false", f"{HEAD}.detach_prototype_values=false"], r"detach_prototype_values=False"),
        ([f"{HEAD}.mix_prototypes=false", f"{HEAD}.detach_similarity_feature=true"], r"detach_similarity_feature=True"),
        (["objective.cls_verb=1"], r"objective\.cls_verb=1.0 has no effect with model\.head\.verb_noun=false"),
        (["objective.reg=0", "objective.detach_reg_target=false"], r"detach_reg_target=False has no effect"),
        (["objective.past=0", "objective.past_mean=all"], r"past_mean=all has no effect with objective\.past=0"),
        ([f"{HEAD}.past_similarity=encoder"], r"past_similarity=encoder has no effect with objective\.past_sem=0"),
        (["model.encoder.map=false", "model.encoder.init_gain=8"], r"init_gain=8.0 has no effect .*encoder\.map=false"),
        (["protocol.after_start_s=1"], r"after_start_s=1.0 has no effect with protocol\.kind=anticipation"),
        (["protocol.view_mean=logits"], r"view_mean=logits has no effect with protocol\.views=centre"),
        ([f"{HEAD}.verb_noun=true", "objective.cls_verb=1"], r"objective\.cls_noun=0.0 leave one untrained"),
        (["model.encoder.weights=vit.pth"], r"weights=vit.pth has no effect with source\.kind=features"),
    ],
)
def test_settings_that_nothing_reads_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose_experiment([SMOKE, *overrides])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.mixup=0.2"], r"mixup=0.2 has no effect with source\.kind=video"),
        (
            ["model.encoder.pretrained=true", "model.encoder.weights=vit.pth"],
            r"pretrained=true has no effect with model\.encoder\.weights=vit.pth",
        ),
        ([f"{TCA}.mode=decay"], r"mode=decay has no effect with model\.name=avt"),
        ([f"{PA}.top_k=2"], r"top_k=2 has no effect with model\.name=avt"),
        ([f"{HEAD}.detach_similarity_feature=true"], r"has no effect with model\.name=avt"),
        (["model.rulstm.hidden_dim=3"], r"hidden_dim=3 has no effect with model\.name=avt, which has no such setting"),
        (["objective.horizons=1"], r"objective\.horizons=1\.0 has no effect with model\.name=avt"),
        (["source.confusion=0.5"], r"source\.confusion=0\.5 has no effect with source\.kind=video"),
    ],
)
def test_settings_of_another_source_or_model_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose_experiment(["experiment=kitchen/avt", *overrides])


def test_a_whole_configuration_of_rulstm_is_taken():
    config = compose_experiment([*FUSED, "model.rulstm.attention=paper", "objective.cls=0", "objective.horizons=1"])
    assert config.model.rulstm == RulstmConfig(modalities=[5, 3], attention="paper")


@pytest.mark.parametrize(
    "dead",
    [
        "model.width=32",
        "model.decoder.num_layers=2",
        "model.prototype_attention.num_heads=2",
        "model.encoder.feature_dropout=0.5",
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
