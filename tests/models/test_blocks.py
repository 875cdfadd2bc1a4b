"""Starting and freezing block by block."""

from dataclasses import replace

import pytest
import torch
from tiny_models import NUM_ACTIONS, NUM_NOUNS, NUM_VERBS, tiny_config, tiny_model

from sgear.errors import ConfigError, RunError
from sgear.models import build_model
from sgear.models.blocks import block_names, copy_blocks, freeze_blocks
from sgear.training.config import OptimConfig
from sgear.training.optim import build_optimizer

BLOCKS = [
    "fusion_gate",
    "encoder",
    "temporal_context",
    "prototypes",
    "prototype_attention",
    "decoder",
    "prototype_mix",
    "classifier",
    "field_classifiers",
]


def fresh(name: str = "sgear", **changes):
    torch.manual_seed(1)
    config = replace(tiny_config(name), **changes)
    return build_model(config, num_actions=NUM_ACTIONS, num_verbs=NUM_VERBS, num_nouns=NUM_NOUNS)


def test_the_blocks_of_sgear_hold_all_its_tensors():
    model = fresh()
    assert block_names(model) == BLOCKS
    summary = copy_blocks(model, tiny_model("sgear"), BLOCKS)
    assert (summary.missing, summary.unexpected) == ((), ())


@pytest.mark.parametrize("block", BLOCKS)
def test_a_copied_block_is_equal_and_the_others_stay(block):
    model, source = fresh(), tiny_model("sgear")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    summary = copy_blocks(model, source, [block])
    for name, tensor in model.state_dict().items():
        expected = source.state_dict()[name] if name in summary.loaded else before[name]
        assert torch.equal(tensor, expected), name


def test_the_summary_names_what_was_loaded_missing_and_unexpected():
    model, source = fresh("avt"), tiny_model("sgear")
    loaded, missing, unexpected = copy_blocks(model, source, ["encoder", "decoder"]).lines("runs/first")
    num_decoder = len(model.decoder.state_dict())
    assert loaded == (
        f"from runs/first: loaded {2 + num_decoder} tensors: encoder 2, decoder {num_decoder} "
        f"(encoder.feature_scale, encoder.project.weight, decoder.project_in.weight and {num_decoder - 1} more)"
    )
    assert missing == (
        "from runs/first: missing 6 tensors: classifier 2, field_classifiers 4 (classifier.linear.weight, "
        "classifier.linear.bias, field_classifiers.verb.linear.weight and 3 more); they keep their start values"
    )
    assert unexpected.startswith("from runs/first: unexpected ")
    assert unexpected.endswith("more); not used")
    for block in ("temporal_context", "prototypes 1", "prototype_attention", "classifier 2"):
        assert block in unexpected


def test_a_summary_of_everything_says_none_twice():
    lines = copy_blocks(fresh(), tiny_model("sgear"), BLOCKS).lines("runs/first")
    assert lines[1:] == ["from runs/first: missing none", "from runs/first: unexpected none"]


def test_a_block_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(RunError, match=r"this model has no block 'head'; it has .*encoder.*classifier"):
        copy_blocks(fresh(), tiny_model("sgear"), ["head"])
    with pytest.raises(RunError, match=r"the run to start from has no block 'prototypes'; it has encoder, decoder"):
        copy_blocks(fresh(), tiny_model("avt"), ["prototypes"])
    with pytest.raises(RunError, match=r"init\.freeze: this model has no block 'bank'; it has .*prototypes"):
        freeze_blocks(fresh(), ["bank"])


def test_a_block_of_another_size_is_refused_with_both_sizes():
    model = fresh(max_steps=6)
    with pytest.raises(RunError, match=r"block 'decoder'.*positions\.weight is \(8, 32\), expected \(6, 32\)"):
        copy_blocks(model, tiny_model("sgear"), ["decoder"])


def test_a_block_of_another_kind_is_refused_with_the_names_that_differ():
    with pytest.raises(RunError, match=r"2 tensors are missing.*step_weights.*2 are not known here.*log_lifetime"):
        copy_blocks(fresh(), tiny_model("sgear-decay"), ["temporal_context"])


def test_frozen_blocks_get_no_gradient_and_no_optimizer():
    model = fresh()
    lines = freeze_blocks(model, ["encoder", "prototypes"])
    assert lines == ["encoder: frozen, 192 values", "prototypes: frozen, 224 values"]
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"encoder.project.weight", "bank.visual"}
    optimizer = build_optimizer(model, OptimConfig())
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert id(model.bank.visual) not in held
    assert id(model.fusion_gate) in held


def test_freezing_everything_is_refused():
    model = fresh()
    freeze_blocks(model, BLOCKS)
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        build_optimizer(model, OptimConfig())
