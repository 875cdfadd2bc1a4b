"""Which clips of a data set could not be read, each once, whoever of the loaders and processes met it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accelerate.utils import gather_object

from sgear.data.batch import Batch
from sgear.errors import RunError


class SkippedClips:
    """The list, filled batch by batch.

    Args:
        uids: Segment of each row of the data set.
        known: What was on the list before, e.g. when an earlier process of this run was stopped.
    """

    def __init__(self, uids: Sequence[str], known: Mapping[str, str] | None = None) -> None:
        self._uids = uids
        self._reasons = dict(known or {})

    def add(self, batch: Batch) -> None:
        """Take up the unreadable clips of a batch; of a clip that is met again the first reason stays."""
        if not any(batch["unreadable"]):
            return
        for row, reason in zip(batch["row"].tolist(), batch["unreadable"], strict=True):
            if reason:
                self.add_one(int(row), reason)

    def add_one(self, row: int, reason: str) -> None:
        """Take up one clip that cannot be read."""
        self._reasons.setdefault(self._uids[row], reason)

    def gathered(self) -> dict[str, str]:
        """Return the reasons by uid, in the order of the uids; to be called in all processes at once."""
        for reasons in gather_object([self._reasons]):
            self._reasons = {**reasons, **self._reasons}
        return {uid: self._reasons[uid] for uid in self._uids if uid in self._reasons}

    def require_some_read(self, *, what: str) -> None:
        """Hold that not everything is on the list; call `gathered` before.

        Raises:
            RunError: If there are clips and all of them are; gives the first reason.
        """
        if self._uids and len(self._reasons) == len(self._uids):
            uid = self._uids[0]
            raise RunError(
                f"none of the {len(self._uids)} {what} can be read, first {uid!r}: {self._reasons[uid]}. "
                "source.on_error=skip goes on without some of them, but nothing is left here: check the data root"
            )
