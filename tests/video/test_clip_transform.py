"""Crops, sizes and mirrors of clips, in bytes; colours are in test_clip_colours.py."""

import numpy as np
import pytest
import torch
from clip_twins import slow_evaluate, slow_train
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.video import ClipTransform
from sgear.video.transforms import VIEWS, finish_clip

PLAIN = {"crop_margin": 0.0, "flip": False, "brightness": 0.0, "contrast": 0.0}
STRONG = {"crop_margin": 0.3, "scale_jitter": (0.1, 0.6), "flip": True, "brightness": 0.4, "contrast": 0.4}
NO_NORM = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def _clip(num_frames=3, height=32, width=48, seed=0):
    shape = (num_frames, 3, height, width)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def _finished(clip, colour):
    """What a model reads of one clip."""
    return finish_clip(clip[None], colour[None])[0]


def _trained(transform, frames, seed):
    return _finished(*transform.train(frames, np.random.default_rng(seed)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_same_seed_gives_the_same_bits(seed):
    transform = ClipTransform(16, 24, *NO_NORM, **STRONG)
    first, second = (transform.train(_clip(), np.random.default_rng(seed)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_other_seeds_give_other_clips():
    transform = ClipTransform(16, 24, *NO_NORM, **STRONG)
    clips = [_trained(transform, _clip(), seed) for seed in range(8)]
    assert all(not torch.equal(clips[0], clip) for clip in clips[1:])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_frame_of_a_clip_is_changed_alike(seed):
    still = _clip(1).expand(4, -1, -1, -1)
    clip = _trained(ClipTransform(16, 24, *NO_NORM, **STRONG), still, seed)
    assert torch.equal(clip, clip[:1].expand_as(clip))


@pytest.mark.parametrize("options", [PLAIN, STRONG, {**PLAIN, "scale_jitter": (0.0, 0.5)}, {**PLAIN, "contrast": 0.2}])
def test_settings_do_not_change_how_much_randomness_is_used(options):
    rng = np.random.default_rng(1)
    ClipTransform(16, 24, *NO_NORM, **options).train(_clip(), rng)
    other = np.random.default_rng(1)
    other.uniform(size=9)
    assert rng.integers(1 << 60) == other.integers(1 << 60)


def test_plain_transform_of_a_clip_of_the_right_size_only_normalises():
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.4, 0.3)
    transform = ClipTransform(32, 48, mean, std, **PLAIN)
    clip = transform.evaluate(_clip())
    assert torch.equal(clip, _clip())
    back = _finished(clip, transform.colour) * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    # float32 rounding of values in [0, 1]
    torch.testing.assert_close(back, _clip().float() / 255, atol=1e-6, rtol=0)


def test_flip_alone_mirrors_about_half_of_the_clips():
    transform = ClipTransform(32, 48, *NO_NORM, **{**PLAIN, "flip": True})
    upright = transform.evaluate(_clip())
    kinds = []
    for seed in range(40):
        clip, _ = transform.train(_clip(), np.random.default_rng(seed))
        is_mirrored = torch.equal(clip, upright.flip(-1))
        assert is_mirrored or torch.equal(clip, upright)
        kinds.append(is_mirrored)
    assert 10 < sum(kinds) < 30


def test_crop_reaches_all_four_borders_and_moves_in_both_directions():
    rows = torch.arange(32, dtype=torch.uint8).view(1, 1, 32, 1).expand(1, 1, 32, 48)
    columns = torch.arange(48, dtype=torch.uint8).view(1, 1, 1, 48).expand(1, 1, 32, 48)
    places = torch.cat([rows, columns, rows], dim=1)
    transform = ClipTransform(16, 24, *NO_NORM, **{**PLAIN, "crop_margin": 1.0})
    corners = [transform.train(places, np.random.default_rng(seed))[0][0, :2, 0, 0].tolist() for seed in range(200)]
    tops, lefts = zip(*corners, strict=True)
    assert (min(tops), max(tops), min(lefts), max(lefts)) == (0, 16, 0, 24)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(3, 40), width=st.integers(3, 40), margin=st.floats(0, 1), seed=st.integers(0, 1000))
def test_any_video_gives_the_size_asked_in_range(height, width, margin, seed):
    options = {**STRONG, "crop_margin": margin, "scale_jitter": (margin / 2, margin)}
    frames = _clip(2, height, width)
    clip, colour = ClipTransform(12, 17, *NO_NORM, **options).train(frames, np.random.default_rng(seed))
    assert clip.shape == (2, 3, 12, 17)
    assert clip.dtype == torch.uint8
    finished = _finished(clip, colour)
    assert finished.dtype == torch.float32
    assert 0 <= finished.min() <= finished.max() <= 1


def test_source_frames_are_left_alone():
    frames = _clip()
    ClipTransform(16, 24, *NO_NORM, **STRONG).train(frames, np.random.default_rng(0))
    ClipTransform(32, 48, *NO_NORM, **PLAIN).evaluate(frames).zero_()
    assert torch.equal(frames, _clip())


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_margin": -0.1},
        {"scale_jitter": (0.2, 0.1)},
        {"scale_jitter": (0.0, 1.5)},
        {"brightness": 1.0},
        {"contrast": -1.0},
        {"height": 0},
        {"std": (1.0, 0.0, 1.0)},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    values = {"height": 8, "width": 8, "mean": NO_NORM[0], "std": NO_NORM[1], **PLAIN, **changes}
    with pytest.raises(ValueError, match="must"):
        ClipTransform(**values)


def test_frames_that_are_not_bytes_are_refused():
    with pytest.raises((ValueError, TypeError), match=r"(?i)uint8"):
        ClipTransform(8, 8, *NO_NORM, **PLAIN).evaluate(torch.zeros(1, 3, 8, 8))


def test_three_crops_of_a_wide_video_are_its_left_centre_and_right():
    video = torch.arange(64, dtype=torch.uint8).expand(2, 3, 16, 64).contiguous()
    transform = ClipTransform(16, 16, *NO_NORM, **PLAIN)
    left, centre, right = (transform.evaluate(video, view) for view in VIEWS["three-crop"])
    assert left[0, 0, 0].tolist() == list(range(16))
    assert centre[0, 0, 0].tolist() == list(range(24, 40))
    assert right[0, 0, 0].tolist() == list(range(48, 64))


def test_training_draws_the_scale_of_each_clip_between_two_margins():
    # A slope of one level per pixel: the crop's size is how far the slope rises.
    slope = torch.arange(200, dtype=torch.uint8).expand(1, 3, 200, 200).contiguous()
    options = {**PLAIN, "crop_margin": 0.9, "scale_jitter": (0.25, 1.0)}
    transform = ClipTransform(50, 50, *NO_NORM, **options)
    sizes = []
    for seed in range(300):
        clip, _ = transform.train(slope, np.random.default_rng(seed))
        sizes.append((clip[0, 0, 0, -1].item() - clip[0, 0, 0, 0].item()) * 50 / 49)
    margins = 200 / np.array(sizes) - 1
    # The slope is read in whole levels, so a margin is known to about 0.02.
    assert 0.23 < margins.min() < 0.30
    assert 0.95 < margins.max() < 1.03
    assert np.quantile(margins, [0.25, 0.5, 0.75]) == pytest.approx([0.44, 0.625, 0.81], abs=0.07)


def test_evaluation_keeps_its_own_margin():
    jittered = ClipTransform(16, 24, *NO_NORM, **{**PLAIN, "crop_margin": 0.2, "scale_jitter": (0.5, 0.9)})
    plain = ClipTransform(16, 24, *NO_NORM, **{**PLAIN, "crop_margin": 0.2})
    assert torch.equal(jittered.evaluate(_clip()), plain.evaluate(_clip()))
    assert (jittered.reading_margin, plain.reading_margin) == (0.9, 0.2)


@pytest.mark.parametrize("size", [(9, 12), (16, 24), (40, 70)])
def test_frames_beside_a_frame_and_their_place_in_memory_change_nothing(size):
    height, width = size
    transform = ClipTransform(height, width, *NO_NORM, **{**PLAIN, "crop_margin": 0.1})
    frames = _clip(5)
    together = transform.evaluate(frames)
    channels_last = transform.evaluate(frames.contiguous(memory_format=torch.channels_last))
    alone = torch.cat([transform.evaluate(frames[[idx]]) for idx in range(5)])
    assert together.is_contiguous()
    assert channels_last.is_contiguous()
    assert torch.equal(together, channels_last)
    assert torch.equal(together, alone)


TWINS = {"height": 14, "width": 20, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


@settings(max_examples=12, deadline=None)
@given(height=st.integers(5, 40), width=st.integers(5, 40), seed=st.integers(0, 1000))
def test_training_equals_the_slow_twin(height, width, seed):
    transform = ClipTransform(**TWINS, **STRONG)
    frames = _clip(2, height, width, seed)
    ours = _trained(transform, frames, seed).numpy()
    twin = slow_train(transform, frames.numpy(), np.random.default_rng(seed), rounds=True)
    # Each of the two directions of the resize is rounded: up to about one level, times the largest gain, over std.
    assert np.abs(ours - twin).max() <= 1.01 / 255 * 1.4 * 1.2 * 1.4 / 0.2
    assert np.abs(ours - twin).mean() <= 0.5 / 255 / 0.2


@pytest.mark.parametrize("view", VIEWS["three-crop-flip"])
@pytest.mark.parametrize("video", [(31, 60), (60, 31)])
def test_each_view_equals_the_slow_twin(view, video):
    transform = ClipTransform(**TWINS, **{**PLAIN, "crop_margin": 0.1})
    ours = _finished(transform.evaluate(_clip(2, *video), view), transform.colour).numpy()
    twin = slow_evaluate(transform, _clip(2, *video).numpy(), view)
    assert np.abs(ours - twin).max() <= 1.02 / 255 / 0.2


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000))
def test_bytes_lose_less_than_a_level_against_the_clip_that_was_never_rounded(seed):
    transform = ClipTransform(16, 24, *NO_NORM, **STRONG)
    frames = _clip(2, seed=seed)
    ours = _trained(transform, frames, seed).numpy()
    exact = slow_train(transform, frames.numpy(), np.random.default_rng(seed), rounds=False)
    # At most about one level, times the largest gain of brightness, colour and contrast.
    assert np.abs(ours - exact).max() <= 1.05 / 255 * 1.4 * 1.2 * 1.4
