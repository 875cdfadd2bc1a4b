"""How alike the actions are: in the language that describes them, and in what the model has learned to see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import spearmanr
from torch import Tensor

from sgear.prototypes import cosine_relations
from sgear.report.style import ACCENT, HALF_IN, INK, MUTED, SEQUENTIAL, WIDE_IN, shorten, styled

_MAX_NAMED = 50
MAX_DOTS = 3_000
MAX_CELLS = 300
_MAX_RANKED = 500_000


def cluster_order(similarity: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return an order of the classes in which similar ones are neighbours (average linkage on 1 - cosine)."""
    if len(similarity) < 3:
        return np.arange(len(similarity))
    distance = np.clip(1.0 - similarity.astype(np.float64), 0.0, None)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=len(similarity) <= 300)
    return leaves_list(tree).astype(np.int64)


def pooled(similarity: NDArray[np.floating], num_blocks: int) -> NDArray[np.floating]:
    """Return means over blocks of neighbouring classes, `num_blocks` each way; a page cannot show more."""
    if len(similarity) <= num_blocks:
        return similarity
    starts = np.linspace(0, len(similarity), num_blocks, endpoint=False).astype(int)
    sizes = np.diff(starts, append=len(similarity))
    sums = np.add.reduceat(np.add.reduceat(similarity, starts, axis=0), starts, axis=1)
    return sums / np.outer(sizes, sizes)


def pair_cosines(similarity: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the cosine of each pair of different classes, once, [A (A - 1) / 2]."""
    return similarity[np.triu_indices(len(similarity), k=1)]


def _cosines(prototypes: Float[Tensor, "A D"]) -> NDArray[np.float64]:
    return cosine_relations(prototypes.detach().to(torch.float32).cpu()).numpy().astype(np.float64)


@styled()
def similarity_matrices(
    language: Float[Tensor, "A E"] | None, visual: Float[Tensor, "A D"] | None, names: Sequence[str]
) -> Figure | None:
    """Draw the cosines between all prototypes, language left and visual right, classes in one common order.

    Args:
        language: Language prototypes; they set the order where they exist.
        visual: Visual prototypes.
        names: Name of each action [A].

    Returns:
        The figure, or None without prototypes.
    """
    given = {"language": language, "visual": visual}
    matrices = {name: _cosines(vectors) for name, vectors in given.items() if vectors is not None}
    if not matrices:
        return None
    order = cluster_order(next(iter(matrices.values())))
    is_named = len(order) <= _MAX_NAMED
    height_in = float(np.clip(0.115 * len(order) + 0.5, 2.6, 4.9)) if is_named else 4.2
    width_in = WIDE_IN if len(matrices) == 2 else WIDE_IN * 0.62
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    panels = figure.subplots(1, len(matrices), squeeze=False, sharey=True)[0]
    for axes, (name, cosines) in zip(panels, matrices.items(), strict=True):
        cells = pooled(cosines[np.ix_(order, order)], MAX_CELLS)
        pairs = pair_cosines(cells)
        low, high = np.quantile(pairs, [0.02, 0.995]) if len(pairs) else (0.0, 1.0)
        # The two spaces spread differently: each has its own scale, so that their patterns can be compared.
        image = axes.imshow(
            cells,
            cmap=SEQUENTIAL,
            vmin=low,
            vmax=max(high, low + 1e-3),
            aspect="auto",
            interpolation="nearest",
        )
        bar = figure.colorbar(image, ax=axes, fraction=0.035, pad=0.02, aspect=40)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(labelsize=6.5)
        axes.set_title(f"{name} prototypes, cosine")
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
    if is_named:
        panels[0].set_yticks(range(len(order)), [shorten(names[action], 24) for action in map(int, order)])
        panels[0].tick_params(axis="y", labelsize=7 if len(order) <= 25 else 5.8, labelcolor=INK)
    else:
        panels[0].set_yticks([])
    return figure


@styled()
def similarity_agreement(
    language: Float[Tensor, "A E"], visual: Float[Tensor, "A D"], names: Sequence[str]
) -> Figure | None:
    """Draw language cosine against visual cosine, one dot per pair of actions, with Spearman's rank correlation.

    Returns:
        The figure, or None where there are fewer than three actions.
    """
    if len(names) < 3:
        return None
    told, seen = pair_cosines(_cosines(language)), pair_cosines(_cosines(visual))
    figure = Figure(figsize=(HALF_IN * 1.35, 3.5), layout="constrained")
    axes = figure.subplots()
    if len(told) <= MAX_DOTS:
        axes.scatter(told, seen, s=8, color=ACCENT, alpha=0.35, linewidths=0, rasterized=len(told) > 500)
        _name_extremes(axes, told, seen, names)
    else:
        axes.hexbin(told, seen, gridsize=60, bins="log", cmap=SEQUENTIAL, mincnt=1, linewidths=0, rasterized=True)
    number = f"{len(told):,} pairs"
    if len(told) > _MAX_RANKED:
        # Ranking millions of pairs takes many seconds; a sample gives the correlation to two digits.
        chosen = np.random.default_rng(0).integers(0, len(told), _MAX_RANKED)
        told, seen, number = told[chosen], seen[chosen], f"{_MAX_RANKED:,} of {number}"
    correlation = float(spearmanr(told, seen).statistic)  # type: ignore[attr-defined]
    axes.set_title(f"Spearman {correlation:+.2f} over {number}")
    axes.set_xlabel("cosine of language prototypes")
    axes.set_ylabel("cosine of visual prototypes")
    axes.grid(axis="both")
    axes.margins(y=0.08)
    return figure


def _name_extremes(axes, told: NDArray, seen: NDArray, names: Sequence[str]) -> None:
    """Name the pair that language finds most alike and the pair that vision finds most alike."""
    first, second = np.triu_indices(len(names), k=1)
    first, second = first.tolist(), second.tolist()
    for pair in dict.fromkeys((int(told.argmax()), int(seen.argmax()))):
        is_right = told[pair] > (told.min() + told.max()) / 2
        text = f"{shorten(names[first[pair]], 18)} / {shorten(names[second[pair]], 18)}"
        axes.annotate(
            text,
            (told[pair], seen[pair]),
            (-5 if is_right else 5, 5),
            textcoords="offset points",
            ha="right" if is_right else "left",
            fontsize=6.5,
            color=MUTED,
        )
