"""What a model must beat: class frequencies, what follows the last action, and logistic regression on pooled features.

Baselines are models like any other, but learned at once from the training split instead of by gradients.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.base import AnticipationModel, AnticipationOutput, hide_absent, register_model
from sgear.models.config import CountsConfig, EncoderConfig, RegressionConfig
from sgear.models.encoders.features import require_feature_dim
from sgear.segments import UNKNOWN_ACTION, SegmentTable

SPANS = (8, 4, 2, 1)
"""Of which share of the window the pooled regression averages the newest steps: an eighth, a quarter, a half, all."""
_UNSEEN_PROB = 1e-6


def class_frequencies(segments: SegmentTable) -> NDArray[np.float64]:
    """Return the class frequencies with one count added to each class [A]."""
    # Laplace: a class that was never seen keeps a finite log-probability.
    counts = segments.action_counts() + 1.0
    return counts / counts.sum()


def transition_probs(segments: SegmentTable, *, smoothing: float) -> NDArray[np.float64]:
    """Return P(next action | action) over consecutive segments of each video [A + 1, A]; row 0 is the start.

    Args:
        segments: Segments of whole videos.
        smoothing: Counts added in proportion to the class frequencies.
    """
    num_actions = segments.taxonomy.num_actions
    counts = np.zeros((num_actions + 1, num_actions))
    for video_id in segments.video_ids:
        actions = segments.of_video(video_id).column("action_id")
        # N[a + 1, b]: how often b came right after a; row 0 counts the first actions of the videos.
        np.add.at(counts, (np.concatenate([[0], actions[:-1] + 1]), actions), 1.0)
    # Additive smoothing towards the prior: an action that was never followed by anything says the prior.
    counts += smoothing * class_frequencies(segments)
    return counts / counts.sum(axis=1, keepdims=True)


class Baseline(AnticipationModel):
    """A model that is learned at once.

    Attributes:
        caveat: Why its numbers are no benchmark numbers; empty where they are.
    """

    caveat = ""

    @abstractmethod
    def learn(self, samples: Iterator[Mapping[str, Any]], segments: SegmentTable) -> None:
        """Learn from the training split.

        Args:
            samples: Its samples that can be read, each with its `participant_id`; see `sgear.data.dataset.Sample`. What
                needs none, reads none.
            segments: All its segments: the first action of a video counts, though nothing can be seen before it.
        """


@dataclass(frozen=True, kw_only=True)
class FrequencyConfig:
    """Class frequencies."""

    name: str = "frequency"
    max_steps: int = 16


@dataclass(frozen=True, kw_only=True)
class LastActionConfig:
    """What follows the last annotated action."""

    name: str = "last_action"
    max_steps: int = 16
    counts: CountsConfig = field(default_factory=CountsConfig)


@dataclass(frozen=True, kw_only=True)
class LastRecognisedConfig:
    """What follows the last recognised action; of `encoder`, `feature_dim` is read."""

    name: str = "last_recognised"
    max_steps: int = 16
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    counts: CountsConfig = field(default_factory=CountsConfig)
    regression: RegressionConfig = field(default_factory=RegressionConfig)


@dataclass(frozen=True, kw_only=True)
class PooledConfig:
    """Logistic regression on pooled features; of `encoder`, `feature_dim` is read."""

    name: str = "pooled"
    max_steps: int = 16
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    regression: RegressionConfig = field(default_factory=RegressionConfig)


def _check_smoothing(smoothing: float) -> None:
    # An action that nothing was ever seen to follow would have no scores.
    if not smoothing > 0:
        raise ConfigError(f"model.counts.smoothing must be positive, got {smoothing}")


def baseline_output(clip: Tensor, next_logits: Float[Tensor, "B T A"]) -> AnticipationOutput:
    """Return scores of the action after each step as the output of a model without features of its own."""
    return AnticipationOutput(
        observed=clip,
        predicted=clip,
        logits=next_logits[:, -1],
        next_logits=next_logits,
        aggregated=clip[:, -1],
    )


class _Table(Baseline):
    """Scores of the next action, looked up in a table [R A] by the number that each step shows; 0 is no action."""

    sources = ("annotations",)
    log_probs: Tensor

    def __init__(self, config: Any, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        num_rows = self.num_rows(num_actions)
        self.register_buffer("log_probs", torch.full((num_rows, num_actions), -math.log(num_actions)))

    @staticmethod
    @abstractmethod
    def num_rows(num_actions: int) -> int:
        """Return the number of rows R."""

    def forward(self, clip: Float[Tensor, "B T 1"], mask: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate from the numbers of the newest actions; see `sgear.data.AnnotationSource`."""
        rows = clip[..., 0].long().clamp(max=len(self.log_probs) - 1)
        return baseline_output(clip, self.log_probs[rows])


