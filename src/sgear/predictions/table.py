"""`Predictions`: the scores of one model on one split, keyed by uid, with the protocol and where they came from.

Fusion, reports and comparisons start from this file alone. It is a safetensors file: scores and targets as tensors,
everything else as JSON in its header, so nothing in it can execute.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sgear.errors import PredictionError
from sgear.taxonomy import Taxonomy
from sgear.timing import protocol_from_dict

FORMAT = "sgear-predictions-1"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Scores of every evaluated segment, each uid exactly once.

    Args:
        uids: One uid per sample, unique.
        logits: Action scores before softmax [M A], float32.
        targets: True action of each sample [M].
        taxonomy: Vocabulary of the scores.
        protocol: The protocol's `to_dict()`.
        provenance: Model name, run, commit, seed and the like; JSON values.

    Raises:
        PredictionError: If shapes disagree, a uid repeats, or a score is not finite.
    """

    uids: tuple[str, ...]
    logits: NDArray[np.float32]
    targets: NDArray[np.int64]
    taxonomy: Taxonomy
    protocol: dict[str, float | str]
    provenance: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.uids), self.taxonomy.num_actions)
        if self.logits.shape != shape or self.targets.shape != shape[:1]:
            raise PredictionError(
                f"expected logits {shape} for {shape[0]} uids and {shape[1]} actions, and as many targets; "
                f"got logits {self.logits.shape} and targets {self.targets.shape}"
            )
        if len(set(self.uids)) != len(self.uids):
            twice = next(uid for uid in self.uids if self.uids.count(uid) > 1)
            raise PredictionError(f"uid {twice!r} occurs more than once; each segment is predicted exactly once")
        bad = np.flatnonzero(~np.isfinite(self.logits).all(axis=1))
        if len(bad):
            raise PredictionError(f"{len(bad)} samples have a score that is not finite, first {self.uids[bad[0]]!r}")
        protocol_from_dict(self.protocol)

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def probs(self) -> NDArray[np.float64]:
        """Softmax of the logits, [M A]."""
        shifted = self.logits.astype(np.float64) - self.logits.max(axis=1, keepdims=True)
        exponent = np.exp(shifted)
        return exponent / exponent.sum(axis=1, keepdims=True)

    def aligned_to(self, uids: tuple[str, ...]) -> Predictions:
        """Return the same predictions in another order of the same uids.

        Raises:
            PredictionError: If the sets of uids differ; counts what is missing on either side.
        """
        if uids == self.uids:
            return self
        row_of = {uid: row for row, uid in enumerate(self.uids)}
        missing = [uid for uid in uids if uid not in row_of]
        extra = set(self.uids) - set(uids)
        if missing or extra:
            example = missing[0] if missing else sorted(extra)[0]
            raise PredictionError(
                f"the two tables are not about the same segments: {len(missing)} uids missing, {len(extra)} extra, "
                f"for example {example!r}. Evaluate both models on the same split."
            )
        rows = np.array([row_of[uid] for uid in uids])
        return Predictions(
            uids=uids,
            logits=self.logits[rows],
            targets=self.targets[rows],
            taxonomy=self.taxonomy,
            protocol=self.protocol,
            provenance=self.provenance,
        )

    def check_comparable(self, other: Predictions) -> None:
        """Raise if numbers of the two tables must not stand side by side.

        Raises:
            PredictionError: If protocol or vocabulary differ; gives both sides.
        """
        if self.protocol != other.protocol:
            raise PredictionError(f"different protocols: {self.protocol} and {other.protocol}")
        if self.taxonomy.digest != other.taxonomy.digest:
            raise PredictionError(
                f"different vocabularies: {self.taxonomy.num_actions} actions ({self.taxonomy.digest}) and "
                f"{other.taxonomy.num_actions} actions ({other.taxonomy.digest})"
            )

    def save(self, path: Path) -> None:
        """Write the table to a safetensors file, whole or not at all."""
        header = {
            "format": FORMAT,
            "uids": json.dumps(self.uids),
            "taxonomy": json.dumps(self.taxonomy.to_dict()),
            "protocol": json.dumps(self.protocol),
            "provenance": json.dumps(self.provenance),
        }
        tensors = {
            "logits": np.ascontiguousarray(self.logits, dtype=np.float32),
            "targets": np.ascontiguousarray(self.targets, dtype=np.int64),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        save_file(tensors, part, metadata=header)
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read a table written by `save`.

        Raises:
            PredictionError: If the file is missing, damaged, or not a table of predictions.
        """
        if not path.is_file():
            raise PredictionError(f"{path}: no such predictions file; write one with 'sgear evaluate RUN'")
        try:
            with safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise PredictionError(f"{path}: not a table of predictions (format {header.get('format')!r})")
                logits, targets = file.get_tensor("logits"), file.get_tensor("targets")
            return cls(
                uids=tuple(json.loads(header["uids"])),
                logits=logits,
                targets=targets,
                taxonomy=Taxonomy.from_dict(json.loads(header["taxonomy"])),
                protocol=json.loads(header["protocol"]),
                provenance=json.loads(header["provenance"]),
            )
        except (SafetensorError, KeyError, ValueError) as err:
            raise PredictionError(f"{path}: damaged predictions file ({err}); evaluate the run again") from err
