"""Write predictions as a submission file of the EPIC-KITCHENS anticipation challenges.

The servers sort scores with `argsort()[::-1]`, which gives equal scores to the class with the higher id. So no two
written scores of a segment are equal: they are multiples of 1e-8, each at least 1e-8 above the next lower one. The
order of the predictions is kept exactly, a written probability is off by at most 1e-8 times the number of classes,
and scores that were equal before are put apart by training frequency or by lot (`best_first`).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.files import replacing
from sgear.predictions.fusion import best_first, push_apart
from sgear.predictions.provenance import skipped_of, skipped_text
from sgear.predictions.table import UNSTATED, Predictions
from sgear.taxonomy import FIELDS, Field
from sgear.timing import AnticipationProtocol, protocol_from_dict

NUM_ACTIONS = 100
"""Scored actions per segment, exactly."""
SLS_NAMES = ("sls_pt", "sls_tl", "sls_td")
"""Supervision levels, 0 to 5 each: pre-training, training labels, training data."""
MAX_SLS = 5


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """One challenge.

    Args:
        name: Name of the data set, as `sgear.datasets` calls it.
        version: Value of the file's `version`.
        splits: Test splits; each is one file `SPLIT.json` in a flat zip.
        num_verbs: Verb classes, all of which get a score.
        num_nouns: Noun classes, all of which get a score.
        has_sls: Whether the file states supervision levels.
        min_tau_a_s: Nothing later than this many seconds before the action may have been seen.
    """

    name: str
    version: str
    splits: tuple[str, ...]
    num_verbs: int
    num_nouns: int
    has_sls: bool
    min_tau_a_s: float = 1.0
    task: str = "action_anticipation"

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the files in the zip."""
        return tuple(f"{split}.json" for split in self.splits)


EPIC100 = Challenge(name="epic100", version="0.2", splits=("test",), num_verbs=97, num_nouns=300, has_sls=True)
"""EPIC-KITCHENS-100. Source: evaluate_anticipation_json_ek100.py of epic-kitchens/C3-Action-Anticipation."""

EPIC55 = Challenge(name="epic55", version="0.1", splits=("seen", "unseen"), num_verbs=125, num_nouns=352, has_sls=False)
"""EPIC-KITCHENS-55. Source: the challenge's submission page, and RULSTM main.py of fpv-iplab/rulstm (mode test)."""

CHALLENGES = {challenge.name: challenge for challenge in (EPIC100, EPIC55)}


DECIMALS = 8
_ROWS_AT_ONCE = 256
TrainCounts = Mapping[Field, NDArray[np.int64]]


