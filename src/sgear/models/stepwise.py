"""Frame by frame and beyond the last frame: streams and roll-outs of every model with a causal decoder.

A stream reads each frame once and gives after it what a whole clip up to it would give; once it is longer than the
longest clip, the decoder reads the newest features alone. A roll-out feeds the predicted feature back as the next
observed one, which asks the decoder for the action after the next, and so on.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sgear.models.base import AnticipationModel
from sgear.models.causal_decoder import CausalDecoder, DecoderWindow
from sgear.models.heads import Classified, FieldClassifiers
from sgear.models.prototype_attention import SeenFrames
from sgear.models.temporal_context import ContextState


def features_for_past(
    observed: Float[Tensor, "B T D"],
    predicted: Float[Tensor, "B T D"],
    mask: Bool[Tensor, "B T"] | None,
) -> Float[Tensor, "B T D"]:
    """Return for each step the feature that was predicted for it.

    A step with nothing before it (the first one, or the first that exists) is judged by its own feature.

    Source:
        AVT (arXiv:2106.02036), section 3.3: past = [observed_0, predicted_0, ..., predicted_{T-2}].
    """
    # [o_0, p_0, ..., p_{T-2}]: p_t was predicted for step t + 1.
    shifted = torch.cat([observed[:, :1], predicted[:, :-1]], dim=1)
    if mask is None:
        return shifted
    has_past = torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], dim=1)
    return torch.where(has_past[..., None], shifted, observed)


@dataclass(frozen=True)
class ObserverState:
    """What turning frames into features carries from frame to frame.

    Args:
        context: State of TCA; empty without TCA.
        seen: State of prototype attention; None without it.
    """

    context: ContextState = ()
    seen: SeenFrames | None = None


@dataclass(frozen=True)
class StreamState:
    """What a stream carries from frame to frame.

    Args:
        observer: What the next frame needs to become a feature.
        window: What the decoder has read.
    """

    observer: ObserverState
    window: DecoderWindow


@dataclass(frozen=True)
class StepOutput:
    """What a model predicts after one more frame; B streams.

    Args:
        observed: Feature of the frame as the decoder reads it [B D].
        predicted: Predicted feature of what comes next [B D].
        logits: Scores of the next action [B A].
        verb_logits: Scores of its verb [B V]; None without a verb classifier.
        noun_logits: Scores of its noun [B N]; None without a noun classifier.
    """

    observed: Float[Tensor, "B D"]
    predicted: Float[Tensor, "B D"]
    logits: Float[Tensor, "B A"]
    verb_logits: Float[Tensor, "B V"] | None = None
    noun_logits: Float[Tensor, "B N"] | None = None


@dataclass(frozen=True)
class RollOut:
    """Several predicted steps; B clips, S predicted steps.

    Args:
        features: Predicted features [B S D]; the first is the one `forward` predicts.
        logits: Action scores of each [B S A].
    """

    features: Float[Tensor, "B S D"]
    logits: Float[Tensor, "B S A"]


class StepwiseModel(AnticipationModel):
    """A model that reads frames into features, and features with a causal decoder."""

    decoder: CausalDecoder
    field_classifiers: FieldClassifiers | None

    @property
    def streams_endlessly(self) -> bool:
        """Whether `step` goes on for ever; else only as long as the longest clip."""
        return True

    @abstractmethod
    def observe_step(
        self, frame: Tensor, state: ObserverState | None = None, mask: Bool[Tensor, " B"] | None = None
    ) -> tuple[Float[Tensor, "B D"], ObserverState]:
        """Return the feature of the next frame of a stream, and what the frame after it needs."""

    @abstractmethod
    def classify(self, features: Float[Tensor, "*b D"]) -> Classified:
        """Return scores of features."""

    def classify_fields(self, mixed: Float[Tensor, "*b D"]) -> tuple[Tensor | None, Tensor | None]:
        """Return scores of verb and noun, made from the classifier's input; None without such classifiers."""
        return (None, None) if self.field_classifiers is None else self.field_classifiers(mixed)

    @torch.no_grad()
    def step(
        self, frame: Tensor, state: StreamState | None = None, mask: Bool[Tensor, " B"] | None = None
    ) -> tuple[StepOutput, StreamState]:
        """Read the next frame of a stream, without gradients.

        Up to the longest clip, equal to `forward` over the whole stream. After that the decoder reads the newest
        features that fit; with TCA in mode `decay` they still know of all frames before, without TCA the answer is
        that of `forward` over the newest frames. The state does not grow.

        Args:
            frame: One frame [B 3 H W] or stored feature [B F] per stream.
            state: What the frame before returned; None starts a stream.
            mask: Whether the frame is real [B]. Default: it is.

        Returns:
            What the model predicts now, and the state for the next frame.

        Raises:
            ValueError: If the stream is longer than TCA in mode `cumulative` or `causal`, or the Toeplitz term, was
                built for.
        """
        observed, observer = self.observe_step(frame, None if state is None else state.observer, mask)
        predicted, window = self.decoder.step(observed, None if state is None else state.window, mask)
        logits, mixed, _ = self.classify(predicted)
        verb_logits, noun_logits = self.classify_fields(mixed)
        output = StepOutput(observed, predicted, logits, verb_logits, noun_logits)
        return output, StreamState(observer=observer, window=window)

    def rollout(
        self, observed: Float[Tensor, "B T D"], num_steps: int, mask: Bool[Tensor, "B T"] | None = None
    ) -> RollOut:
        """Predict several steps ahead by feeding each prediction back as the next observed feature.

        The first predicted step is the action that `forward` predicts, tau_a after the last observed step; each
        further one is a step of the protocol, 1 / fps, later. Where observed and predicted steps are more than the
        decoder can read, it reads the newest.

        Args:
            observed: Features of the observed steps; `observed` of the output of `forward`.
            num_steps: Number S of steps to predict, at least 1.
            mask: Which observed steps are real. Default: all.

        Raises:
            ValueError: If `num_steps` is below 1, or the observed steps are more than the model was built for.
        """
        if num_steps < 1:
            raise ValueError(f"a roll-out needs at least 1 step, got {num_steps}")
        predicted, cache = self.decoder.prefill(observed, mask)
        # The cache holds the observed steps, so each further step costs one query instead of a whole clip.
        window = DecoderWindow(observed=observed, cache=cache)
        # Only the newest position predicts what nobody has seen; the others predict what is in the cache.
        features = [predicted[:, -1]]
        for _ in range(num_steps - 1):
            following, window = self.decoder.step(features[-1], window)
            features.append(following)
        # [B S D]: all steps are classified at once.
        stacked = torch.stack(features, dim=1)
        return RollOut(stacked, self.classify(stacked).logits)
