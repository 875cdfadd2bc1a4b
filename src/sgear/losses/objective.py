"""The weighted sum of all loss terms, each named for the log."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.losses.mixup import Labels, Mix, pair_labels
from sgear.losses.terms import (
    classification_loss,
    feature_loss,
    nearest_classes,
    neighbor_loss,
    regularization_loss,
    relation_loss,
    semantic_loss,
)
from sgear.models.base import AnticipationOutput
from sgear.segments import UNKNOWN_ACTION


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms; 0 switches a term off.

    Args:
        cls: Next action.
        cls_verb: Verb of the next action (`model.head.verb_noun`).
        cls_noun: Noun of the next action (`model.head.verb_noun`).
        past: Actions of the observed steps.
        next: Action that follows each observed step, where it starts soon (`source.next_within_s`).
        horizons: Next action, predicted at each step from which the model looks ahead (RULSTM).
        feat: Next feature.
        sem: Semantic loss of the anticipated feature.
        past_sem: Semantic loss of the features behind the past actions.
        past_mean: Over which steps `past` and `past_sem` are averaged: `labelled` ones, or `all` that exist, where a
            step without label counts 0, as in AVT and the released S-GEAR. At equal weights `labelled` is heavier
            where little is labelled: 1.4 times on EPIC-KITCHENS, 1.05 times on 50 Salads, 2.9 times on EGTEA Gaze+.
        reg: Distance of the anticipated feature to its prototype.
        open: Leave classes without a training sample out of the softmax of all terms that classify actions: their
            scores are then not pushed down for never being right, and their composed vectors keep what verb, noun and
            text give (`model.prototypes.composition`).
        label_smoothing: Label smoothing of all terms that classify.
        neighbors: Share of the label of an action that the actions nearest to it in language get; 0 is off.
        num_neighbors: Number of those actions.
        neighbor_temperature: Temperature of the softmax of their cosines that divides the share.
        sem_form: `l1` compares L1-normalised cosines, as the released code does; `kl` compares softmaxes of them.
        sem_temperature: Temperature of these softmaxes (`sem_form=kl`).
        balanced: Add this share of the log of the class frequencies to the scores in training, so that what is learnt
            is free of the prior (balanced softmax at 1); 0 is off.
        focal: Exponent of focal loss in all terms that classify; 0 is off.
        mixup: Parameter alpha of mixup on stored features in training; 0 is off.
        detach_feature_target: Cut the gradient into the target of `feat`; the released code does not.
        detach_reg_target: Cut the gradient into the prototype of `reg`, as the released code does.
    """

    cls: float = 1.0
    cls_verb: float = 0.0
    cls_noun: float = 0.0
    past: float = 1.0
    next: float = 0.0
    horizons: float = 0.0
    feat: float = 1.0
    sem: float = 0.0
    past_sem: float = 0.0
    past_mean: str = "labelled"
    reg: float = 0.0
    open: bool = False
    label_smoothing: float = 0.0
    neighbors: float = 0.0
    num_neighbors: int = 20
    neighbor_temperature: float = 0.05
    sem_form: str = "l1"
    sem_temperature: float = 0.1
    balanced: float = 0.0
    focal: float = 0.0
    mixup: float = 0.0
    detach_feature_target: bool = False
    detach_reg_target: bool = True

    @property
    def needs_prototypes(self) -> bool:
        """Whether a term reads prototypes."""
        return max(self.sem, self.past_sem, self.reg) > 0


