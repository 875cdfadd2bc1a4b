"""What follows from all that was recognized so far: two stages of logistic regression, the first one cross-fitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from sgear.errors import ConfigError
from sgear.models.base import AnticipationOutput, hide_absent, register_model
from sgear.models.baselines import Baseline, LogisticClassifier, baseline_output
from sgear.models.config import EncoderConfig
from sgear.models.encoders.features import require_feature_dim
from sgear.segments import UNKNOWN_ACTION, SegmentTable

SPAN_STEPS = 6
"""Newest steps over which the frame classifier reads mean and spread beside the newest one."""
LIFETIMES_STEPS = (3.0, 10.0, 30.0, 90.0)
"""Ages at which the weight of a posterior has fallen to 1/e, in the means of the second stage."""
OFTEN_STEPS = 8.0
"""An action seen for many times so many steps counts as done."""


@dataclass(frozen=True, kw_only=True)
class HistorySettings:
    """The two stages.

    Args:
        frame_c: The C of scikit-learn of the frame classifier.
        next_c: That of the second stage.
        num_folds: Parts of the training participants, each recognized by a classifier of the others: the second stage
            learns from posteriors as unsure as those that it will see. Fewer participants make fewer parts.
        frame_steps: Newest steps of each window that teach the frame classifier; windows overlap.
        lead_steps: Steps before the last one at which the next action is asked for in training too.
    """

    frame_c: float = 0.003
    next_c: float = 0.01
    num_folds: int = 4
    frame_steps: int = 20
    lead_steps: int = 4


@dataclass(frozen=True, kw_only=True)
class HistoryConfig:
    """Regression on histories of posteriors; of `encoder`, `feature_dim` is read."""

    name: str = "history"
    max_steps: int = 600
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    history: HistorySettings = field(default_factory=HistorySettings)


def frame_features(clip: Float[Tensor, "B T F"], mask: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T F3"]:
    """Return each step with mean and spread over the last `SPAN_STEPS` steps up to it; absent ones do not count."""
    real = torch.ones(clip.shape[:2], device=clip.device) if mask is None else mask
    values, weights = hide_absent(clip, mask).double(), real.double()[..., None]

    def windowed(each: Tensor) -> Tensor:
        sums = torch.nn.functional.pad(each.cumsum(dim=1), (0, 0, 1, 0))
        ends = torch.arange(each.shape[1], device=each.device) + 1
        return sums[:, ends] - sums[:, (ends - SPAN_STEPS).clamp(min=0)]

    num = windowed(weights).clamp(min=1)
    mean = windowed(values) / num
    # Differences of running sums round: what is constant may come out as a little below 0.
    spread = (windowed(values.square()) / num - mean.square()).clamp(min=0).sqrt()
    return torch.cat([values, mean, spread], dim=-1)


def history_features(
    posteriors: Float[Tensor, "B T K"], mask: Bool[Tensor, "B T"] | None = None
) -> Float[Tensor, "B T H"]:
    """Return what has been recognized up to each step: now, lately, at all, how much of it, and since when."""
    real = torch.ones(posteriors.shape[:2], device=posteriors.device) if mask is None else mask
    weights = real.double()[..., None]
    seen = posteriors.double() * weights
    parts = [seen]
    for lifetime in LIFETIMES_STEPS:
        # m_t = (sum_s e^(-(t-s)/L) p_s) / (sum_s e^(-(t-s)/L)), by recursion: O(1) for each step.
        keep = float(np.exp(-1 / lifetime))
        total, mass, means = torch.zeros_like(seen[:, 0]), torch.zeros_like(weights[:, 0]), []
        for step in range(seen.shape[1]):
            # Time goes by in absent steps too, but those stand before the video alone, where nothing was seen yet.
            total, mass = keep * total + seen[:, step], keep * mass + weights[:, step]
            means.append(total / mass.clamp(min=1e-12))
        parts.append(torch.stack(means, dim=1))
    sums, elapsed = seen.cumsum(dim=1), weights.cumsum(dim=1)
    parts += [1 - (-sums / OFTEN_STEPS).exp(), sums.log1p(), elapsed / 100, elapsed.log1p()]
    return torch.cat(parts, dim=-1)


@register_model("history")
class HistoryRegression(Baseline):
    """Recognize each step, remember, and ask what follows.

    The frame classifier of a training participant never saw that participant: posteriors of people it was fitted to
    are surer than any it gives on new ones, and a second stage that learnt from them trusts them too much.

    Raises:
        ConfigError: If the width of the features is not set.
    """

    Config = HistoryConfig
    sources = ("features",)
    config: HistoryConfig

    def __init__(self, config: HistoryConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        width = require_feature_dim(config.encoder)
        self.num_actions = num_actions
        # The last class is "no action".
        self.frame_classifier = LogisticClassifier(3 * width, num_actions + 1)
        num_features = (len(LIFETIMES_STEPS) + 3) * (num_actions + 1) + 2
        self.classifier = LogisticClassifier(num_features, num_actions)

    def learn(self, samples: Iterator[Mapping[str, Any]], segments: SegmentTable) -> None:
        """Learn from the training windows.

        Raises:
            ConfigError: If the windows are of one participant, who cannot be held out.
        """
        found = list(samples)
        clips, masks = (torch.stack([sample[key] for sample in found]) for key in ("clip", "mask"))
        labels = torch.stack([sample["step_labels"] for sample in found]).numpy()
        targets = np.array([int(sample["target"]) for sample in found])
        of_whom = np.array([sample["participant_id"] for sample in found])
        settings, seen = self.config.history, frame_features(clips, masks)
        posteriors = torch.zeros(*labels.shape, self.num_actions + 1, dtype=torch.float64)
        for is_held_out in _folds(of_whom, settings.num_folds):
            part = LogisticClassifier(seen.shape[-1], self.num_actions + 1)
            others, whose = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
            self._fit_frames(part, seen[others], masks[others], labels[others])
            posteriors[whose] = part(seen[whose])
        self._fit_frames(self.frame_classifier, seen, masks, labels)
        history, last = history_features(posteriors, masks), labels.shape[1] - 1
        steps = list(range(last, max(-1, last - settings.lead_steps - 1), -1))
        rows = np.concatenate([history[masks[:, step], step].numpy() for step in steps])
        wanted = np.concatenate([targets[masks[:, step].numpy()] for step in steps])
        self.classifier.fit(rows, wanted, inverse_regularization=settings.next_c)

    def _fit_frames(self, classifier: LogisticClassifier, seen: Tensor, masks: Tensor, labels: NDArray) -> None:
        newest = slice(max(0, labels.shape[1] - self.config.history.frame_steps), None)
        is_real = masks[:, newest].numpy()
        classes = np.where(labels == UNKNOWN_ACTION, self.num_actions, labels)[:, newest][is_real]
        classifier.fit(seen[:, newest].numpy()[is_real], classes, inverse_regularization=self.config.history.frame_c)

    def forward(self, clip: Float[Tensor, "B T F"], mask: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate from all steps up to each."""
        posteriors = self.frame_classifier(frame_features(clip, mask))
        probs = self.classifier(history_features(posteriors, mask))
        return baseline_output(clip, probs.clamp(min=1e-9).log().float())


def _folds(people: NDArray, num_folds: int) -> list[NDArray[np.bool_]]:
    """Return who is held out in each part; people are divided, not windows."""
    names = np.unique(people)
    if len(names) < 2:
        raise ConfigError("model.name=history holds people out of each other, but all training windows are of one")
    shuffled = np.random.default_rng(0).permutation(names)
    return [np.isin(people, shuffled[part::num_folds]) for part in range(min(num_folds, len(names)))]
