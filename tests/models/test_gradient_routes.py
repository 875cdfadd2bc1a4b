"""Which loss trains what: every switch that cuts a gradient cuts that one."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import NUM_ACTIONS, clip_of, tiny_config

from sgear.losses import Objective, ObjectiveConfig
from sgear.models import build_model

NONE = ObjectiveConfig(cls=0.0, past=0.0, feat=0.0)


def trained(objective: ObjectiveConfig, **parts) -> set[str]:
    """Return which of the prototypes and the decoder get a gradient."""
    torch.manual_seed(0)
    config: Any = tiny_config("sgear")
    config = replace(config, head=replace(config.head, verb_noun=False))
    config = replace(config, **{name: replace(getattr(config, name), **change) for name, change in parts.items()})
    model = build_model(config, num_actions=NUM_ACTIONS)
    output = model(clip_of(0, 2, 4))
    labels = torch.tensor([[0, 1, 2, 3]] * 2)
    relations = torch.eye(NUM_ACTIONS) + 0.3
    terms = Objective(objective, relations)(output, labels[:, 1], labels, torch.ones(2, 4, dtype=torch.bool))
    terms["total"].backward()
    watched = {"prototypes": model.bank.visual, "decoder": model.decoder.project_out.weight}
    return {name for name, weight in watched.items() if weight.grad is not None and weight.grad.abs().sum() > 0}


def test_the_semantic_loss_trains_prototypes_and_features():
    assert trained(replace(NONE, sem=1.0)) == {"prototypes", "decoder"}


def test_the_semantic_loss_of_the_released_feature_path_trains_the_prototypes_alone():
    assert trained(replace(NONE, sem=1.0), head={"detach_similarity_feature": True}) == {"prototypes"}


@pytest.mark.parametrize(("whose", "expected"), [("predicted", {"prototypes", "decoder"}), ("encoder", {"prototypes"})])
def test_the_semantic_loss_of_the_past_trains_the_decoder_or_the_encoder(whose, expected):
    assert trained(replace(NONE, past_sem=1.0), head={"past_similarity": whose}) == expected


def test_cosines_can_keep_their_gradient_from_the_prototypes():
    assert trained(replace(NONE, sem=1.0), head={"detach_similarity_prototypes": True}) == {"decoder"}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({}, {"prototypes", "decoder"}),
        ({"detach_similarity_prototypes": True}, {"decoder"}),
        ({"detach_similarity_prototypes": True, "detach_prototype_values": False}, {"prototypes", "decoder"}),
        ({"mix_prototypes": False}, {"decoder"}),
    ],
)
def test_classification_trains_the_prototypes_through_the_read_out_alone(head, expected):
    assert trained(replace(NONE, cls=1.0), head=head) == expected


@pytest.mark.parametrize(("detach", "expected"), [(True, {"decoder"}), (False, {"prototypes", "decoder"})])
def test_the_regularizer_moves_the_prototype_only_where_its_target_is_not_cut(detach, expected):
    assert trained(replace(NONE, reg=1.0, detach_reg_target=detach)) == expected


@pytest.mark.parametrize(("detach", "expected"), [(True, {"decoder"}), (False, {"prototypes", "decoder"})])
def test_prototype_attention_lets_the_gradient_through_where_it_is_told_to(detach, expected):
    assert trained(replace(NONE, feat=1.0), prototype_attention={"detach_prototypes": detach}) == expected


def test_the_temperature_can_be_fixed():
    head = replace(tiny_config("sgear").head, verb_noun=False, temperature=1.0, learn_temperature=False)
    model = build_model(replace(tiny_config("sgear"), head=head), num_actions=NUM_ACTIONS)
    assert model.prototype_mix.log_temperature.item() == 0.0
    assert not model.prototype_mix.log_temperature.requires_grad
    model(clip_of(0, 1, 2)).logits.sum().backward()
    assert model.prototype_mix.log_temperature.grad is None


def test_the_temperature_starts_at_0_07_and_learns():
    model = build_model(replace(tiny_config("sgear"), head=type(tiny_config("sgear").head)()), num_actions=NUM_ACTIONS)
    assert model.prototype_mix.log_temperature.exp().item() == pytest.approx(0.07)
    model(clip_of(0, 1, 2)).logits.square().sum().backward()
    assert model.prototype_mix.log_temperature.grad.abs() > 0
