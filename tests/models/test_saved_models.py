"""A model on disk: the same bits back, and what does not belong together."""

import json
import shutil
from dataclasses import asdict, fields, replace

import pytest
import torch
from tiny_models import (
    EVERY,
    FEATURE_DIM,
    NUM_ACTIONS,
    NUM_NOUNS,
    NUM_VERBS,
    PIXELS,
    clip_of,
    tiny_config,
    tiny_model,
)

from sgear.errors import ConfigError, PrototypeError, RunError
from sgear.experiment.network import check_frozen_map, start_from_run
from sgear.experiment.schema import InitConfig
from sgear.models import EncoderConfig, RulstmConfig, build_model, model_config
from sgear.models.pretrained import Preprocessing, TrainedModel, load_model, save_model
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

VERBS, NOUNS = ("take", "put", "cut"), ("pan", "egg", "leek", "rice")
PAIRS = ((0, 0), (1, 0), (2, 2), (0, 1), (1, 3), (2, 1), (0, 3))


def taxonomy(**changes) -> Taxonomy:
    return Taxonomy(**({"verbs": VERBS, "nouns": NOUNS, "action_pairs": PAIRS} | changes))


def saved(name: str, folder, vocabulary: Taxonomy | None = None):
    model = tiny_model(name)
    trained = TrainedModel(
        model=model,
        config=model.config,
        taxonomy=vocabulary or taxonomy(),
        protocol=AnticipationProtocol(tau_a_s=1.0, tau_o_s=8.0, fps=1.0),
        preprocessing=Preprocessing(kind="features"),
        log_prior=torch.zeros(len(PAIRS)),
    )
    save_model(trained, folder)
    return model


@pytest.mark.parametrize("name", EVERY)
def test_save_and_load_give_the_same_bits(name, tmp_path):
    model, clip = saved(name, tmp_path), clip_of(0, 2, 5)
    loaded = load_model(tmp_path).model
    assert loaded.config == model.config
    with torch.no_grad():
        first, second = model(clip), loaded(clip)
    for field in ("logits", "past_logits", "verb_logits", "noun_logits"):
        assert torch.equal(getattr(first, field), getattr(second, field))


def test_weights_of_another_model_are_refused_with_both_sides(tmp_path):
    saved("sgear", tmp_path / "a")
    saved("avt", tmp_path / "b")
    shutil.copy(tmp_path / "b" / "weights.safetensors", tmp_path / "a")
    with pytest.raises(RunError, match=r"not the weights of the model that model\.json describes \(sgear.*missing"):
        load_model(tmp_path / "a")