@register_model("frequency")
class Frequency(_Table):
    """Say the class frequencies of the training split, whatever is seen."""

    Config = FrequencyConfig

    @staticmethod
    def num_rows(num_actions: int) -> int:
        """Return 1."""
        return 1

    def learn(self, samples: Iterator[Mapping[str, Any]], segments: SegmentTable) -> None:
        """Count the actions of the segments."""
        self.log_probs.copy_(torch.from_numpy(np.log(class_frequencies(segments)).astype(np.float32)))


@register_model("last_action")
class LastAction(_Table):
    """Follow the counts of transitions from the last annotated action: an oracle of the past.

    Raises:
        ConfigError: If the smoothing is not positive.
    """

    Config = LastActionConfig
    caveat = (
        "last_action reads the ANNOTATED actions before each segment, which no model that watches a video knows: an "
        "oracle of the past, to compare with and not to submit"
    )

    def __init__(self, config: LastActionConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        _check_smoothing(config.counts.smoothing)

    @staticmethod
    def num_rows(num_actions: int) -> int:
        """Return one for no action, and one for each action."""
        return num_actions + 1

    def learn(self, samples: Iterator[Mapping[str, Any]], segments: SegmentTable) -> None:
        """Count the transitions of the segments."""
        probs = torch.from_numpy(transition_probs(segments, smoothing=self.config.counts.smoothing))
        self.log_probs.copy_(probs.log())


class LogisticClassifier(nn.Module):
    """A fitted multinomial logistic regression on standardized features, in float64 as it was fitted.

    Args:
        num_features: Width F of the features.
        num_classes: Number of classes A; one that was never seen gets probability 0.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    is_seen: Tensor

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(num_features, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(num_classes, num_features, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer("is_seen", torch.ones(num_classes, dtype=torch.bool))

    def fit(self, features: NDArray, labels: NDArray[np.int64], *, inverse_regularization: float) -> None:
        """Fit to features [M F] and their classes [M].

        Raises:
            ConfigError: If the features show fewer than two classes.
        """
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

        if len(np.unique(labels)) < 2:
            raise ConfigError("a logistic regression needs training clips of at least two actions")
        scaler, regression = StandardScaler(), LogisticRegression(C=inverse_regularization, max_iter=500)
        with warnings.catch_warnings():
            # The library takes class numbers for measurements where half of the clips have an action of their own.
            warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
            fitted = regression.fit(scaler.fit_transform(features), labels)
        # Of two classes the library keeps one row, whose score is that of the second class over the first.
        is_pair = len(fitted.classes_) == 2
        weight = np.concatenate([0 * fitted.coef_, fitted.coef_]) if is_pair else fitted.coef_
        bias = np.concatenate([0 * fitted.intercept_, fitted.intercept_]) if is_pair else fitted.intercept_
        self.mean.copy_(torch.from_numpy(scaler.mean_))
        self.scale.copy_(torch.from_numpy(scaler.scale_))
        self.is_seen.zero_()[torch.from_numpy(fitted.classes_)] = True
        self.weight[self.is_seen] = torch.from_numpy(weight).double()
        self.bias[self.is_seen] = torch.from_numpy(bias).double()

    def forward(self, features: Float[Tensor, "*b F"]) -> Float[Tensor, "*b A"]:
        """Return probabilities."""
        scores = (features.double() - self.mean) / self.scale @ self.weight.T + self.bias
        return scores.masked_fill(~self.is_seen, -math.inf).softmax(dim=-1)


@register_model("last_recognised")
class LastRecognised(Baseline):
    """Follow the counts of transitions from the last action, as a frame classifier recognizes it.

    P(next) = sum_a P(a now | features of the step) P(next | a).

    Raises:
        ConfigError: If the smoothing is not positive, or the width of the features is not set.
    """

    Config = LastRecognisedConfig
    sources = ("features",)
    transitions: Tensor

    def __init__(
        self, config: LastRecognisedConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0
    ) -> None:
        super().__init__(config, num_actions=num_actions)
        _check_smoothing(config.counts.smoothing)
        self.classifier = LogisticClassifier(require_feature_dim(config.encoder), num_actions)
        uniform = torch.full((num_actions, num_actions), 1 / num_actions, dtype=torch.float64)
        self.register_buffer("transitions", uniform)

    def learn(self, samples: Iterator[Mapping[str, Any]], segments: SegmentTable) -> None:
        """Count transitions; learn to recognize from all labelled steps of the training windows."""
        probs = transition_probs(segments, smoothing=self.config.counts.smoothing)
        # Without the row of the start: the frame classifier knows real actions alone.
        self.transitions.copy_(torch.from_numpy(probs[1:]))
        features, labels = [], []
        for sample in samples:
            is_known = sample["mask"] & (sample["step_labels"] != UNKNOWN_ACTION)
            features.append(sample["clip"][is_known].numpy())
            labels.append(sample["step_labels"][is_known].numpy())
        c = self.config.regression.inverse_regularization
        self.classifier.fit(np.concatenate(features), np.concatenate(labels), inverse_regularization=c)

    def forward(self, clip: Float[Tensor, "B T F"], mask: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate from each step alone."""
        return baseline_output(clip, (self.classifier(hide_absent(clip, mask)) @ self.transitions).log().float())


@register_model("pooled")
class PooledRegression(Baseline):
    """Average the last 1/8, 1/4, 1/2 and all of the steps, concatenate, classify.

    Raises:
        ConfigError: If the width of the features is not set.
    """

    Config = PooledConfig
    sources = ("features",)

    def __init__(self, config: PooledConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        self.classifier = LogisticClassifier(len(SPANS) * require_feature_dim(config.encoder), num_actions)

    def pool(self, clip: Float[Tensor, "B T F"], mask: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T F4"]:
        """Return for each step the means over the spans that end with it; absent steps count in none."""
        num_steps = clip.shape[1]
        is_real = torch.ones(clip.shape[:2], device=clip.device) if mask is None else mask
        # Sums over spans are differences of running sums, [B T + 1 F].
        sums = nn.functional.pad(hide_absent(clip, mask).double().cumsum(dim=1), (0, 0, 1, 0))
        counts = nn.functional.pad(is_real.double().cumsum(dim=1), (1, 0))[..., None]
        ends, means = torch.arange(num_steps, device=clip.device) + 1, []
        for share in SPANS:
            # Of T steps the newest T / share, at least one.
            begins = (ends - max(1, num_steps // share)).clamp(min=0)
            means.append((sums[:, ends] - sums[:, begins]) / (counts[:, ends] - counts[:, begins]).clamp(min=1))
        return torch.cat(means, dim=-1)

    def learn(self, samples: Iterator[Mapping[str, Any]], segments: SegmentTable) -> None:
        """Learn from the training windows; segments without one teach nothing here."""
        pooled, targets = [], []
        for sample in samples:
            pooled.append(self.pool(sample["clip"][None], sample["mask"][None])[0, -1].numpy())
            targets.append(int(sample["target"]))
        c = self.config.regression.inverse_regularization
        self.classifier.fit(np.stack(pooled), np.array(targets), inverse_regularization=c)

    def forward(self, clip: Float[Tensor, "B T F"], mask: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate; a class without training samples gets probability 1e-6."""
        probs = self.classifier(self.pool(clip, mask))
        return baseline_output(clip, probs.masked_fill(~self.classifier.is_seen, _UNSEEN_PROB).log().float())