def write_submission(
    tables: Mapping[str, Predictions],
    out: Path,
    challenge: Challenge,
    *,
    sls: Sequence[int] | None = None,
    train_counts: TrainCounts | None = None,
    seed: int = 0,
) -> None:
    """Write a submission to a challenge, whole or not at all.

    Args:
        tables: Scores of all segments of each split of the challenge, by its name; for a `.json`, of any one split.
        out: A `.zip` to upload, a `.json` for the official evaluation script and other programs, or, for a challenge
            of several splits, a folder that receives one `.json` for each.
        challenge: `EPIC100` or `EPIC55`.
        sls: Supervision levels of pre-training, training labels and training data, 0 to 5 each, where it asks for them.
        train_counts: Training segments of each class per field; of equal scores the frequent class comes first.
        seed: Seed of the lot that decides between what is still equal.

    Raises:
        ValueError: If a supervision level is not an integer in 0..5.
        PredictionError: If a split is missing, the vocabulary or the protocol is not the challenge's, all scores of a
            segment are equal, or `out` has another ending.
        WriteError: If a file cannot be written.
    """
    if challenge.has_sls and (
        sls is None or len(sls) != len(SLS_NAMES) or any(type(v) is not int or not 0 <= v <= MAX_SLS for v in sls)
    ):
        raise ValueError(f"supervision levels {', '.join(SLS_NAMES)} must be three integers in 0..{MAX_SLS}, got {sls}")
    is_one_json = out.suffix == ".json" and len(tables) == 1
    if not is_one_json and set(tables) != set(challenge.splits):
        raise PredictionError(f"expected predictions of the splits {', '.join(challenge.splits)}; got {sorted(tables)}")
    for split, table in tables.items():
        _check_table(table, split, challenge)
    levels = dict(zip(SLS_NAMES, sls or (), strict=True)) if challenge.has_sls else {}
    head = {"version": challenge.version, "challenge": challenge.task, **levels}
    texts = {split: _lines(table, head, train_counts or {}, seed) for split, table in tables.items()}
    if out.suffix == ".zip":
        with replacing(out) as partial, zipfile.ZipFile(partial, "w") as archive:
            for split, lines in texts.items():
                # The date is fixed, so that equal predictions give equal files.
                info = zipfile.ZipInfo(f"{split}.json", date_time=(1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as file:
                    file.writelines(lines)
        return
    if not is_one_json and (out.suffix or len(tables) == 1):
        endings = ".zip or .json" if len(tables) == 1 else ".zip, or no ending for a folder"
        raise PredictionError(f"{out}: a submission is written to a name with the ending {endings}")
    with ExitStack() as stack:
        for split, lines in texts.items():
            partial = stack.enter_context(replacing(out if is_one_json else out / f"{split}.json"))
            with partial.open("wb") as file:
                file.writelines(lines)


def _check_table(table: Predictions, split: str, challenge: Challenge) -> None:
    if not len(table):
        raise PredictionError(f"{split}: there are no predictions to submit")
    if problem := skipped_text(skipped_of(table.provenance)):
        raise PredictionError(
            f"{split}: {problem}; a submission needs a model that was trained and evaluated on every segment: fix or "
            "fetch the files that the list in the run's report.json names, then train and evaluate again with "
            "source.on_error=stop"
        )
    taxonomy = table.taxonomy
    size = (len(taxonomy.verbs), len(taxonomy.nouns))
    if size != (challenge.num_verbs, challenge.num_nouns) or taxonomy.num_actions < NUM_ACTIONS:
        raise PredictionError(
            f"{split}: the {challenge.name} challenge has {challenge.num_verbs} verbs, {challenge.num_nouns} nouns and "
            f"at least {NUM_ACTIONS} actions; these predictions have {size[0]}, {size[1]} and {taxonomy.num_actions}"
        )
    protocol = None if table.protocol == UNSTATED else protocol_from_dict(table.protocol)
    if not isinstance(protocol, AnticipationProtocol) or protocol.tau_a_s < challenge.min_tau_a_s - 1e-9:
        stated = table.protocol if protocol else "a protocol that their file does not state (docs/submissions.md)"
        raise PredictionError(
            f"{split}: the challenge forbids any frame later than {challenge.min_tau_a_s:g} s before the action "
            f"starts; these predictions were made under {stated}"
        )


def _lines(table: Predictions, head: Mapping[str, str | int], counts: TrainCounts, seed: int) -> Iterator[bytes]:
    """Yield the text of a file, a line for each segment."""
    yield (json.dumps(head, separators=(",", ":"))[:-1] + ',"results":{').encode()
    glue = "\n"
    for start in range(0, len(table), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(table)))
        for entry in _entries(table.take(rows), counts, seed):
            yield (glue + entry).encode()
            glue = ",\n"
    yield b"}}\n"


def _entries(table: Predictions, train_counts: TrainCounts, seed: int) -> Iterator[str]:
    """Yield the text `"uid":{...}` of each segment."""
    taxonomy = table.taxonomy
    order: dict[str, NDArray[np.int64]] = {}
    digits: dict[str, NDArray[np.int64]] = {}
    for name in FIELDS:
        probs = table.field_probs(name)
        # Ranked by logits where there are some: probabilities of a confident model underflow to equal zeros.
        logits = table.own_scores(name)
        scores: NDArray[np.floating] = probs if logits is None else logits
        _refuse_constant(scores, name, table.uids)
        num_best = NUM_ACTIONS if name == "action" else scores.shape[1]
        order[name] = best_first(scores, table.uids, num_best=num_best, counts=train_counts.get(name), seed=seed)
        digits[name] = _digits(np.take_along_axis(probs, order[name], axis=1))
    pairs = np.array([f"{verb},{noun}" for verb, noun in taxonomy.action_pairs], dtype=object)
    templates = {
        name: ",".join(f'"{class_id}":0.%0{DECIMALS}d' for class_id in range(len(taxonomy.names(name))))
        for name in ("verb", "noun")
    }
    for row, uid in enumerate(table.uids):
        texts = []
        for name in ("verb", "noun"):
            by_id = np.empty_like(digits[name][row])
            by_id[order[name][row]] = digits[name][row]
            texts.append(f'"{name}":{{{templates[name] % tuple(by_id.tolist())}}}')
        actions = zip(pairs[order["action"][row]], digits["action"][row].tolist(), strict=True)
        texts.append('"action":{' + ",".join([f'"{pair}":0.{value:0{DECIMALS}d}' for pair, value in actions]) + "}")
        yield f'"{_plain(uid)}":{{{",".join(texts)}}}'


def _refuse_constant(scores: NDArray[np.floating], name: str, uids: Sequence[str]) -> None:
    rows = np.flatnonzero(scores.max(axis=1) == scores.min(axis=1)) if scores.shape[1] > 1 else []
    if len(rows):
        raise PredictionError(
            f"{len(rows)} segments have the same score for every {name}, first {uids[rows[0]]!r}; the server would "
            "rank them by class id. Predict the class prior where there is nothing to see."
        )


def _digits(probs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Turn probabilities, best first, into decimals that strictly fall along each row and are never 0 or 1."""
    num_classes = probs.shape[1]
    ranks = np.broadcast_to(np.arange(num_classes), probs.shape)
    # The upper limit leaves a free place above for each better class.
    limits = 10**DECIMALS - num_classes + ranks
    ascending = np.rint(probs[:, ::-1] * 10**DECIMALS).astype(np.int64)
    return push_apart(np.clip(ascending, 1, limits), ranks)[:, ::-1]


def _plain(uid: str) -> str:
    """Return a uid as it stands in JSON; those of the challenges need no escapes."""
    if not uid or not all(char.isascii() and (char.isalnum() or char in "_-.") for char in uid):
        raise PredictionError(f"uid {uid!r} is not a narration id; expected letters, digits, '_', '-' and '.'")
    return uid
