"""Streams and roll-outs: frame by frame is the same as at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import EVERY, MAX_STEPS, NUM_ACTIONS, WIDTH, clip_of, tiny_model

from sgear.models import TemporalContextConfig
from sgear.models.temporal_context import TemporalContextAggregator

FEW = settings(max_examples=8)
# Attention over one step and over many sum in another order.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("name", EVERY)
@FEW
@given(seed=st.integers(0, 1000), steps=st.integers(1, MAX_STEPS), num_missing=st.integers(0, 3))
def test_a_stream_says_after_each_frame_what_the_clip_up_to_it_says(name, pixels, seed, steps, num_missing):
    model, clip = tiny_model(name, pixels=pixels), clip_of(seed, 2, steps, pixels=pixels)
    mask = torch.ones(2, steps, dtype=torch.bool)
    mask[0, : min(num_missing, steps - 1)] = False
    state = None
    with torch.no_grad():
        whole = model(clip, mask)
        for step_idx in range(steps):
            said, state = model.step(clip[:, step_idx], state, mask[:, step_idx])
            real = mask[:, step_idx]
            torch.testing.assert_close(said.observed[real], whole.observed[real, step_idx], **CLOSE)
            torch.testing.assert_close(said.predicted[real], whole.predicted[real, step_idx], **CLOSE)
            torch.testing.assert_close(said.logits[real], whole.next_logits[real, step_idx], **CLOSE)
    torch.testing.assert_close(said.verb_logits, whole.verb_logits, **CLOSE)
    torch.testing.assert_close(said.noun_logits, whole.noun_logits, **CLOSE)


@pytest.mark.parametrize("name", ["sgear", "sgear-causal", "sgear-released"])
def test_a_stream_longer_than_built_for_is_refused_with_both_lengths(name):
    model, clip = tiny_model(name), clip_of(0, 1, MAX_STEPS + 1)
    state = None
    for step_idx in range(MAX_STEPS):
        _, state = model.step(clip[:, step_idx], state)
    with pytest.raises(ValueError, match=r"stream of 9 steps.*at most 8.*temporal_context\.mode=decay"):
        model.step(clip[:, MAX_STEPS], state)


@pytest.mark.parametrize("num_missing", [0, 2])
@pytest.mark.parametrize("name", ["sgear-decay", "avt"])
def test_a_stream_without_end_reads_the_newest_features_that_fit(name, num_missing):
    model, clip = tiny_model(name), clip_of(0, 2, 3 * MAX_STEPS)
    mask = torch.ones(clip.shape[:2], dtype=torch.bool)
    mask[0, MAX_STEPS : MAX_STEPS + num_missing] = False
    state, features = None, []
    for step_idx in range(clip.shape[1]):
        said, state = model.step(clip[:, step_idx], state, mask[:, step_idx])
        features.append(said.observed)
        newest = slice(max(0, step_idx + 1 - MAX_STEPS), step_idx + 1)
        with torch.no_grad():
            predicted = model.decoder(torch.stack(features[newest], dim=1), mask[:, newest])[:, -1]
        real = mask[:, step_idx]
        torch.testing.assert_close(said.predicted[real], predicted[real], **CLOSE)
        assert state.window.observed.shape[1] == state.window.cache.num_steps == min(step_idx + 1, MAX_STEPS)
        if name == "avt" and step_idx >= MAX_STEPS:
            with torch.no_grad():
                whole = model(clip[:, newest], mask[:, newest])
            torch.testing.assert_close(said.logits[real], whole.logits[real], **CLOSE)


def test_the_state_of_a_stream_holds_no_gradients():
    model, state = tiny_model("sgear-decay"), None
    for step_idx in range(3):
        said, state = model.step(clip_of(0, 1, 3)[:, step_idx], state)
    assert not said.logits.requires_grad
    assert not any(block.value.requires_grad for block in state.observer.context)


def test_a_decaying_context_has_a_state_that_does_not_grow_and_no_longest_stream():
    torch.manual_seed(0)
    context = TemporalContextAggregator(
        TemporalContextConfig(num_blocks=1, mode="decay", lifetime_steps=5.0), width=WIDTH, max_steps=4
    )
    tokens, state = torch.randn(1, 40, 2, WIDTH), None
    with torch.no_grad():
        whole = context(tokens)
        for step_idx in range(40):
            informed, state = context.step(tokens[:, step_idx], state)
            assert state[0].key.shape == (1, 1, 2, 32)
    torch.testing.assert_close(informed, whole[:, -1], **CLOSE)


def test_a_stream_can_be_read_in_parts_of_any_size():
    decoder, observed = tiny_model("avt").decoder, torch.randn(2, 7, WIDTH)
    mask = torch.tensor([[False, True, True, True, True, True, True], [True] * 7])
    with torch.no_grad():
        for known in (None, mask):
            whole = decoder(observed, known)
            parts, cache = [], None
            for part in (slice(0, 3), slice(3, 4), slice(4, 7)):
                said, cache = decoder.prefill(observed[:, part], None if known is None else known[:, part], cache)
                parts.append(said)
            torch.testing.assert_close(torch.cat(parts, dim=1)[:, 1:], whole[:, 1:], **CLOSE)


def test_steps_that_do_not_exist_may_follow_steps_of_which_all_did():
    decoder, observed = tiny_model("avt").decoder, torch.randn(2, 4, WIDTH)
    mask = torch.tensor([[True, True, False, True], [True, True, True, True]])
    with torch.no_grad():
        _, cache = decoder.prefill(observed[:, :2])
        said, _ = decoder.prefill(observed[:, 2:], mask[:, 2:], cache)
        torch.testing.assert_close(said, decoder(observed, mask)[:, 2:], **CLOSE)


@pytest.mark.parametrize("name", ["sgear", "avt"])
@FEW
@given(seed=st.integers(0, 1000), observed_steps=st.integers(1, MAX_STEPS), num_steps=st.integers(1, 4))
def test_a_roll_out_equals_appending_each_prediction_to_the_clip(name, seed, observed_steps, num_steps):
    model = tiny_model(name)
    mask = torch.ones(2, observed_steps, dtype=torch.bool)
    mask[0, : observed_steps - 1] = False
    with torch.no_grad():
        observed = model(clip_of(seed, 2, observed_steps), mask).observed
        ahead = model.rollout(observed, num_steps, mask)
        for step_idx in range(num_steps):
            predicted = model.decoder(observed[:, -MAX_STEPS:], mask[:, -MAX_STEPS:])[:, -1]
            torch.testing.assert_close(ahead.features[:, step_idx], predicted, **CLOSE)
            torch.testing.assert_close(ahead.logits[:, step_idx], model.classify(predicted).logits, **CLOSE)
            observed = torch.cat([observed, predicted[:, None]], dim=1)
            mask = torch.cat([mask, torch.ones(2, 1, dtype=torch.bool)], dim=1)


@pytest.mark.parametrize("name", ["sgear", "sgear-released", "avt"])
def test_the_first_step_of_a_roll_out_is_the_anticipated_action(name):
    model = tiny_model(name)
    with torch.no_grad():
        output = model(clip_of(0, 2, 5))
        ahead = model.rollout(output.observed, 3)
    torch.testing.assert_close(ahead.logits[:, 0], output.logits, **CLOSE)
    assert ahead.features.shape == (2, 3, WIDTH)
    assert ahead.logits.shape == (2, 3, NUM_ACTIONS)


@pytest.mark.parametrize(
    ("observed_steps", "num_steps", "message"), [(5, 0, "at least 1 step"), (9, 1, r"9 steps.*at most 8")]
)
def test_a_roll_out_of_a_length_that_cannot_be_is_refused(observed_steps, num_steps, message):
    with pytest.raises(ValueError, match=message):
        tiny_model("avt").rollout(torch.zeros(1, observed_steps, WIDTH), num_steps)
