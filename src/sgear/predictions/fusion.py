"""Late fusion: the scores of several models on the same segments, joined strictly by uid and averaged with weights.

Fused scores and scores read from a file are float64, tables of predictions hold float32; two scores that differ must
not become equal on the way (`float32_in_order`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from sgear.errors import PredictionError
from sgear.predictions.provenance import merge_skipped, skipped_of, with_skipped
from sgear.predictions.table import Predictions
from sgear.taxonomy import FIELDS, Field

LOG_OF_ZERO = -1000.0
"""Stands for log 0. Lower than the log of any float64, and its exponential is exactly 0 again."""

_ROWS_AT_ONCE = 512


def log_probabilities(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm, `LOG_OF_ZERO` where a probability is 0."""
    is_zero = probs == 0
    return np.where(is_zero, LOG_OF_ZERO, np.log(np.where(is_zero, 1.0, probs)))


def push_apart(values: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the smallest integers not below `values` that rise by at least 1 with each rank.

    Args:
        values: Integers in ascending order along the last axis [M K].
        ranks: 0 at the start, then 0 or 1 more at each step: one rank per group of equal scores [M K].

    Returns:
        Integers [M K], equal where ranks are equal.
    """
    return np.maximum.accumulate(values - ranks, axis=-1) + ranks


def float32_in_order(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32 such that each row keeps its exact order, ties included.

    Args:
        scores: Finite scores [M K] of a size that float32 can hold.

    Returns:
        Scores [M K], off by one rounding step, or by as many steps as there are scores that would have met.

    Example:
        >>> int(float32_in_order(np.array([[1.0, 1.0 + 1e-12, 1.0]])).argmax())
        1
    """
    result = scores.astype(np.float32)
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        part = scores[start : start + _ROWS_AT_ONCE]
        ascending = np.sort(part, axis=1)
        rises = np.diff(ascending, axis=1) > 0
        rounded = ascending.astype(np.float32)
        rows = np.flatnonzero((rises & (np.diff(rounded, axis=1) == 0)).any(axis=1))
        if not len(rows):
            continue
        ranks = np.zeros((len(rows), part.shape[1]), dtype=np.int64)
        ranks[:, 1:] = np.cumsum(rises[rows], axis=1)
        apart = _float_of_key(push_apart(_key_of_float(rounded[rows]), ranks))
        fixed = np.empty_like(apart)
        np.put_along_axis(fixed, np.argsort(part[rows], axis=1), apart, axis=1)
        result[start + rows] = fixed
    return result


def _key_of_float(values: NDArray[np.float32]) -> NDArray[np.int64]:
    # Neighbouring floats are neighbouring integers; the sign bit is turned into a sign.
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))


