"""Visual prototypes: class means of the features that a recognition model gives to training actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from sgear.errors import FeatureError, PrototypeError
from sgear.features import FeatureTable
from sgear.lineage import UNKNOWN, Lineage
from sgear.prototypes.files import read_prototypes, write_prototypes
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

_NOISE = 0.01


def choose_exemplars(
    actions: NDArray[np.integer], *, max_per_class: int | None = None, seed: int = 0
) -> NDArray[np.bool_]:
    """Choose up to `max_per_class` clips of each action at random.

    Args:
        actions: Action of each clip [M]; clips of unknown action, -1, are never chosen.
        max_per_class: Largest number of exemplars. Default: all.
        seed: Seed of the draw; that of one class does not depend on the others.

    Returns:
        Which clips are exemplars [M].
    """
    known = actions >= 0
    if max_per_class is None:
        return known
    chosen = np.zeros(len(actions), dtype=np.bool_)
    for action in np.unique(actions[known]).tolist():
        rows = np.flatnonzero(actions == action)
        rng = np.random.default_rng([seed, action])
        chosen[rng.permutation(rows)[:max_per_class]] = True
    return chosen


def class_means_of_features(
    table: FeatureTable,
    segments: SegmentTable,
    *,
    origin: str,
    max_exemplars: int | None = None,
    seed: int = 0,
    lineage: Lineage = UNKNOWN,
) -> VisualPrototypes:
    """Make visual prototypes of stored features, without any model.

    The exemplar of a segment is the mean of the rows seen during it, or of the row nearest to its center where it is
    shorter than their distance. Every exemplar weighs the same, however long its segment.

    Args:
        table: Features.
        segments: Training segments.
        origin: Name of the features, kept in the file.
        max_exemplars: See `choose_exemplars`, as `seed`.
        seed: Seed of their choice.
        lineage: Videos of `segments`.

    Raises:
        FeatureError: If a video has no features, or they end long before a segment.
        PrototypeError: If no segment has a known action.
    """
    actions = segments.column("action_id")
    chosen = segments.take(choose_exemplars(actions, max_per_class=max_exemplars, seed=seed))
    if not len(chosen):
        raise PrototypeError(f"{segments.origin}: no segment with a known action, so there is nothing to average")
    exemplars = np.stack([_exemplar(table, row.video_id, row.start_s, row.stop_s) for row in chosen])
    return class_means(
        torch.from_numpy(exemplars),
        torch.tensor(chosen.column("action_id")),
        segments.taxonomy,
        run=origin,
        seed=seed,
        lineage=lineage,
        provenance={"max_exemplars": max_exemplars, "seed": seed},
    )


def _exemplar(table: FeatureTable, video_id: str, start_s: float, stop_s: float) -> NDArray[np.float32]:
    video = table[video_id]
    rows = video.features[(video.times_s >= start_s) & (video.times_s < stop_s)]
    if len(rows):
        return rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    distance_s = np.abs(video.times_s - (start_s + stop_s) / 2)
    nearest = int(distance_s.argmin())
    if distance_s[nearest] > max(video.period_s, stop_s - start_s):
        raise FeatureError(
            f"{video.origin}: the action from {start_s:.3f} to {stop_s:.3f} s of {video_id} has no features; they "
            f"cover {video.first_s:.3f} to {video.times_s[-1]:.3f} s. The file looks truncated or belongs to another "
            "video"
        )
    return video.features[nearest]


@dataclass(frozen=True, kw_only=True)
class VisualPrototypes:
    """Class means with the number of exemplars behind each.

    Args:
        vectors: One prototype per action [A D].
        num_exemplars: Training clips behind each [A]; 0 marks a prototype made from its siblings.
        run: Recognition run, or stored features, they come from.
        taxonomy: Vocabulary.
        skipped: Why a training segment of that run could not be read, by uid; it is behind no prototype.
        lineage: Videos that they, and the run behind them, were learnt from.
        provenance: How they were made, JSON-ready: `max_exemplars` and `seed` of the draw, and `path` and `weights` (a
            digest) of the run.
    """

    vectors: Float[Tensor, "A D"]
    num_exemplars: Int[Tensor, " A"]
    run: str
    taxonomy: Taxonomy
    skipped: dict[str, str] = field(default_factory=dict)
    lineage: Lineage = UNKNOWN
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def num_filled(self) -> int:
        """Number of prototypes without exemplars."""
        return int((self.num_exemplars == 0).sum())

    def save(self, path: Path) -> None:
        """Write a safetensors file.

        Raises:
            PrototypeError: If there is not one finite vector per action, or one is zero.
            WriteError: If the file cannot be written.
        """
        header: dict[str, object] = {
            "num_exemplars": self.num_exemplars.tolist(),
            "run": self.run,
            "lineage": self.lineage.to_dict(),
            "provenance": self.provenance,
        }
        if self.skipped:
            header["skipped"] = self.skipped
        write_prototypes(path, "visual", self.vectors, self.taxonomy, header)

    @classmethod
    def load(cls, path: Path, taxonomy: Taxonomy | None = None) -> VisualPrototypes:
        """Read a file written by `save`.

        Args:
            path: The file.
            taxonomy: Vocabulary that it must belong to. Default: the file's own.

        Raises:
            PrototypeError: If it belongs to another vocabulary, or is missing or damaged.
        """
        vectors, header, vocabulary = read_prototypes(path, "visual", taxonomy)
        counts = header.get("num_exemplars", [])
        if len(counts) != len(vectors):
            raise PrototypeError(
                f"{path}: damaged file ({len(counts)} numbers of exemplars of {len(vectors)} vectors); write it again"
            )
        try:
            return cls(
                vectors=vectors,
                num_exemplars=torch.tensor(counts),
                run=str(header.get("run", "unknown")),
                taxonomy=vocabulary,
                skipped={str(uid): str(reason) for uid, reason in dict(header.get("skipped", {})).items()},
                lineage=Lineage.from_dict(header.get("lineage"), name=str(path)),
                provenance=dict(header.get("provenance", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise PrototypeError(
                f"{path}: damaged file ({err}); write it again with 'sgear prototypes visual'"
            ) from err


def class_means(
    features: Float[Tensor, "M D"],
    actions: Int[Tensor, " M"],
    taxonomy: Taxonomy,
    *,
    run: str,
    seed: int = 0,
    skipped: Mapping[str, str] | None = None,
    lineage: Lineage = UNKNOWN,
    provenance: Mapping[str, Any] | None = None,
) -> VisualPrototypes:
    """Average the features of each action, and give the actions without any a prototype of their relatives.

    Args:
        features: Features of training clips.
        actions: Action of each clip, in [0, A); clips of unknown action, -1, are left out.
        taxonomy: Vocabulary.
        run: Name of the recognition run.
        seed: Seed of the noise on prototypes without relatives.
        skipped: Clips that could not be read and are not among `features`, or are of unknown action there.
        lineage: Videos that the clips, and the network that saw them, come from.
        provenance: What else to keep; see `VisualPrototypes`.

    Raises:
        PrototypeError: If there is no clip of a known action, or an action is not of this vocabulary.
    """
    known = actions >= 0
    features, actions = features[known].double(), actions[known]
    if not len(features):
        raise PrototypeError("visual prototypes need at least one training clip of a known action")
    if int(actions.max()) >= taxonomy.num_actions:
        raise PrototypeError(
            f"a clip shows action {int(actions.max())}, but the vocabulary has {taxonomy.num_actions} actions; take "
            "features and vocabulary from the same run"
        )
    # rho_a = mean of the features of class a; in float64, so that the order of clips does not show in float32.
    counts = torch.bincount(actions, minlength=taxonomy.num_actions)
    sums = torch.zeros(taxonomy.num_actions, features.shape[1], dtype=torch.double).index_add_(0, actions, features)
    means = sums / counts.clamp(min=1)[:, None]
    filled = fill_from_siblings(means, counts > 0, taxonomy, seed=seed)
    return VisualPrototypes(
        vectors=filled.float(),
        num_exemplars=counts,
        run=run,
        taxonomy=taxonomy,
        skipped=dict(skipped or {}),
        lineage=lineage,
        provenance=dict(provenance or {}),
    )


def fill_from_siblings(
    vectors: Float[Tensor, "A D"], has_exemplars: Tensor, taxonomy: Taxonomy, *, seed: int = 0
) -> Float[Tensor, "A D"]:
    """Return prototypes in which actions without exemplars have those of their relatives.

    Such an action gets the mean of two means: of the prototypes that share its verb and of those that share its noun;
    one of them where the other is empty. Without any relative it gets the mean of all prototypes and 1 % of noise, so
    that no two of them are equal.

    Args:
        vectors: Class means; rows without exemplars are not read.
        has_exemplars: Which rows are class means [A]; at least one.
        taxonomy: Verb and noun of each action.
        seed: Seed of the noise.
    """
    verbs, nouns = torch.from_numpy(taxonomy.verb_of_action), torch.from_numpy(taxonomy.noun_of_action)
    known = vectors[has_exemplars]
    noise_std = _NOISE * known.norm(dim=1).mean() / vectors.shape[1] ** 0.5
    generator = torch.Generator().manual_seed(seed)
    filled = vectors.clone()
    for action in torch.nonzero(~has_exemplars).flatten().tolist():
        # Classes that share the verb, and classes that share the noun; each class weighs the same.
        groups = [has_exemplars & (ids == ids[action]) for ids in (verbs, nouns)]
        siblings = [vectors[group].mean(dim=0) for group in groups if group.any()]
        if siblings:
            filled[action] = torch.stack(siblings).mean(dim=0)
        else:
            noise = torch.randn(vectors.shape[1], generator=generator, dtype=torch.double).to(vectors.dtype)
            filled[action] = known.mean(dim=0) + noise_std * noise
    return filled