def test_weights_for_another_vocabulary_are_refused_with_both_sides(tmp_path):
    saved("avt", tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    description["taxonomy"] = taxonomy(action_pairs=PAIRS[:5]).to_dict()
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(RunError, match=r"5 actions.*\(7, 32\), expected \(5, 32\)"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"format": 1}'])
def test_a_damaged_description_is_refused(tmp_path, text):
    saved("avt", tmp_path)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(RunError, match=r"model\.json"):
        load_model(tmp_path)


def make_run(root, name: str = "sgear", vocabulary: Taxonomy | None = None) -> str:
    root.mkdir()
    (root / "config.yaml").write_text("name: first\n")
    saved(name, root / "model", vocabulary)
    return str(root)


def test_a_run_gives_its_blocks_and_says_so(tmp_path):
    init = InitConfig(run=make_run(tmp_path / "first"), blocks=["decoder", "prototypes"])
    lines = start_from_run(tiny_model("sgear"), init, taxonomy())
    assert "prototypes 1" in lines[0]
    for line, what in zip(lines, ("loaded", "missing", "unexpected"), strict=True):
        assert line.startswith(f"from {init.run}: {what} ")


@pytest.mark.parametrize("block", ["prototypes", "classifier", "field_classifiers"])
def test_rows_of_another_vocabulary_are_refused_even_where_their_number_fits(tmp_path, block):
    other = taxonomy(nouns=("pan", "egg", "leek", "salt"))
    init = InitConfig(run=make_run(tmp_path / "first", vocabulary=other), blocks=[block])
    with pytest.raises(RunError, match=rf"{block} of .* 7 actions \(digest {other.digest}\).*{taxonomy().digest}"):
        start_from_run(tiny_model("sgear"), init, taxonomy())


def test_a_block_without_classes_may_come_from_another_vocabulary(tmp_path):
    other = taxonomy(nouns=("pan", "egg", "leek", "salt"))
    init = InitConfig(run=make_run(tmp_path / "first", vocabulary=other), blocks=["decoder"])
    assert start_from_run(tiny_model("sgear"), init, taxonomy())


def test_an_untrained_map_behind_a_vit_is_not_frozen():
    config = replace(tiny_config("sgear", pixels=True), encoder=replace(PIXELS, embed_dim=16))
    mapped = build_model(config, num_actions=NUM_ACTIONS, num_verbs=NUM_VERBS, num_nouns=NUM_NOUNS)
    with pytest.raises(
        ConfigError, match=r"encoder\.project, the map from the 16 numbers .* to the 32 .*model\.width=16"
    ):
        check_frozen_map(mapped, InitConfig(freeze=["encoder"]))
    check_frozen_map(mapped, InitConfig(freeze=["decoder"]))
    check_frozen_map(mapped, InitConfig(run="a", blocks=["encoder"], freeze=["encoder"]))
    check_frozen_map(tiny_model("sgear", pixels=True), InitConfig(freeze=["encoder"]))
    check_frozen_map(tiny_model("sgear"), InitConfig(freeze=["encoder"]))


def test_prototypes_of_another_number_or_width_are_refused_with_both_sides():
    with pytest.raises(PrototypeError, match=r"\(5, 32\).*7 actions and width 32"):
        tiny_model("sgear").bank.set_visual(torch.zeros(5, 32))


@pytest.mark.parametrize("name", ["sgear", "avt"])
def test_features_of_another_width_are_refused_with_both_widths(name):
    with pytest.raises(ConfigError, match=rf"width {FEATURE_DIM}, got a clip of shape \(2, 3, 9\)"):
        tiny_model(name)(torch.zeros(2, 3, 9))


@pytest.mark.parametrize("name", EVERY)
def test_a_clip_longer_than_built_for_is_refused_with_both_lengths(name):
    with pytest.raises(ValueError, match=r"9 steps.*at most 8.*max_steps"):
        tiny_model(name)(clip_of(0, 1, 9))


BUILT_IN = {
    "sgear": tiny_config("sgear"),
    "avt": tiny_config("avt"),
    "rulstm": model_config(
        name="rulstm",
        encoder=EncoderConfig(feature_dim=4),
        rulstm=RulstmConfig(modalities=[4], hidden_dim=8, step_s=1.0, tau_a_s=1.0),
    ),
    "frequency": model_config(name="frequency"),
    "last_action": model_config(name="last_action"),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_description_with_the_settings_of_all_models_as_once_written_loads(name, tmp_path):
    config = BUILT_IN[name]
    model = build_model(config, num_actions=len(PAIRS), num_verbs=len(VERBS), num_nouns=len(NOUNS)).eval()
    trained = TrainedModel(
        model=model,
        config=config,
        taxonomy=taxonomy(),
        protocol=AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0),
        preprocessing=Preprocessing(kind="features"),
        log_prior=torch.zeros(len(PAIRS)),
    )
    save_model(trained, tmp_path)
    path = tmp_path / "model.json"
    description = json.loads(path.read_text())
    assert set(description["config"]) == {item.name for item in fields(type(model).Config)}
    before = asdict(config)
    for other in BUILT_IN.values():
        before = asdict(other) | before
    for setting in ("frames_per_step", "step_frames_s"):
        del description["preprocessing"][setting]
    path.write_text(json.dumps({**description, "config": before}))
    loaded = load_model(tmp_path)
    assert type(loaded.model) is type(model)
    assert loaded.config == model.config
    weights = loaded.model.state_dict()
    assert all(torch.equal(weights[key], tensor) for key, tensor in model.state_dict().items())
