"""Regression on histories: the features equal slow loops, nothing looks ahead, people are held out of each other."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.errors import ConfigError
from sgear.models import EncoderConfig, HistoryRegression
from sgear.models.history import (
    LIFETIMES_STEPS,
    OFTEN_STEPS,
    SPAN_STEPS,
    HistoryConfig,
    HistorySettings,
    frame_features,
    history_features,
)
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

ACTIONS, WIDTH, STEPS = 3, 4, 12
_COLUMNS = ("uid", "participant_id", "video_id", "start_s", "stop_s", "verb_id", "noun_id", "action_id")
# This model learns from windows alone.
NO_SEGMENTS = SegmentTable(
    pl.DataFrame(
        schema={name: pl.String if i < 3 else pl.Float64 if i < 5 else pl.Int64 for i, name in enumerate(_COLUMNS)}
    ),
    Taxonomy.from_labels(["cut onion", "mix salad", "eat salad"]),
    origin="made",
)
CONFIG = HistoryConfig(
    max_steps=STEPS, encoder=EncoderConfig(feature_dim=WIDTH), history=HistorySettings(frame_c=1.0, next_c=1.0)
)


def draw(seed: int, num_absent: int, width: int = WIDTH) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.randn(2, STEPS, width, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(2, STEPS, dtype=torch.bool)
    mask[0, :num_absent] = False
    return values, mask


@given(seed=st.integers(0, 99), num_absent=st.integers(0, STEPS - 1))
def test_frame_features_equal_a_loop(seed, num_absent):
    clip, mask = draw(seed, num_absent)
    found = frame_features(clip, mask)
    for row in range(2):
        for step in range(num_absent if row == 0 else 0, STEPS):
            first = max(num_absent if row == 0 else 0, step - SPAN_STEPS + 1)
            span = clip[row, first : step + 1].double()
            expected = torch.cat([clip[row, step].double(), span.mean(dim=0), span.std(dim=0, unbiased=False)])
            torch.testing.assert_close(found[row, step], expected, rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 99), num_absent=st.integers(0, STEPS - 1))
def test_history_features_equal_a_loop(seed, num_absent):
    values, mask = draw(seed, num_absent, ACTIONS + 1)
    posteriors = values.softmax(dim=-1)
    found = history_features(posteriors, mask)
    for row in range(2):
        begin = num_absent if row == 0 else 0
        for step in range(begin, STEPS):
            past = posteriors[row, begin : step + 1].double()
            ages = torch.arange(len(past) - 1, -1, -1, dtype=torch.float64)
            parts = [past[-1]]
            for lifetime in LIFETIMES_STEPS:
                weights = (-ages / lifetime).exp()[:, None]
                parts.append((weights * past).sum(dim=0) / weights.sum())
            total, elapsed = past.sum(dim=0), torch.tensor([float(len(past))], dtype=torch.float64)
            parts += [1 - (-total / OFTEN_STEPS).exp(), total.log1p(), elapsed / 100, elapsed.log1p()]
            torch.testing.assert_close(found[row, step], torch.cat(parts), rtol=1e-6, atol=1e-9)


def samples(num_people: int = 4, seed: int = 0):
    """Windows in which the next action is the one after the newest, and features name the action of each step."""
    rng, found = np.random.default_rng(seed), []
    for index in range(80):
        target = rng.integers(ACTIONS)
        labels = (target - 1 + (np.arange(STEPS) - STEPS + 1) // 4) % ACTIONS
        clip = np.eye(WIDTH)[labels] + 0.3 * rng.standard_normal((STEPS, WIDTH))
        found.append(
            {
                "clip": torch.from_numpy(clip).float(),
                "mask": torch.ones(STEPS, dtype=torch.bool),
                "step_labels": torch.from_numpy(labels),
                "target": torch.tensor(target),
                "participant_id": f"P{index % num_people}",
            }
        )
    return found


def learned(found) -> HistoryRegression:
    model = HistoryRegression(CONFIG, num_actions=ACTIONS)
    model.learn(iter(found), NO_SEGMENTS)
    return model.eval()


def test_it_learns_what_follows_and_sees_nothing_later():
    model, found = learned(samples()), samples(seed=1)
    clip = torch.stack([sample["clip"] for sample in found])
    targets = torch.stack([sample["target"] for sample in found])
    output = model(clip)
    assert (output.logits.argmax(dim=1) == targets).float().mean() > 0.9
    changed = clip.clone()
    changed[:, 7:] += 5.0
    torch.testing.assert_close(model(changed).next_logits[:, :7], output.next_logits[:, :7])


def test_what_fills_an_absent_step_is_never_read():
    model, (clip, mask) = learned(samples()), draw(0, 5)
    other = clip.clone()
    other[0, :5] = float("nan")
    assert torch.equal(model(clip, mask).logits, model(other, mask).logits)


def test_a_saved_model_says_the_same():
    model, (clip, mask) = learned(samples()), draw(0, 0)
    fresh = HistoryRegression(CONFIG, num_actions=ACTIONS)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(clip, mask).logits, model(clip, mask).logits)


def test_posteriors_of_training_people_come_from_a_classifier_of_the_others(monkeypatch):
    """The label of one person's frames must not reach the posteriors of that person."""
    read: list[torch.Tensor] = []

    def spy(posteriors, mask):
        read.append(posteriors)
        return history_features(posteriors, mask)

    monkeypatch.setattr("sgear.models.history.history_features", spy)
    found, other = samples(), samples()
    for sample in other:
        if sample["participant_id"] == "P2":
            sample["step_labels"] = (sample["step_labels"] + 1) % ACTIONS
    learned(found)
    learned(other)
    is_second = torch.tensor([sample["participant_id"] == "P2" for sample in found])
    assert torch.equal(read[0][is_second], read[1][is_second])
    assert not torch.equal(read[0][~is_second], read[1][~is_second])


def test_windows_of_one_person_are_refused():
    with pytest.raises(ConfigError, match="holds people out of each other"):
        learned(samples(num_people=1))
