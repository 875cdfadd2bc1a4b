"""The loss terms: cross-entropy, the next feature, the geometry of language; each a mean over what is known."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sgear.segments import UNKNOWN_ACTION


def masked_mean(
    values: Float[Tensor, "*batch"],
    known: Bool[Tensor, "*batch"],
    weights: Float[Tensor, "*batch"] | None = None,
    *,
    among: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the weighted mean of the known values; 0, without gradient, where none is known.

    Args:
        values: One finite value per sample.
        known: Which of them count.
        weights: Weight of each, at least 0. Default: 1.
        among: Over which samples the mean is taken; those that are not known count 0. Default: the known ones.
    """
    # sum(w v known) / sum(w among); a batch without any label gives 0 / 1, and no gradient.
    masses = torch.ones_like(values) if weights is None else weights.to(values.dtype)
    total = (masses * (known if among is None else among)).sum()
    return (values * masses * known).sum() / torch.where(total > 0, total, torch.ones_like(total))


def classification_loss(
    logits: Float[Tensor, "*batch A"],
    targets: Int[Tensor, "*batch"],
    *,
    label_smoothing: float = 0.0,
    focal: float = 0.0,
    weights: Float[Tensor, "*batch"] | None = None,
    among: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy over the known targets; 0 where none is known.

    Args:
        logits: Scores.
        targets: Classes in [0, A), or -1 for unknown.
        label_smoothing: Probability mass spread over all classes.
        focal: Exponent gamma of (1 - p), p the probability of the target, that weighs down what is known already
            (Lin et al., Focal Loss, ICCV 2017); 0 is plain cross-entropy.
        weights: Weight of each target, at least 0. Default: 1.
        among: Over which targets the mean is taken, see `masked_mean`.
    """
    flat_targets = targets.reshape(-1)
    # In float32: under autocast a log-softmax over thousands of classes would lose digits. [M]
    losses = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(),
        flat_targets,
        ignore_index=UNKNOWN_ACTION,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    if focal:
        probs = logits.float().softmax(dim=-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        losses = losses * (1 - probs.reshape(-1)).clamp(min=0) ** focal
    return masked_mean(losses.reshape(targets.shape), targets != UNKNOWN_ACTION, weights, among=among)


def neighbor_loss(
    logits: Float[Tensor, "*batch A"],
    targets: Int[Tensor, "*batch"],
    neighbors: Int[Tensor, "A N"],
    shares: Float[Tensor, "A N"],
    *,
    weights: Float[Tensor, "*batch"] | None = None,
    among: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of labels that lie on the neighbors of the true class instead of on itself.

    Args:
        logits: Scores.
        targets: Classes in [0, A), or -1 for unknown.
        neighbors: Nearest classes of each class.
        shares: Share of the label that each of them gets; rows add up to 1.
        weights: Weight of each target, at least 0. Default: 1.
        among: Over which targets the mean is taken, see `masked_mean`.
    """
    known = targets.clamp(min=0)
    log_probs = logits.float().log_softmax(dim=-1).gather(-1, neighbors[known])
    return masked_mean(-(log_probs * shares[known]).sum(dim=-1), targets != UNKNOWN_ACTION, weights, among=among)


def nearest_classes(
    relations: Float[Tensor, "A A"], num_neighbors: int, temperature: float
) -> tuple[Int[Tensor, "A N"], Float[Tensor, "A N"]]:
    """Return the classes nearest to each in language, without itself, and a softmax of their cosines.

    Args:
        relations: Cosines of the language prototypes.
        num_neighbors: Number N of them, at most A - 1.
        temperature: Temperature of the softmax.
    """
    others = relations.float().clone().fill_diagonal_(-torch.inf)
    cosines, neighbors = others.topk(min(num_neighbors, len(relations) - 1), dim=-1)
    return neighbors, (cosines / temperature).softmax(dim=-1)


def relation_loss(
    similarity: Float[Tensor, "*batch A"],
    targets: Int[Tensor, "*batch"],
    relations: Float[Tensor, "A A"],
    *,
    temperature: float,
    weights: Float[Tensor, "*batch"] | None = None,
    among: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Compare geometries as distributions: KL of a feature's cosines, to its label's cosines, both through a softmax.

    Where `semantic_loss` compares all cosines alike, thousands of which say that nothing is related, a low temperature
    looks at the near classes.

    Args:
        similarity: Cosine of each feature to each visual prototype.
        targets: Classes in [0, A), or -1 for unknown.
        relations: Cosine of each language prototype (row) to each other.
        temperature: Temperature of both softmaxes.
        weights: Weight of each target, at least 0. Default: 1.
        among: Over which targets the mean is taken, see `masked_mean`.
    """
    ours = (similarity.float() / temperature).log_softmax(dim=-1)
    theirs = (relations[targets.clamp(min=0)].float() / temperature).log_softmax(dim=-1)
    # KL(theirs || ours) = sum theirs (log theirs - log ours), 0 where the geometry is reproduced.
    divergence = (theirs.exp() * (theirs - ours)).sum(dim=-1)
    return masked_mean(divergence, targets != UNKNOWN_ACTION, weights, among=among)


def feature_loss(
    predicted: Float[Tensor, "B T D"],
    observed: Float[Tensor, "B T D"],
    mask: Bool[Tensor, "B T"],
    *,
    detach_target: bool = False,
) -> Float[Tensor, ""]:
    """Return the mean squared error between step t's prediction and step t + 1, where both exist.

    Args:
        predicted: Decoder output.
        observed: Decoder input.
        mask: Which steps are real.
        detach_target: Keep the gradient away from the observed feature. The released code does not.
    """
    # o_{t+1} against p_t: the first step has no prediction, the last one no target yet.
    target = observed[:, 1:]
    if detach_target:
        target = target.detach()
    errors = (predicted[:, :-1] - target).float().square().mean(dim=-1)
    return masked_mean(errors, mask[:, 1:] & mask[:, :-1])


def semantic_loss(
    similarity: Float[Tensor, "*batch A"],
    targets: Int[Tensor, "*batch"],
    relations: Float[Tensor, "A A"],
    *,
    weights: Float[Tensor, "*batch"] | None = None,
    among: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Compare a feature's cosines to the visual prototypes with its label's cosines to the language prototypes.

    Both vectors are divided by their L1 norms; the loss is the sum of absolute differences, averaged over the known
    targets: 0 where the geometry is reproduced, at most 2. Without the norms, as the paper words it, a sum over
    thousands of classes would dwarf every other term.

    Args:
        similarity: Cosine of each feature to each visual prototype.
        targets: Classes in [0, A), or -1 for unknown.
        relations: Cosine of each language prototype (row) to each other.
        weights: Weight of each target, at least 0. Default: 1.
        among: Over which targets the mean is taken, see `masked_mean`.

    Source:
        S-GEAR (arXiv:2407.02309), semantic loss, L1-normalised as in the released code.
    """
    # Rows of cosines [... A], each divided by the sum of its absolute values.
    ours = F.normalize(similarity.float(), p=1, dim=-1)
    # Unknown labels take row 0 here, and are left out of the mean below.
    theirs = F.normalize(relations[targets.clamp(min=0)].float(), p=1, dim=-1)
    return masked_mean((ours - theirs).abs().sum(dim=-1), targets != UNKNOWN_ACTION, weights, among=among)


def regularization_loss(
    features: Float[Tensor, "B D"],
    targets: Int[Tensor, " B"],
    prototypes: Float[Tensor, "A D"],
    *,
    detach_target: bool = True,
    weights: Float[Tensor, " B"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean squared distance of a feature to its label's prototype, both of unit length: in [0, 4].

    Args:
        features: Anticipated features.
        targets: Classes in [0, A), or -1 for unknown.
        prototypes: Visual prototypes.
        detach_target: The feature moves, not the prototype, as in the released code.
        weights: Weight of each target, at least 0. Default: 1.
    """
    # [B D]; an unknown target takes prototype 0 here, and is left out of the mean below.
    wanted = prototypes[targets.clamp(min=0)].float()
    cosine = torch.cosine_similarity(features.float(), wanted.detach() if detach_target else wanted, dim=-1)
    # |a - b|^2 = 2 (1 - cos) for vectors of unit length.
    return masked_mean(2 * (1 - cosine), targets != UNKNOWN_ACTION, weights)
