"""Who is trained on and who is validated on, where a csv does not say: whole participants, else whole videos.

Nobody is on both sides. Of the ways to do that, the one is taken whose cost is least: the distance of the validation
share from the wanted one, plus the share of segments that are validated but whose class is never trained.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sgear.datasets.own.rows import OwnRow, ProblemList

# Up to here all 2^G divisions are tried, above a fixed number of random ones.
_MOST_GROUPS_TO_ENUMERATE = 12
_NUM_RANDOM_ORDERS = 2000
_CHUNK = 256
# Bounds memory and time where there are very many classes or groups; fewer divisions are tried then.
_MOST_CELLS = 10_000_000


def split_rows(
    rows: Sequence[OwnRow], *, validation_share: float, seed: int, problems: ProblemList
) -> tuple[tuple[OwnRow, ...], str]:
    """Give each row `train` or `validation`.

    Args:
        rows: Labelled rows without a split.
        validation_share: Wanted share of validation segments, in (0, 1).
        seed: Seed of the order in which divisions are tried.
        problems: Takes an error where there is one video alone, and a note where people cannot be kept apart.

    Returns:
        The rows with their splits, and the rule that was used, in words.
    """
    people = {row.participant for row in rows}
    by_person = None not in people and len(people) > 1
    groups = [str(row.participant) if by_person else row.video for row in rows]
    if len(set(groups)) < 2:
        remedy = "Add a second video, or a column split that divides the rows"
        problems.error(None, None, None, "all rows belong to one video, so no video can be kept for validation", remedy)
        return tuple(rows), "none"
    if len(people) == 1 and None not in people:
        problems.note(None, None, "all rows belong to one participant", "The splits are made by video")
    classes = {names: index for index, names in enumerate(sorted({row.names for row in rows}))}
    held_out = choose_groups(groups, [classes[row.names] for row in rows], share=validation_share, seed=seed)
    divided = tuple(
        replace(row, split="validation" if group in held_out else "train")
        for row, group in zip(rows, groups, strict=True)
    )
    kind = "participant" if by_person else "video"
    rule = f"by {kind}, seed {seed}, wanted validation share {validation_share:g}: no {kind} is in both splits"
    return divided, rule


def choose_groups(groups: Sequence[str], classes: Sequence[int], *, share: float, seed: int) -> frozenset[str]:
    """Return the groups to validate on.

    Args:
        groups: Group of each segment, at least two different ones.
        classes: Class of each segment.
        share: Wanted share of validation segments, in (0, 1).
        seed: Seed of the order of groups; of divisions of equal cost the first wins.
    """
    names = np.random.default_rng(seed).permutation(sorted(set(groups)))
    place = {name: index for index, name in enumerate(names.tolist())}
    groups_of: dict[int, set[int]] = defaultdict(set)
    for group, label in zip(groups, classes, strict=True):
        groups_of[label].add(place[group])
    # Classes that occur in the same groups are counted together; of 100,000 classes few sets of groups are left.
    counts = Counter(frozenset(groups_of[label]) for label in classes)
    rows, columns = zip(*((row, column) for row, members in enumerate(counts) for column in members), strict=True)
    members = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(counts), len(names)))
    sizes = np.bincount([place[group] for group in groups])
    chunk = max(1, min(_CHUNK, _MOST_CELLS // len(counts)))
    best_cost, best = np.inf, np.zeros(len(names), dtype=bool)
    for masks in _divisions(sizes, share, seed, chunk):
        costs = division_costs(masks, sizes, members, np.array(list(counts.values())), share)
        if costs.min() < best_cost - 1e-12:
            best_cost, best = costs.min(), masks[costs.argmin()]
    return frozenset(names[best].tolist())


def division_costs(
    masks: NDArray[np.bool_], sizes: NDArray[np.int64], members: csr_array, counts: NDArray[np.int64], share: float
) -> NDArray[np.float64]:
    """Return the cost of each division [S]: distance from the share, plus validated segments never trained.

    Args:
        masks: Whether each group is validated on [S G].
        sizes: Segments of each group [G].
        members: For each set of groups that classes occur in, 1 for each group of the set [K G].
        counts: Segments of the classes of each set [K].
        share: Wanted share of validation segments.
    """
    total = sizes.sum()
    # Products of floats are many times faster than those of integers, and as exact for counts.
    num_validated = members @ masks.T.astype(np.float64)
    is_untrained = np.equal(num_validated, np.diff(members.indptr)[:, None])
    untrained = counts.astype(np.float64) @ is_untrained.astype(np.float64)
    return np.abs(masks @ sizes.astype(np.float64) / total - share) + untrained / total


def _divisions(sizes: NDArray[np.int64], share: float, seed: int, chunk: int) -> Iterator[NDArray[np.bool_]]:
    """Yield divisions [S G], so many at once; none leaves a side empty."""
    num_groups = len(sizes)
    if num_groups <= _MOST_GROUPS_TO_ENUMERATE:
        codes = np.arange(1, 2**num_groups - 1)
        masks = (codes[:, None] >> np.arange(num_groups)) % 2 == 1
    else:
        rng = np.random.default_rng(seed)
        num_orders = max(1, min(_NUM_RANDOM_ORDERS, _MOST_CELLS // num_groups))
        orders = np.stack([rng.permutation(num_groups) for _ in range(num_orders)])
        # The groups of each order up to the wanted share, and one less.
        reached = np.cumsum(sizes[orders], axis=1) >= share * sizes.sum()
        upper = np.clip(reached.argmax(axis=1) + 1, 1, num_groups - 1)
        lengths = np.concatenate([upper, np.maximum(upper - 1, 1)])
        ranks = np.tile(np.argsort(orders, axis=1), (2, 1))
        masks = ranks < lengths[:, None]
    for first in range(0, len(masks), chunk):
        yield masks[first : first + chunk]
