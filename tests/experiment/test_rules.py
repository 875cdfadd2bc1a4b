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
        ([f"{TCA}.num_blocks=1", f"{TCA}.lifetime_steps=3"], r"lifetime_steps=3.0 has no effect .*mode=cumulative"),
        ([f"{TCA}.num_blocks=1", f"{TCA}.mode=causal", f"{TCA}.normalise=false"], r"normalise=false has no effect"),
        ([f"{PA}.subset_seed=3"], r"subset_seed=3 has no effect with .*share=1"),
        ([f"{PA}.num_prototypes=4", f"{PA}.share=0.5"], r"share=0.5 has no effect with .*num_prototypes=4"),
        ([f"{PA}.mode=released", f"{PA}.share=0.5"], r"share=0.5 has no effect with .*mode=released"),
        ([f"{PA}.toeplitz=false"], r"toeplitz=false has no effect with .*mode=paper"),
        ([f"{PA}.enabled=false", f"{PA}.top_k=2"], r"top_k=2 has no effect with .*enabled=false"),
        ([f"{HEAD}.mix_prototypes=false", f"{HEAD}.detach_prototype_values=false"], r"detach_prototype_values=false"),
        (
            ["objective.cls_verb=1"],
            r"cls_verb=1.0 and .* train classifiers that model\.head\.verb_noun=true",
        ),
        ([f"{HEAD}.mix_prototypes=false", f"{HEAD}.detach_similarity_feature=true"], r"detach_similarity_feature=true"),
        (["objective.past=0", "objective.past_mean=all"], r"past_mean=all has no effect with objective\.past=0"),
        (
            ["protocol.kind=recognition", "source.tau_a_jitter_s=1"],
            r"jitter_s=1.0 has no effect with .*recognition",
        ),
        (["init.language_prototypes=x"], r"language_prototypes=x has no effect with objective\.sem=0"),
        (["objective.reg=0", "objective.detach_reg_target=false"], r"detach_reg_target=false has no effect"),
        ([f"{HEAD}.past_similarity=encoder"], r"past_similarity=encoder has no effect with objective\.past_sem=0"),
        (["model.encoder.map=false", "model.encoder.init_gain=8"], r"init_gain=8.0 has no effect .*encoder\.map=false"),
        (["protocol.after_start_s=1"], r"protocol\.kind=anticipation has no setting protocol\.after_start_s"),
        (["protocol.view_mean=logits"], r"view_mean=logits has no effect with protocol\.views=centre"),
        ([f"{HEAD}.verb_noun=true", "objective.cls_verb=1"], r"objective\.cls_noun=0.0 leave one untrained"),
        (["model.encoder.weights=vit.pth"], r"weights=vit.pth has no effect with source\.kind=features"),
        (["dataset.split=2"], r"dataset\.split=2 has no effect with dataset\.name=kitchen"),
    ],
)
def test_settings_that_nothing_reads_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose_experiment([SMOKE, *overrides])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.mixup=0.2"], r"mixup=0.2 mixes stored features; it needs source\.kind=features"),
        (
            ["model.encoder.pretrained=true", "model.encoder.weights=vit.pth"],
            r"pretrained=true has no effect with model\.encoder\.weights=vit.pth",
        ),
        ([f"{TCA}.mode=decay"], r"model\.name=avt has no setting model\.temporal_context\.mode"),
        ([f"{PA}.top_k=2"], r"model\.name=avt has no setting model\.prototype_attention\.top_k"),
        ([f"{HEAD}.detach_similarity_feature=true"], r"has no effect with model\.name=avt"),
        ([f"{HEAD}.temperature=1"], r"temperature=1.0 has no effect with model\.name=avt"),
        (["model.rulstm.hidden_dim=3"], r"model\.name=avt has no setting model\.rulstm\.hidden_dim"),
        (["objective.horizons=1"], r"objective\.horizons=1\.0 needs what model\.name=avt does not give"),
        (["objective.sem=1"], r"objective\.sem=1\.0 needs what model\.name=avt does not give"),
        (["source.confusion=0.5"], r"source\.kind=video has no setting source\.confusion"),
        (["init.visual_prototypes=x.safetensors"], r"model\.name=avt has no prototypes"),
    ],
)
def test_settings_of_another_source_or_model_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose_experiment(["experiment=kitchen/avt", *overrides])


def test_a_whole_configuration_of_rulstm_is_taken():
    config = compose_experiment([*FUSED, "model.rulstm.attention=paper", "objective.cls=0", "objective.horizons=1"])
    assert config.model.rulstm == RulstmConfig(modalities=[5, 3], attention="paper")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("model.width=32", r"model\.name=rulstm has no setting model\.width"),
        ("model.decoder.num_layers=2", r"model\.name=rulstm has no setting model\.decoder\.num_layers"),
        ("objective.sem=1", r"objective\.sem=1\.0 needs what model\.name=rulstm does not give"),
        ("init.visual_prototypes=some.safetensors", r"model\.name=rulstm has no prototypes"),
        ("model.head.dropout=0.5", r"model\.name=rulstm has no setting model\.head\.dropout"),
        ("model.prototype_attention.num_heads=2", r"has no setting model\.prototype_attention\.num_heads"),
        ("model.encoder.feature_dropout=0.5", r"feature_dropout=0.5 has no effect with model\.name=rulstm"),
        ("model.encoder.recogniser=true", r"recogniser=true has no effect with model\.name=rulstm"),
        ("objective.detach_feature_target=true", r"detach_feature_target=true has no effect with model\.name=rulstm"),
        ("optim.encoder_lr_scale=0.1", r"encoder_lr_scale=0.1 has no effect with model\.name=rulstm"),
        ("model.rulstm.attention=paper", r"has no effect with a single modality"),
        ("init.branches=[some_run]", r"only a fused RULSTM has branches"),
    ],
)
def test_a_setting_that_rulstm_does_not_read_is_refused(key, message):
    with pytest.raises(ConfigError, match=message):
        compose_experiment([*ONE, key])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("objective.past=1", r"objective\.past=1\.0 needs what model\.name=rulstm does not give"),
        ("objective.feat=1", r"objective\.feat=1\.0 needs what model\.name=rulstm does not give"),
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
