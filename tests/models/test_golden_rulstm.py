"""RULSTM against the scores of its authors' own code on the same weights and inputs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sgear.models import EncoderConfig, ModelConfig, RulstmConfig, build_model
from sgear.models.convert import convert_rulstm, load_published

WIDTHS, HIDDEN_DIM, NUM_ACTIONS, NUM_STEPS = [20, 14, 9], 12, 11, 14
# The task asks for 1e-5; sums of a hundred float32 terms in another order differ by less.
TOLERANCE = 1e-5


def config_of(widths: list[int]) -> ModelConfig:
    return ModelConfig(
        name="rulstm",
        max_steps=NUM_STEPS,
        encoder=EncoderConfig(feature_dim=sum(widths)),
        rulstm=RulstmConfig(modalities=widths, hidden_dim=HIDDEN_DIM),
    )


@pytest.fixture(scope="module")
def values(golden: Path) -> dict[str, torch.Tensor]:
    return load_file(golden / "rulstm.safetensors")


def state_of(values: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in values.items() if name.startswith(prefix)}


@torch.no_grad()
def test_fused_scores_after_every_step_equal_those_of_the_release(values, tmp_path):
    save_file(state_of(values, "state."), tmp_path / "published.safetensors")
    model, conversion = load_published(tmp_path / "published.safetensors", config_of(WIDTHS), num_actions=NUM_ACTIONS)
    assert (conversion.left_out, conversion.filled) == ((), ())
    clip = torch.cat([values[f"inputs.{index}"] for index in range(3)], dim=-1)
    output = model(clip)
    torch.testing.assert_close(output.next_logits, values["fused_logits"], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(output.logits, values["fused_logits"][:, -1], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(output.horizon_logits, values["fused_logits"][:, -8:], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("index", range(3))
@torch.no_grad()
def test_a_branch_alone_gives_the_scores_of_the_release(values, index):
    config = config_of([WIDTHS[index]])
    branch = state_of(values, f"state.branches.{index}.")
    model = build_model(config, num_actions=NUM_ACTIONS).eval()
    model.load_state_dict(convert_rulstm(branch, config, num_actions=NUM_ACTIONS).state, strict=True)
    output = model(values[f"inputs.{index}"])
    torch.testing.assert_close(output.next_logits, values[f"branch_logits.{index}"], rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_a_clip_that_ends_one_second_before_the_action_gives_the_score_at_one_second(values):
    config = config_of(WIDTHS)
    model = build_model(config, num_actions=NUM_ACTIONS).eval()
    model.load_state_dict(convert_rulstm(state_of(values, "state."), config, num_actions=NUM_ACTIONS).state)
    model.set_tau_a(1.0)
    clip = torch.cat([values[f"inputs.{index}"] for index in range(3)], dim=-1)[:, :11]
    torch.testing.assert_close(model(clip).logits, values["fused_logits"][:, 10], rtol=0, atol=TOLERANCE)
