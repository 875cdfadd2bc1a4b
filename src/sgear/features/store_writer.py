"""Fill a feature store from any number of processes and machines, again and again until it is complete.

A finished video is never done twice, a half-written one never seen: it is done again. Every writer of a store has to
agree with its description, so features of two encoders cannot mix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.store import FeatureStore, fingerprint_of
from sgear.features.store_index import (
    DTYPES,
    LENGTH_BYTES,
    VIDEO_FOLDER,
    VIDEO_FORMAT,
    Provenance,
    StoreDescription,
    check_header,
    read_header,
    video_file,
    write_index,
)
from sgear.features.table import check_finite, check_times
from sgear.files import replacing
from sgear.locks import FileLock

_VIDEO_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_PAGE_BYTES = 4096
_LOCK_FOLDER = "locks"


class FeatureStoreWriter:
    """Write videos to a store; several writers may fill one folder at the same time.

    Args:
        root: Folder of the store: new, or one that was begun in the same way.
        provenance: How the features are made.
        width: Width F of a row.
        dtype: `float32`, or `float16` for half the disk.
        max_gap_s: See `StoreDescription`; a store that was begun keeps what it says.

    Raises:
        FeatureError: If the folder holds features that were made otherwise; names what differs. If it cannot be made.
        ValueError: If width or dtype is out of range.
    """

    def __init__(
        self,
        root: Path,
        provenance: Provenance,
        *,
        width: int,
        dtype: str = "float32",
        max_gap_s: float | None = None,
    ) -> None:
        if dtype not in DTYPES or width < 1:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)} and width positive, got {dtype!r} and {width}")
        self.root = Path(root)
        described = StoreDescription(**asdict(provenance), width=width, dtype=dtype, max_gap_s=max_gap_s)
        try:
            (self.root / VIDEO_FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise FeatureError(
                f"{self.root}: cannot be made a folder for a feature store ({err.strerror}); choose another path"
            ) from err
        self.description = described.save_new(self.root)

    def is_finished(self, video_id: str) -> bool:
        """Return whether a video is there, whole; a damaged file counts as none.

        Raises:
            FeatureError: If a whole file does not belong to this store.
        """
        path = video_file(self.root, video_id)
        if not path.is_file():
            return False
        try:
            header = read_header(path)
        except FeatureError:
            return False
        check_header(header, path, self.description)
        return True

    def take(self, video_id: str) -> FileLock | None:
        """Lock a video while it is done; None if it is finished or another live worker does it.

        Raises:
            FeatureError: If the id cannot be a file name.
        """
        check_video_id(video_id)
        if self.is_finished(video_id):
            return None
        lock = FileLock.take(self.root / _LOCK_FOLDER / f"{video_id}.lock")
        # Another worker may have finished it between the two questions.
        if lock is not None and self.is_finished(video_id):
            lock.release()
            return None
        return lock

    def write(
        self, video_id: str, times_s: NDArray[np.float64], features: NDArray, *, video: str = "", video_s: float = 0.0
    ) -> None:
        """Write one video.

        Args:
            video_id: The video.
            times_s: When each row was seen, in seconds, ascending [N].
            features: Values [N F].
            video: See `VideoHeader`.
            video_s: See `VideoHeader`.

        Raises:
            FeatureError: If shapes, times or width are wrong, or a value is not finite in the store's dtype.
        """
        check_video_id(video_id)
        origin = f"features of video {video_id!r}"
        check_times(times_s, features.shape, origin)
        if features.shape[1] != self.description.width:
            raise FeatureError(
                f"{origin} are {features.shape[1]} wide, but {self.root} holds features of width "
                f"{self.description.width}; write them to another store"
            )
        check_finite(features, origin)
        with np.errstate(over="ignore"):
            stored = features.astype(self.description.dtype, copy=False)
        if stored.dtype != features.dtype and not np.isfinite(stored).all():
            raise FeatureError(f"{origin}: values up to {np.abs(features).max():.3g} do not fit {stored.dtype}")
        path = video_file(self.root, video_id)
        write_video(
            path,
            video_id,
            times_s.astype(np.float64),
            stored,
            provenance=self.description.digest,
            video=video,
            video_s=video_s,
        )

    def finish(self) -> FeatureStore:
        """Write the index of all finished videos, of this worker and of all others, and open the store.

        Raises:
            FeatureError: If no video is finished, or a file is damaged.
        """
        FileLock.tidy(self.root / _LOCK_FOLDER)
        write_index(self.root, self.description)
        return FeatureStore(self.root)


def shard_of(video_ids: Sequence[str], shard: tuple[int, int]) -> list[str]:
    """Return the videos of worker `index` of `count`, given as (index, count): every count-th of the sorted ids.

    Raises:
        ValueError: If the shard does not exist.
    """
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(f"shard must be (index, count) with 0 <= index < count, got {shard}")
    return sorted(video_ids)[index::count]


def check_video_id(video_id: str) -> None:
    """Refuse an id that cannot be a file name, such as one that would leave the folder.

    Raises:
        FeatureError: If it holds anything but letters, digits, `_`, `.` and `-`.
    """
    if not _VIDEO_ID.fullmatch(video_id):
        raise FeatureError(
            f"video id {video_id!r} cannot be a file name; use letters, digits, '_', '.' and '-', a letter first"
        )


def write_video(
    path: Path,
    video_id: str,
    times_s: NDArray[np.float64],
    features: NDArray,
    *,
    provenance: str,
    video: str = "",
    video_s: float = 0.0,
) -> None:
    """Write one checked video; the file appears whole or not at all.

    Rows begin at a page of memory: one of 1,024 float32 numbers is then one page to load, not two.

    Raises:
        WriteError: If it cannot be written.
    """
    metadata = {
        "format": VIDEO_FORMAT,
        "video_id": video_id,
        "first_s": repr(float(times_s[0])),
        "last_s": repr(float(times_s[-1])),
        "fingerprint": fingerprint_of(times_s, features),
        "provenance": provenance,
        **({"film": video} if video else {}),
        **({"film_s": repr(float(video_s))} if video_s else {}),
    }
    end = features.nbytes + times_s.nbytes
    header = {
        "__metadata__": metadata,
        "features": {
            "dtype": DTYPES[features.dtype.name],
            "shape": [*features.shape],
            "data_offsets": [0, features.nbytes],
        },
        "times_s": {"dtype": "F64", "shape": [len(times_s)], "data_offsets": [features.nbytes, end]},
    }
    text = json.dumps(header).encode()
    # The format allows a header to end in spaces.
    text += b" " * (-(len(text) + LENGTH_BYTES) % _PAGE_BYTES)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        file.write(np.ascontiguousarray(features).data)
        file.write(np.ascontiguousarray(times_s).data)
