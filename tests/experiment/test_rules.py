"""Which settings a model takes, which nothing would read, and which contradict each other."""

import pytest

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.models import RulstmConfig

SMOKE, AVT = "experiment=smoke/kitchen", "experiment=kitchen/avt"
RULSTM = (
    "model.name=rulstm model.encoder.feature_dim=8 model.rulstm.modalities=[8] source.kind=features "
    "source.features=oracle protocol.fps=4 protocol.tau_a_s=0.25 protocol.tau_o_s=3.5 objective.past=0 objective.feat=0"
)
BLOCKS = "init.run=a init.blocks"
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


REFUSED = {
    SMOKE: [
        (f"{TCA}.mode=decay", r"temporal_context\.mode=decay has no effect with .*num_blocks=0"),
        (f"{TCA}.num_blocks=1 {TCA}.lifetime_steps=3", r"lifetime_steps=3.0 has no effect .*mode=cumulative"),
        (f"{TCA}.num_blocks=1 {TCA}.mode=causal {TCA}.normalise=false", r"normalise=false has no effect"),
        (f"{PA}.subset_seed=3", r"subset_seed=3 has no effect with .*share=1"),
        (f"{PA}.num_prototypes=4 {PA}.share=0.5", r"share=0.5 has no effect with .*num_prototypes=4"),
        (f"{PA}.mode=released {PA}.share=0.5", r"share=0.5 has no effect with .*mode=released"),
        (f"{PA}.toeplitz=false", r"toeplitz=false has no effect with .*mode=paper"),
        (f"{PA}.enabled=false {PA}.top_k=2", r"top_k=2 has no effect with .*enabled=false"),
        (f"{HEAD}.mix_prototypes=false {HEAD}.detach_prototype_values=false", "detach_prototype_values=false"),
        (f"{HEAD}.mix_prototypes=false {HEAD}.detach_similarity_feature=true", "detach_similarity_feature=true"),
        ("objective.cls_verb=1", r"cls_verb=1.0 and .* train classifiers that model\.head\.verb_noun=true"),
        (f"{HEAD}.verb_noun=true objective.cls_verb=1", r"objective\.cls_noun=0.0 leave one untrained"),
        ("objective.past=0 objective.past_mean=all", r"past_mean=all has no effect with objective\.past=0"),
        ("objective.reg=0 objective.detach_reg_target=false", r"detach_reg_target=false has no effect"),
        (f"{HEAD}.past_similarity=encoder", r"past_similarity=encoder has no effect with objective\.past_sem=0"),
        ("init.language_prototypes=x", r"language_prototypes=x has no effect with objective\.sem=0"),
        ("model.encoder.map=false model.encoder.init_gain=8", r"init_gain=8.0 has no effect .*encoder\.map=false"),
        ("model.encoder.weights=vit.pth", r"weights=vit.pth has no effect with source\.kind=features"),
        ("protocol.kind=recognition source.tau_a_jitter_s=1", r"jitter_s=1.0 has no effect with .*recognition"),
        ("protocol.after_start_s=1", r"protocol\.kind=anticipation has no setting protocol\.after_start_s"),
        ("protocol.view_mean=logits", r"view_mean=logits has no effect with protocol\.views=centre"),
        ("source.scale_jitter=[0.0,0.1]", r"source\.kind=features has no setting source\.scale_jitter"),
        ("dataset.split=2", r"dataset\.split=2 has no effect with dataset\.name=kitchen"),
        # Starts: nothing is started twice.
        (f"{BLOCKS}=[prototypes] init.visual_prototypes=v", r"takes the prototypes of .*_prototypes would overwrite"),
        (f"{BLOCKS}=[prototypes] init.language_as_visual=true", r"takes the prototypes of .*visual would overwrite"),
        (f"{BLOCKS}=[encoder,decoder,encoder]", r"init\.blocks names encoder more than once"),
        (f"{BLOCKS}=[decoder] init.freeze=[encoder,encoder]", r"init\.freeze names encoder more than once"),
    ],
    AVT: [
        ("objective.mixup=0.2", r"mixup=0.2 mixes stored features; it needs source\.kind=features"),
        (
            "model.encoder.pretrained=true model.encoder.weights=vit.pth",
            r"pretrained=true has no effect with model\.encoder\.weights=vit.pth",
        ),
        (f"{TCA}.mode=decay", r"model\.name=avt has no setting model\.temporal_context\.mode"),
        (f"{HEAD}.temperature=1", r"temperature=1.0 has no effect with model\.name=avt"),
        ("objective.horizons=1", r"objective\.horizons=1\.0 needs what model\.name=avt does not give"),
        ("objective.sem=1", r"objective\.sem=1\.0 needs what model\.name=avt does not give"),
        ("init.visual_prototypes=x.safetensors", r"model\.name=avt has no prototypes"),
    ],
    RULSTM: [
        ("model.width=32", r"model\.name=rulstm has no setting model\.width"),
        ("objective.past=1", r"objective\.past=1\.0 needs what model\.name=rulstm does not give"),
        ("objective.detach_feature_target=true", "detach_feature_target=true has no effect with model.name=rulstm"),
        ("model.encoder.feature_dropout=0.5", r"feature_dropout=0.5 has no effect with model\.name=rulstm"),
        ("optim.encoder_lr_scale=0.1", r"encoder_lr_scale=0.1 has no effect with model\.name=rulstm"),
        ("model.rulstm.attention=paper", r"has no effect with a single modality"),
        ("init.branches=[some_run]", r"only a fused RULSTM has branches"),
        ("protocol.fps=2", r"step_s=0\.25 s is not one step of protocol\.fps=2\.0.*step_s=0\.5"),
        ("protocol.tau_a_s=1.0", r"rulstm\.tau_a_s=0\.25 must equal protocol\.tau_a_s=1\.0"),
        ("protocol.kind=recognition", "sequence_completion=true"),
    ],
}


@pytest.mark.parametrize(
    ("base", "overrides", "message"), [(base, *case) for base, cases in REFUSED.items() for case in cases]
)
def test_settings_that_nothing_reads_or_that_contradict_each_other_are_refused(base, overrides, message):
    typed = overrides.split()
    chosen = {override.partition("=")[0] for override in typed}
    # Recognition has no clock of this kind.
    chosen |= {"protocol.tau_a_s", "protocol.tau_o_s", "protocol.fps"} if "protocol.kind" in chosen else set()
    with pytest.raises(ConfigError, match=message):
        compose_experiment([*(item for item in base.split() if item.partition("=")[0] not in chosen), *typed])


def test_a_whole_configuration_of_rulstm_is_taken():
    fused = ["model.rulstm.modalities=[5,3]", "model.rulstm.attention=paper", "objective.cls=0", "objective.horizons=1"]
    base = [item for item in RULSTM.split() if "modalities" not in item]
    config = compose_experiment([*base, *fused])
    assert config.model.rulstm == RulstmConfig(modalities=[5, 3], attention="paper")
