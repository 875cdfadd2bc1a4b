"""Read a submission file back into a table of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.predictions.challenge import EPIC100, NUM_ACTIONS, Challenge
from sgear.predictions.ordering import float32_in_order, log_probabilities
from sgear.predictions.submission_check import UNKNOWN_PAIR, inspect
from sgear.predictions.submission_json import MAX_BYTES
from sgear.predictions.table import Predictions
from sgear.segments import UNKNOWN_ACTION
from sgear.taxonomy import Taxonomy

_MAX_LOGIT = 1e30
_NUM_SHOWN = 5


def read_submission(
    path: Path,
    *,
    uids: Sequence[str],
    taxonomy: Taxonomy,
    protocol: dict[str, float | str],
    targets: NDArray[np.int64] | None = None,
    challenge: Challenge = EPIC100,
    member: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Predictions:
    """Read a submission file as predictions.

    Scores of a field without a negative one are taken as probabilities and become their logarithms; a field with
    negative scores is taken as it is. Verbs and nouns get logits of their own. Actions without a score share what the
    scored ones leave of the probability, but rank below all of them and are equal among themselves, so numbers with
    k <= 100 are those of the file.

    Args:
        path: The zip, or its bare JSON.
        uids: All segments of the split.
        taxonomy: Vocabulary of the data set.
        protocol: The protocol under which the scores were made, as `to_dict()`; the file does not say it.
        targets: True action of each uid [M]. Default: not known.
        challenge: The challenge it was written for.
        member: File inside the zip. Default: the challenge's first.
        max_bytes: Limit of the size of the JSON.

    Returns:
        The table, in the order of `uids`.

    Raises:
        ValueError: If the uids repeat or the vocabulary is not the challenge's.
        PredictionError: If anything is wrong with the file; says what, and how many more problems there are.
    """
    problems, scores = inspect(
        path, uids=uids, taxonomy=taxonomy, challenge=challenge, member=member, max_bytes=max_bytes
    )
    reasons = [problem for problem in problems if problem.level == "error" or problem.text.startswith(UNKNOWN_PAIR)]
    if scores is None or reasons:
        shown = "; ".join(str(problem) for problem in reasons[:_NUM_SHOWN])
        more = f"; and {len(reasons) - _NUM_SHOWN} more" if len(reasons) > _NUM_SHOWN else ""
        raise PredictionError(f"{path}: not a valid submission: {shown}{more}")
    if scores.action is None or scores.action_ids is None:
        raise PredictionError(f"{path}: the file has no action scores, so there are no actions to evaluate")
    return Predictions(
        uids=tuple(uids),
        logits=_action_logits(path, scores.action, scores.action_ids, taxonomy.num_actions),
        targets=np.full(len(uids), UNKNOWN_ACTION) if targets is None else targets,
        taxonomy=taxonomy,
        protocol=protocol,
        provenance={"submission": path.name, "challenge": challenge.name},
        verb_logits=float32_in_order(logits_of(path, scores.verb)),
        noun_logits=float32_in_order(logits_of(path, scores.noun)),
    )


def logits_of(where: Path | str, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return foreign scores as logits: without a negative one they are probabilities, else logits already.

    Raises:
        PredictionError: If a score is too large to be either; says `where`.
    """
    if np.abs(scores).max(initial=0.0) > _MAX_LOGIT:
        raise PredictionError(f"{where}: scores beyond {_MAX_LOGIT:g} are neither probabilities nor logits")
    return log_probabilities(scores) if (scores >= 0).all() else scores


def _action_logits(
    path: Path, scores: NDArray[np.float64], action_ids: NDArray[np.int64], num_actions: int
) -> NDArray[np.float32]:
    given = logits_of(path, scores)
    lowest = given.min(axis=1)
    num_others = num_actions - NUM_ACTIONS
    share = np.maximum(1.0 - scores.sum(axis=1), 0.0) / max(num_others, 1)
    # Half of the lowest score is the most that the others may have; of a huge one, a step that float64 still sees.
    others = lowest - np.maximum(np.log(2.0), 1e-9 * np.abs(lowest))
    if (scores >= 0).all():
        others = np.minimum(others, log_probabilities(share))
    scored = float32_in_order(np.concatenate([given, others[:, None]], axis=1))
    logits = np.repeat(scored[:, -1:], num_actions, axis=1)
    np.put_along_axis(logits, action_ids, scored[:, :-1], axis=1)
    return logits