class Objective(nn.Module):
    """Weigh and add the loss terms.

    Args:
        config: Weights.
        relations: Cosines of the language prototypes [A A]; needed for the semantic terms.
        verb_of_action: Verb of each action [A]; needed for `cls_verb`.
        noun_of_action: Noun of each action [A]; needed for `cls_noun`.
        counts: Training samples of each action [A]; needed for `open` and `balanced`.

    Raises:
        ConfigError: If a term is on without what it needs, or a setting is out of range.
    """

    relations: Tensor | None
    verb_of_action: Tensor | None
    noun_of_action: Tensor | None
    seen_places: Tensor | None
    seen_actions: Tensor | None
    log_counts: Tensor | None
    neighbor_actions: Tensor | None
    neighbor_shares: Tensor | None

    def __init__(
        self,
        config: ObjectiveConfig,
        relations: Float[Tensor, "A A"] | None = None,
        *,
        verb_of_action: Int[Tensor, " A"] | None = None,
        noun_of_action: Int[Tensor, " A"] | None = None,
        counts: Int[Tensor, " A"] | None = None,
    ) -> None:
        super().__init__()
        if (config.sem or config.past_sem) and relations is None:
            raise ConfigError(
                "objective.sem needs language prototypes; set init.language_prototypes to a file written by "
                "'sgear prototypes language'"
            )
        if config.mixup < 0 or not 0 <= config.label_smoothing < 1:
            raise ConfigError(
                f"objective.mixup must be at least 0 and label_smoothing in [0, 1), got {config.mixup} and "
                f"{config.label_smoothing}"
            )
        if (config.cls_verb and verb_of_action is None) or (config.cls_noun and noun_of_action is None):
            raise ConfigError("objective.cls_verb and cls_noun need the verb and the noun of each action")
        if (config.open or config.balanced) and counts is None:
            raise ConfigError("objective.open and balanced need the training samples of each action")
        if config.neighbors and relations is None:
            raise ConfigError(
                "objective.neighbors needs language prototypes; set init.language_prototypes to a file written by "
                "'sgear prototypes language'"
            )
        self.config = config
        is_seen = counts > 0 if config.open and counts is not None else None
        # Where each seen action stands among them, -1 for the others. [A]
        places = None if is_seen is None else torch.where(is_seen, is_seen.cumsum(0) - 1, UNKNOWN_ACTION)
        self.register_buffer("seen_places", places, persistent=False)
        self.register_buffer("seen_actions", None if is_seen is None else is_seen.nonzero()[:, 0], persistent=False)
        log_counts = counts.clamp(min=1).log() if config.balanced and counts is not None else None
        self.register_buffer("log_counts", log_counts, persistent=False)
        # Among the classes that take part alone: a neighbor that was taken out could get no share.
        neighbors, shares = None, None
        if config.neighbors and relations is not None:
            near = relations if is_seen is None else relations[is_seen][:, is_seen]
            neighbors, shares = nearest_classes(near, config.num_neighbors, config.neighbor_temperature)
        self.register_buffer("neighbor_actions", neighbors, persistent=False)
        self.register_buffer("neighbor_shares", shares, persistent=False)
        # Not saved: they come from files that the run names, and would be stale copies of these.
        self.register_buffer("relations", relations, persistent=False)
        self.register_buffer("verb_of_action", verb_of_action, persistent=False)
        self.register_buffer("noun_of_action", noun_of_action, persistent=False)

    def forward(
        self,
        output: AnticipationOutput,
        targets: Int[Tensor, " B"],
        step_labels: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        next_labels: Int[Tensor, "B T"] | None = None,
        mix: Mix | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return each active term before weighting, and `total`.

        Args:
            output: What the model returned.
            targets: Next action of each clip, -1 for unknown.
            step_labels: Action of each observed step, -1 for unknown.
            mask: Which steps are real.
            next_labels: Action that follows each step, -1 for unknown or further ahead than `source.next_within_s`.
            mix: How the clips were mixed; None where they were not.
        """
        wanted = pair_labels(targets, mix)
        among = mask if self.config.past_mean == "all" else None
        # A step that does not exist has no label, whatever was annotated at its instant.
        past = pair_labels(step_labels.masked_fill(~mask, UNKNOWN_ACTION), mix, among=among)
        terms = self._action_terms(output, wanted, past)
        if self.config.next and next_labels is not None:
            following = pair_labels(next_labels.masked_fill(~mask, UNKNOWN_ACTION), mix)
            terms["next"] = self._classify(output.next_logits, following)
        if self.config.horizons:
            if output.horizon_logits is None:
                raise ConfigError("objective.horizons needs a model that looks ahead from each step (rulstm)")
            num_horizons = output.horizon_logits.shape[1]
            # Every horizon predicts the same action; [B S] of the last S steps.
            each = targets[:, None].expand(-1, num_horizons).masked_fill(~mask[:, -num_horizons:], UNKNOWN_ACTION)
            terms["horizons"] = self._classify(output.horizon_logits, pair_labels(each, mix))
        if self.config.feat:
            detach_target = self.config.detach_feature_target
            terms["feat"] = feature_loss(output.predicted, output.observed, mask, detach_target=detach_target)
        if self.config.needs_prototypes:
            terms |= self._prototype_terms(output, wanted, past)
        # Terms are logged unweighted, so that runs with other weights can be compared.
        weighted = [getattr(self.config, name) * value for name, value in terms.items()]
        if not weighted:
            raise ConfigError("every weight of the objective is 0, so nothing would be trained; set one above 0")
        # L = l1 L_sem + l2 L_cls + l3 L_past + l4 L_feat + l5 L_reg, and the terms of AVT and RULSTM.
        terms["total"] = torch.stack(weighted).sum()
        return terms

    def _classify(self, logits: Tensor, labels: Labels, *, is_action: bool = True) -> Float[Tensor, ""]:
        targets, config = labels.targets, self.config
        if is_action and self.log_counts is not None:
            logits = logits + config.balanced * self.log_counts
        if is_action and self.seen_places is not None:
            # Columns are taken out, not set to -inf: label smoothing would then give an infinite loss.
            logits = logits[..., self.seen_actions]
            targets = torch.where(targets == UNKNOWN_ACTION, targets, self.seen_places[targets.clamp(min=0)])
        logits = labels.spread(logits)
        loss = classification_loss(
            logits,
            targets,
            label_smoothing=config.label_smoothing,
            focal=config.focal,
            weights=labels.weights,
            among=labels.among,
        )
        if not is_action or self.neighbor_actions is None or self.neighbor_shares is None:
            return loss
        near = neighbor_loss(
            logits,
            targets,
            self.neighbor_actions,
            self.neighbor_shares,
            weights=labels.weights,
            among=labels.among,
        )
        return (1 - config.neighbors) * loss + config.neighbors * near

    def _action_terms(self, output: AnticipationOutput, wanted: Labels, past: Labels) -> dict[str, Tensor]:
        terms = {}
        if self.config.cls:
            # L_cls: cross-entropy of the one action after the clip, [B A] against [B].
            terms["cls"] = self._classify(output.logits, wanted)
        for name, logits, classes in (
            ("cls_verb", output.verb_logits, self.verb_of_action),
            ("cls_noun", output.noun_logits, self.noun_of_action),
        ):
            if getattr(self.config, name):
                if logits is None or classes is None:
                    raise ConfigError(f"objective.{name} needs a model with verb and noun classifiers (head.verb_noun)")
                # The verb of an unknown action is unknown: clamp only keeps the look-up in range.
                of_action = classes[wanted.targets.clamp(min=0)]
                of_field = torch.where(wanted.targets == UNKNOWN_ACTION, UNKNOWN_ACTION, of_action)
                terms[name] = self._classify(logits, Labels(of_field, wanted.weights), is_action=False)
        if self.config.past:
            if output.past_logits is None:
                raise ConfigError("objective.past needs a model that recognizes what it saw (sgear, avt); set it to 0")
            terms["past"] = self._classify(output.past_logits, past)
        return terms

    def _prototype_terms(self, output: AnticipationOutput, wanted: Labels, past: Labels) -> dict[str, Tensor]:
        config, terms = self.config, {}
        if output.prototype_similarity is None or output.past_similarity is None or output.prototypes is None:
            raise ConfigError("objective.sem, past_sem and reg need a model with prototypes (model.name=sgear)")
        if self.relations is not None and len(self.relations) != len(output.prototypes):
            raise ConfigError(
                f"the language prototypes are of {len(self.relations)} actions, but the model has "
                f"{len(output.prototypes)}; write them for this vocabulary with 'sgear prototypes language'"
            )
        for name, similarity, labels in (
            ("sem", output.prototype_similarity, wanted),
            ("past_sem", output.past_similarity, past),
        ):
            if getattr(config, name) and self.relations is not None:
                compare = semantic_loss
                if config.sem_form == "kl":
                    compare = functools.partial(relation_loss, temperature=config.sem_temperature)
                terms[name] = compare(
                    labels.spread(similarity),
                    labels.targets,
                    self.relations,
                    weights=labels.weights,
                    among=labels.among,
                )
        if config.reg:
            # Of the last step alone: only it predicts the action of the clip.
            terms["reg"] = regularization_loss(
                wanted.spread(output.predicted[:, -1]),
                wanted.targets,
                output.prototypes,
                detach_target=config.detach_reg_target,
                weights=wanted.weights,
            )
        return terms
