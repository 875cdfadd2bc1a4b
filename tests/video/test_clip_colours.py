"""The change of colours that is drawn beside a clip, and applied where the model runs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.video import ClipTransform
from sgear.video.transforms import finish_clip, no_colour, plain_colour

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def draw_clips(num_clips: int, seed: int = 0) -> torch.Tensor:
    shape = (num_clips, 3, 3, 8, 12)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def draw_colours(num_clips: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(0.1, 1.5, (num_clips, 4, 3)).astype(np.float32))


def test_a_clip_is_finished_as_a_loop_over_its_values_does():
    clips, colours = draw_clips(2), draw_colours(2)
    colours[1, 1] = -0.4
    finished = finish_clip(clips, colours)
    values = clips.numpy().astype(np.float64)
    for b, t, c in np.ndindex(2, 3, 3):
        gain, shift, mean, std = colours[b, :, c].double().tolist()
        for value, ours in zip(values[b, t, c].ravel(), finished[b, t, c].ravel().tolist(), strict=True):
            expected = (min(max(value / 255 * gain + shift, 0.0), 1.0) - mean) / std
            # float32 of values up to 10
            assert ours == pytest.approx(expected, abs=1e-5)


@given(seed=st.integers(0, 1000), brightness=st.floats(0, 0.9), contrast=st.floats(0, 0.9))
def test_the_line_of_a_colour_equals_gain_then_contrast_around_the_mean(seed, brightness, contrast):
    transform = ClipTransform(8, 12, MEAN, STD, crop_margin=0.0, flip=False, brightness=brightness, contrast=contrast)
    clip, colour = transform.train(draw_clips(1, seed)[0], np.random.default_rng(seed))
    signed = 2 * np.random.default_rng(seed).uniform(0.0, 1.0, 9)[3:8] - 1
    # The formula of the float clips that left the loader before.
    gains = (1 + brightness * signed[0]) * (1 + 0.5 * brightness * signed[2:])
    pixels = clip.double() / 255 * torch.from_numpy(gains).view(1, 3, 1, 1)
    centre = pixels.mean(dim=(0, 2, 3), keepdim=True)
    pixels = ((pixels - centre) * (1 + contrast * signed[1]) + centre).clamp(0, 1)
    expected = (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    # float32 of values in [0, 3], divided by std
    torch.testing.assert_close(finish_clip(clip[None], colour[None])[0].double(), expected, atol=1e-5, rtol=0)


def test_a_colour_of_gain_1_changes_no_value():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 16, 16).expand(1, 1, 3, 16, 16)
    finished = finish_clip(levels, plain_colour((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))[None])
    assert torch.equal(finished, levels.float() / 255)


def test_steps_that_do_not_exist_are_exactly_zero():
    mask = torch.tensor([[False, True, True], [False, False, True]])
    finished = finish_clip(draw_clips(2), plain_colour(MEAN, STD).expand(2, -1, -1), mask)
    assert finished[~mask].eq(0).all()
    assert torch.equal(finished[mask], finish_clip(draw_clips(2), plain_colour(MEAN, STD).expand(2, -1, -1))[mask])
    assert finished[mask].ne(0).any(dim=-1).all()


@given(seed=st.integers(0, 1000))
def test_clips_beside_a_clip_change_nothing(seed):
    clips, colours = draw_clips(4, seed), draw_colours(4, seed)
    together = finish_clip(clips, colours)
    for idx in range(4):
        assert torch.equal(together[idx], finish_clip(clips[[idx]], colours[[idx]])[0])


def test_clips_are_left_alone():
    clips, colours = draw_clips(2), draw_colours(2)
    finish_clip(clips, colours, torch.tensor([[True, False, True]] * 2))
    assert torch.equal(clips, draw_clips(2))
    assert torch.equal(colours, draw_colours(2))


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 3, 8, 12)])
def test_what_is_no_uint8_passes_untouched(shape):
    clip = torch.randn(shape)
    assert finish_clip(clip, no_colour().expand(2, -1, -1), torch.zeros(2, 3, dtype=torch.bool)) is clip


def test_the_mean_of_a_contrast_is_exact_in_any_layout():
    transform = ClipTransform(64, 96, MEAN, STD, crop_margin=0.0, flip=False, brightness=0.3, contrast=0.5)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 3, 64, 96), dtype=np.uint8))
    plain, last = frames, frames.contiguous(memory_format=torch.channels_last)
    colours = [transform.train(clip, np.random.default_rng(3))[1] for clip in (plain, last)]
    assert torch.equal(*colours)
