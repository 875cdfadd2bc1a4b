"""Tables of the same segments at several anticipation times: how early the right answer first appears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgear.errors import PredictionError
from sgear.metrics import time_to_action
from sgear.predictions.outcomes import field_outcomes
from sgear.predictions.table import Predictions
from sgear.taxonomy import FIELDS, Field
from sgear.timing import TIME_TOLERANCE_S


def times_to_action(tables: Sequence[Predictions], *, k: int = 5) -> dict[Field, float]:
    """Compute how long before its start an action is first predicted; see `time_to_action`.

    Args:
        tables: One table per anticipation time, in any order, on the same segments. Their protocols may differ in
            `tau_a_s` alone, or in `tau_o_s` as well where all windows begin at the same instant.
        k: Number of guesses.

    Returns:
        Seconds for `verb`, `noun` and `action`.

    Raises:
        ValueError: If there is no table.
        PredictionError: If segments, true actions, vocabulary or protocols differ, two tables have the same
            anticipation time, or a protocol has none.
    """
    if not tables:
        raise ValueError("a horizon curve needs at least one table")
    first = tables[0]
    times_s = [_tau_a_s(table) for table in tables]
    if len(set(times_s)) < len(times_s):
        raise PredictionError(f"two tables have the same anticipation time: {times_s} s; give one table for each")
    aligned = []
    for table in tables:
        if not _is_same_but_for_tau_a(table.protocol, first.protocol):
            raise PredictionError(
                f"protocols differ in more than the anticipation time: {first.protocol} and {table.protocol}"
            )
        if table.taxonomy.digest != first.taxonomy.digest:
            raise PredictionError(f"different vocabularies: {first.taxonomy.digest} and {table.taxonomy.digest}")
        aligned.append(table.aligned_to(first.uids))
        if not np.array_equal(aligned[-1].targets, first.targets):
            raise PredictionError("the tables disagree about the true actions; they come from different annotations")
    outcomes = [field_outcomes(table) for table in aligned]
    return {
        field: time_to_action(np.stack([outcome[field].hits(k) for outcome in outcomes], axis=1), times_s)
        for field in FIELDS
    }


def _is_same_but_for_tau_a(one: dict[str, float | str], other: dict[str, float | str]) -> bool:
    """Return whether two windows have the same length, or the same first instant, and all else alike."""
    times = ("tau_a_s", "tau_o_s")
    if any(one.get(name) != other.get(name) for name in {*one, *other} if name not in times):
        return False
    if one.get("tau_o_s") == other.get("tau_o_s"):
        return True
    starts_s = [sum(float(each[name]) for name in times) for each in (one, other)]
    return abs(starts_s[0] - starts_s[1]) < TIME_TOLERANCE_S


def _tau_a_s(table: Predictions) -> float:
    if "tau_a_s" not in table.protocol:
        raise PredictionError(f"{table.protocol}: no anticipation time, so no place on a horizon curve")
    return float(table.protocol["tau_a_s"])