def _float_of_key(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    bits = np.where(keys >= 0, keys, -keys | 0x80000000)
    return bits.astype(np.uint32).view(np.float32)


def best_first(
    scores: NDArray[np.floating],
    uids: Sequence[str],
    *,
    num_best: int,
    counts: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Return the best classes of each sample, best first, with ties that favour no class id.

    Equal scores are put in order of `counts`, then by a number drawn from `seed`, the sample's uid and the class, so
    that the order depends neither on the position of the class nor on the position of the sample.

    Args:
        scores: Any ranking [M K], higher is likelier.
        uids: The uid of each sample.
        num_best: Number of classes to return, in [1, K].
        counts: Training segments of each class [K]; among equal scores the frequent class comes first.
        seed: Seed of the draw.

    Returns:
        Class ids [M num_best].
    """
    best = np.empty((len(scores), num_best), dtype=np.int64)
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        part = scores[start : start + _ROWS_AT_ONCE]
        # One class beyond the last: a tie across the border decides who is in.
        num_seen = min(num_best + 1, part.shape[1])
        order = np.argpartition(-part, num_seen - 1, axis=1)[:, :num_seen]
        seen = np.take_along_axis(part, order, axis=1)
        inner = np.argsort(-seen, axis=1)
        order, seen = np.take_along_axis(order, inner, axis=1), np.take_along_axis(seen, inner, axis=1)
        best[start : start + _ROWS_AT_ONCE] = order[:, :num_best]
        for row in np.flatnonzero((np.diff(seen, axis=1) == 0).any(axis=1)).tolist():
            lot = np.random.default_rng([seed, zlib.crc32(uids[start + row].encode("utf-8", "surrogatepass"))])
            keys = [lot.random(part.shape[1]), -part[row]]
            if counts is not None:
                keys.insert(1, -counts)
            best[start + row] = np.lexsort(keys)[:num_best]
    return best


Rule = Literal["probs", "logits", "ranks", "avt"]
"""What is averaged: probabilities, log probabilities, reciprocal ranks, or what AVT and the S-GEAR release add."""
RULES: tuple[Rule, ...] = ("probs", "logits", "ranks", "avt")

Addend = Literal["probs", "logits", "ranks", "scores"]
"""What of one field is averaged; `scores` are logits as they are."""

RANK_OFFSET = 60.0
"""Added to a rank before it is inverted, so that no single first place outweighs everything else."""


def late_fuse(
    tables: Sequence[Predictions],
    weights: Sequence[float],
    *,
    rule: Rule = "probs",
    field_weights: Mapping[Field, Sequence[float]] | None = None,
    notes: Mapping[str, object] | None = None,
) -> Predictions:
    """Average the scores of several models.

    Weights need not sum to 1; only their proportions count. The rules:

    * `probs`: mean of probabilities. A model must be sure to be heard.
    * `logits`: mean of log probabilities, that is of logits less their log-sum-exp. The subtraction changes no ranking,
      but makes models comparable whose logits differ by a constant. A class that one model excludes is out.
    * `ranks`: mean of 1 / (60 + rank), rank 1 for the best, equal scores sharing the mean of their ranks. For models
      whose scores have nothing in common; the result's probabilities then mean nothing but an order.
    * `avt`: mean of the logits as they are, so that a model with larger logits weighs more; verbs and nouns are the
      mean of the probabilities of each model, or of its logits where all models have that head. The rule of the
      published late fusions of AVT and S-GEAR, whose sums are these means times the sum of the weights.

    Verbs and nouns of the result are summed from its actions, as those of any table without heads; it gets
    `verb_logits` or `noun_logits` of its own if a model has that head, `field_weights` names that field, or the rule
    is `ranks`, whose action scores cannot be summed, or `avt`.

    Args:
        tables: Predictions of the same segments under the same protocol and vocabulary; windows may differ in length
            and rate, and the result states the longest.
        weights: One weight per table, not negative, not all 0.
        rule: What is averaged.
        field_weights: Other weights for some of `verb`, `noun` and `action`.
        notes: Further entries of the result's provenance, such as where the weights come from.

    Returns:
        The fused table, in the order of the first. Scores that differ stay different in float32. Its provenance holds
        those of the tables, and the union of the segments that they skipped.

    Raises:
        ValueError: If weights or rule do not fit.
        PredictionError: If segments, targets, protocol or vocabulary differ, or the rule is `avt` and only some of the
            models have a head of verbs or nouns.

    Source:
        `ranks`: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion, SIGIR 2009. `avt`: facebookresearch/AVT and
        ADiko1997/S-GEAR, notebooks/utils.py, get_epic_marginalize_late_fuse.
    """
    fields = dict(field_weights or {})
    unknown = [name for name in fields if name not in FIELDS]
    if rule not in RULES or unknown:
        raise ValueError(
            f"expected one of {', '.join(RULES)} and weights of {', '.join(FIELDS)}; got {rule}, {unknown}"
        )
    shares = {name: check_weights(fields.get(name, weights), len(tables)) for name in FIELDS}
    check_weights(weights, len(tables))
    aligned = align(tables)
    first = aligned[0]
    own: dict[Field, NDArray[np.float32]] = {}
    for name in FIELDS:
        # The actions always have scores of their own.
        has_own = any(table.own_scores(name) is not None for table in aligned)
        if has_own or name in fields or rule in ("ranks", "avt"):
            own[name] = _fuse_field(aligned, shares[name], name, rule)
    provenance: dict[str, object] = {
        "fusion": [table.provenance for table in aligned],
        "weights": [float(weight) for weight in weights],
        "rule": rule,
    }
    skipped = merge_skipped(skipped_of(table.provenance) for table in aligned)
    if skipped:
        missed = {uid for reasons in skipped.values() for uid in reasons}
        provenance = with_skipped(provenance, skipped) | {"num_unreadable": len(missed.intersection(first.uids))}
    if fields:
        provenance["field_weights"] = {name: [float(weight) for weight in fields[name]] for name in fields}
    return Predictions(
        uids=first.uids,
        logits=own["action"],
        targets=first.targets,
        taxonomy=first.taxonomy,
        # What the mean has seen is what the table saw that looks back furthest.
        protocol=max((table.protocol for table in aligned), key=lambda stated: float(stated.get("tau_o_s", 0.0))),
        provenance=provenance | dict(notes or {}),
        verb_logits=own.get("verb"),
        noun_logits=own.get("noun"),
    )


def check_weights(weights: Sequence[float], num_tables: int) -> NDArray[np.float64]:
    """Return weights scaled to sum to 1.

    Raises:
        ValueError: If there is not one weight per table, one is negative or not finite, or all are 0.
    """
    if len(weights) != num_tables or not num_tables:
        raise ValueError(f"expected one weight per table, got {len(weights)} weights for {num_tables} tables")
    if any(not math.isfinite(weight) or weight < 0 for weight in weights) or not 0 < math.fsum(weights) < math.inf:
        raise ValueError(f"weights must be finite, not negative and not all 0, got {list(weights)}")
    share = np.asarray(weights, dtype=np.float64)
    return share / share.sum()


def align(tables: Sequence[Predictions]) -> list[Predictions]:
    """Return the tables in the row order of the first.

    Raises:
        PredictionError: If segments, targets, protocol or vocabulary differ.
    """
    for table in tables[1:]:
        tables[0].check_comparable(table, any_window=True)
    return [table.matched_to(tables[0]) for table in tables]


def addend_of(tables: Sequence[Predictions], field: Field, rule: Rule) -> Addend:
    """Return what of a field is averaged under a rule: that of the rule's name, but for `avt`.

    Raises:
        PredictionError: If probabilities of one model would be added to logits of another.
    """
    if rule != "avt":
        return rule
    heads = [table.own_scores(field) is not None for table in tables]
    if any(heads) and not all(heads):
        raise PredictionError(
            f"{sum(heads)} of {len(heads)} models have a {field} head; the rule avt would add logits of these to "
            "probabilities of the others, which are of another size. Choose the rule probs, logits or ranks"
        )
    return "scores" if all(heads) else "probs"


def parts_of(
    tables: Sequence[Predictions], field: Field, addend: Addend
) -> Iterator[tuple[slice, list[NDArray[np.float64]]]]:
    """Yield blocks of rows with what `combine` takes of each table, [R K] each."""
    for start in range(0, len(tables[0]), _ROWS_AT_ONCE):
        rows = slice(start, min(start + _ROWS_AT_ONCE, len(tables[0])))
        yield rows, [_part(table.take(np.arange(rows.start, rows.stop)), field, addend) for table in tables]


def _part(table: Predictions, field: Field, addend: Addend) -> NDArray[np.float64]:
    own = table.own_scores(field)
    if addend == "ranks":
        # Takes half a second to import, which the other rules need not wait for.
        from scipy.stats import rankdata  # noqa: PLC0415

        scores = table.field_probs(field) if own is None else own
        return 1.0 / (RANK_OFFSET + rankdata(-scores, axis=1))
    if own is None:
        return log_probabilities(table.field_probs(field))
    scores = own.astype(np.float64)
    return scores if addend == "scores" else log_softmax(scores, axis=1)


def combine(parts: Sequence[NDArray[np.float64]], shares: NDArray[np.float64], addend: Addend) -> NDArray[np.float64]:
    """Return the fused log scores [R K] of one block of rows.

    Args:
        parts: What `parts_of` gives for each table.
        shares: Weight of each table, summing to 1.
        addend: What is averaged.
    """
    used = [(part, share) for part, share in zip(parts, shares, strict=True) if share > 0]
    if addend != "probs":
        mean = sum((share * part for part, share in used), start=np.zeros_like(parts[0]))
        return np.log(mean) if addend == "ranks" else mean
    # Relative to the largest, so that a probability too small for float64 still has its place in the order.
    largest = np.maximum.reduce([part for part, _ in used])
    total = sum((share * np.exp(part - largest) for part, share in used), start=np.zeros_like(largest))
    return largest + np.log(total)


def _fuse_field(
    tables: Sequence[Predictions], shares: NDArray[np.float64], field: Field, rule: Rule
) -> NDArray[np.float32]:
    addend = addend_of(tables, field, rule)
    num_classes = len(tables[0].taxonomy.names(field))
    fused = np.empty((len(tables[0]), num_classes), dtype=np.float32)
    for rows, parts in parts_of(tables, field, addend):
        fused[rows] = float32_in_order(combine(parts, shares, addend))
    return fused
