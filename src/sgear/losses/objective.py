"""The weighted sum of all loss terms, each named for the log."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.losses.classification import classification_loss
from sgear.losses.feature import feature_loss
from sgear.losses.semantic import regularization_loss, semantic_loss
from sgear.models.outputs import AnticipationOutput
from sgear.segments import UNKNOWN_ACTION


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms; 0 switches a term off.

    Args:
        cls: Next action.
        past: Actions of the observed steps.
        next: Action that follows each observed step, where it starts soon (`source.next_within_s`).
        feat: Next feature.
        sem: Semantic loss of the anticipated feature.
        past_sem: Semantic loss of the features behind the past actions.
        reg: Distance of the anticipated feature to its prototype.
        label_smoothing: Label smoothing of `cls` and `past`.
        detach_feature_target: Cut the gradient into the target of `feat`.
    """

    cls: float = 1.0
    past: float = 1.0
    next: float = 0.0
    feat: float = 1.0
    sem: float = 0.0
    past_sem: float = 0.0
    reg: float = 0.0
    label_smoothing: float = 0.0
    detach_feature_target: bool = False

    @property
    def needs_prototypes(self) -> bool:
        """Whether a term reads prototypes."""
        return max(self.sem, self.past_sem, self.reg) > 0


class Objective(nn.Module):
    """Weigh and add the loss terms.

    Args:
        config: Weights.
        relations: Cosines of the language prototypes [A A]; needed for the semantic terms.

    Raises:
        ConfigError: If a semantic term is on without relations.
    """

    relations: Tensor | None

    def __init__(self, config: ObjectiveConfig, relations: Float[Tensor, "A A"] | None = None) -> None:
        super().__init__()
        if (config.sem or config.past_sem) and relations is None:
            raise ConfigError(
                "objective.sem needs language prototypes; set init.language_prototypes to a file written by "
                "'sgear prototypes language'"
            )
        self.config = config
        self.register_buffer("relations", relations, persistent=False)

    def forward(
        self,
        output: AnticipationOutput,
        targets: Int[Tensor, " B"],
        step_labels: Int[Tensor, "B T"],
        exists: Bool[Tensor, "B T"],
        next_labels: Int[Tensor, "B T"] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return each active term before weighting, and `total`.

        Args:
            output: What the model returned.
            targets: Next action of each clip, -1 for unknown.
            step_labels: Action of each observed step, -1 for unknown.
            exists: Which steps are real.
            next_labels: Action that follows each step, -1 for unknown or not asked for.
        """
        config = self.config
        labels = step_labels.masked_fill(~exists, UNKNOWN_ACTION)
        smoothing = config.label_smoothing
        terms: dict[str, Tensor] = {}
        if config.cls:
            terms["cls"] = classification_loss(output.logits, targets, label_smoothing=smoothing)
        if config.past:
            terms["past"] = classification_loss(output.past_logits, labels, label_smoothing=smoothing)
        if config.next and next_labels is not None:
            following = next_labels.masked_fill(~exists, UNKNOWN_ACTION)
            terms["next"] = classification_loss(output.next_logits, following, label_smoothing=smoothing)
        if config.feat:
            terms["feat"] = feature_loss(
                output.predicted, output.observed, exists, detach_target=config.detach_feature_target
            )
        if config.needs_prototypes:
            if output.prototype_similarity is None or output.past_similarity is None or output.prototypes is None:
                raise ConfigError("objective.sem, past_sem and reg need a model with prototypes (model.name=sgear)")
            if config.sem and self.relations is not None:
                terms["sem"] = semantic_loss(output.prototype_similarity, targets, self.relations)
            if config.past_sem and self.relations is not None:
                terms["past_sem"] = semantic_loss(output.past_similarity, labels, self.relations)
            if config.reg:
                terms["reg"] = regularization_loss(output.predicted[:, -1], targets, output.prototypes)
        weighted = [getattr(config, name) * value for name, value in terms.items()]
        terms["total"] = torch.stack(weighted).sum()
        return terms
