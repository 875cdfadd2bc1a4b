"""AVT against the outputs of its authors' own code on the same weights and inputs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sgear.models import DecoderConfig, EncoderConfig, build_model, model_config
from sgear.models.convert import convert_published
from sgear.models.stepwise import features_for_past

CONFIG = model_config(
    name="avt",
    width=16,
    max_steps=12,
    encoder=EncoderConfig(feature_dim=24),
    decoder=DecoderConfig(width=32, num_layers=2, num_heads=4),
)
# The task asks for 1e-5; the two attention kernels sum in another order.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def values(golden: Path) -> dict[str, torch.Tensor]:
    return load_file(golden / "avt_head.safetensors")


@pytest.fixture(scope="module")
def output(values):
    stored = {name.removeprefix("state."): value for name, value in values.items() if name.startswith("state.")}
    conversion = convert_published(stored, CONFIG, num_actions=11)
    assert conversion.left_out == ()
    assert conversion.filled == ("encoder.feature_scale",)
    model = build_model(CONFIG, num_actions=11).eval()
    model.load_state_dict(conversion.state, strict=True)
    with torch.no_grad():
        return model(values["features"])


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_scores_of_the_next_action(values, output):
    assert_equal(output.logits, values["logits"])


def test_scores_of_the_observed_actions(values, output):
    assert_equal(output.past_logits, values["past_logits"])


def test_anticipated_feature(values, output):
    assert_equal(output.predicted[:, -1], values["future"])


def test_features_judged_against_the_past(values, output):
    assert_equal(features_for_past(output.observed, output.predicted, None), values["past"])


def test_feature_loss_of_each_element(values, output):
    assert_equal((output.predicted[:, :-1] - output.observed[:, 1:]).square(), values["feature_loss"])
