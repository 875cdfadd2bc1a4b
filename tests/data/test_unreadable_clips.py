"""A clip that cannot be read is an error with its name, or an empty sample; nothing else is ever skipped."""

import os

import pytest
import torch
from feature_lookups import FEATURES, LABELS, PROTOCOL, SEGMENTS, Failing

from sgear.data import AnticipationDataset, FeatureSource, RecognitionDataset
from sgear.data.dataset import OnError, checked_on_error, observable_segments
from sgear.data.loader import make_loader, whole_batches
from sgear.errors import ConfigError, FeatureError, FeatureWidthError, VideoError
from sgear.timing import RecognitionProtocol


def samples(source, *, on_error: OnError = "skip", seed: int | None = None) -> AnticipationDataset:
    return AnticipationDataset(SEGMENTS, PROTOCOL, LABELS, source, seed=seed, on_error=on_error)


@pytest.mark.parametrize("seed", [None, 0])
def test_an_unreadable_sample_has_the_right_shape_no_step_and_no_label(seed):
    dataset = samples(FeatureSource(FEATURES), seed=seed)
    whole, empty = dataset[0], dataset[2]
    assert whole["unreadable"] == ""
    assert "no features of video 'lost'" in empty["unreadable"]
    assert empty["clip"].shape == whole["clip"].shape
    assert empty["clip"].dtype == whole["clip"].dtype
    assert not empty["clip"].any()
    assert not empty["mask"].any()
    assert (empty["step_labels"] == -1).all()
    assert (empty["next_labels"] == -1).all()
    assert empty["target"] == -1
    assert empty["row"] == 2


def test_a_recognition_sample_can_be_unreadable_too():
    protocol = RecognitionProtocol(num_steps=3, jitter=0.5)
    dataset = RecognitionDataset(SEGMENTS, protocol, LABELS, FeatureSource(FEATURES), seed=0, on_error="skip")
    assert dataset[2]["unreadable"]
    assert dataset[2]["clip"].shape == (3, 2)
    assert not dataset[0]["unreadable"]


def test_an_instant_past_the_end_is_an_unreadable_sample():
    assert "cover 0.000 to 19.750 s" in samples(FeatureSource(FEATURES))[1]["unreadable"]


def test_stopping_names_segment_video_instants_reason_and_the_way_on():
    dataset = samples(FeatureSource(FEATURES), on_error="skip")
    dataset.on_error = "stop"
    with pytest.raises(FeatureError) as err:
        dataset[1]
    for words in ("'late'", "'v'", "27.000 to 29.000 s", "looks truncated", "source.on_error=skip"):
        assert words in str(err.value)


def test_a_video_that_cannot_be_opened_stops_with_the_name_of_its_first_segment():
    with pytest.raises(FeatureError, match=r"segment 'gone' \(video 'lost'\)"):
        observable_segments(SEGMENTS, PROTOCOL, FeatureSource(FEATURES))


def test_segments_of_a_missing_video_count_as_seen_when_skipping():
    is_seen = observable_segments(SEGMENTS, PROTOCOL, FeatureSource(FEATURES), on_error="skip")
    assert is_seen.tolist() == [True, True, True]


@pytest.mark.parametrize(
    "error", [ConfigError("a setting"), FeatureWidthError("a width"), ValueError("a bug"), KeyError("a bug")]
)
def test_what_is_no_damage_of_a_clip_is_raised_as_it_is(error):
    with pytest.raises(type(error)) as err:
        samples(Failing(error))[0]
    assert err.value is error


def test_a_video_error_stays_one_when_it_stops_the_run():
    dataset = samples(Failing(VideoError("a video")), on_error="stop")
    with pytest.raises(VideoError, match="segment 'whole'"):
        dataset[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_of_a_loader_process_arrives_as_it_was(num_workers):
    error = VideoError("video.mp4: damaged at t = 1.000 s")
    loader = make_loader(samples(Failing(error), on_error="stop"), batch_size=1, num_workers=num_workers)
    with pytest.raises(VideoError) as err:
        list(whole_batches(loader))
    text = str(err.value)
    assert text.startswith("segment 'whole' (video 'v', 2.000 to 4.000 s): video.mp4: damaged at t = 1.000 s.")
    assert "\n" not in text


def test_a_bug_in_a_loader_process_keeps_its_traceback():
    loader = make_loader(samples(Failing(ValueError("a bug"))), batch_size=1, num_workers=1)
    with pytest.raises(ValueError, match="Traceback"):
        list(whole_batches(loader))


def test_batches_carry_the_reasons_in_their_order():
    (batch,) = whole_batches(make_loader(samples(FeatureSource(FEATURES)), batch_size=3, num_workers=0))
    assert [bool(reason) for reason in batch["unreadable"]] == [False, True, True]
    assert batch["mask"].any(dim=1).tolist() == [True, False, False]
    assert torch.isfinite(batch["clip"]).all()


def test_other_words_for_on_error_are_refused():
    with pytest.raises(ConfigError, match=r"source\.on_error='ignore' is unknown; choose stop or skip"):
        checked_on_error("ignore")


def test_a_loader_has_no_more_processes_than_there_are_cores():
    loader = make_loader(samples(FeatureSource(FEATURES)), batch_size=1, num_workers=10_000)
    assert 1 <= loader.num_workers <= len(os.sched_getaffinity(0))
