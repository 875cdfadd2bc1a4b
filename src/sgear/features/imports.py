"""Features that others made -> a feature store: arrays in .mat, .npz and .npy files, and LMDBs.

Row i of an array was seen at first_s + i / fps. A .mat file may hold its rows as columns; the labels beside it, or
the other files, tell which way round it is. Pickles are never executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from sgear.errors import FeatureError
from sgear.features.lmdb import LmdbFeatures
from sgear.features.lmdb_layout import LmdbLayout
from sgear.features.store import FeatureStore
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter
from sgear.files import require_regular_file
from sgear.video.find import VIDEO_ENDINGS

ARRAY_SUFFIXES = (".mat", ".npz", ".npy")
ORIENTATIONS = ("auto", "rows", "columns")
_FEATURE_KEYS = ("features", "A")
_LABEL_KEYS = ("labels", "Y")
_CHUNK_ROWS = 4096
# A header may claim more rows than there is memory for.
_DAMAGE = (*(MatReadError, ValueError, TypeError, KeyError, OSError, EOFError, BadZipFile, IndexError, MemoryError),)


@dataclass(frozen=True, kw_only=True)
class ArrayFormat:
    """How the arrays of a release are to be read.

    Args:
        fps: Rows per second, > 0.
        first_s: Time of the first row in seconds, >= 0.
        key: Name of the array in .mat and .npz files; empty takes `features` or `A`.
        orientation: `rows` [N F], `columns` [F N], or `auto`: by the labels in the file, else by the width that all
            files share.

    Raises:
        ValueError: If a value is out of range.
    """

    fps: float
    first_s: float = 0.0
    key: str = ""
    orientation: str = "auto"

    def __post_init__(self) -> None:
        if not self.fps > 0 or not self.first_s >= 0:
            raise ValueError(f"fps must be positive and first_s not negative, got {self.fps} and {self.first_s}")
        if self.orientation not in ORIENTATIONS:
            raise ValueError(f"orientation must be one of {', '.join(ORIENTATIONS)}, got {self.orientation!r}")


def find_arrays(folder: Path) -> dict[str, Path]:
    """Return the array file of each video in a folder; the file name without its ending is the video id.

    An ending of a video before that goes, too: the files of a release may be called `rgb-01-1.avi.mat`.

    Raises:
        FeatureError: If there is none, or two of one name.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ARRAY_SUFFIXES)
    if not paths:
        raise FeatureError(f"{folder}: holds no {', '.join(ARRAY_SUFFIXES)} files; check the path")
    found: dict[str, Path] = {}
    for path in paths:
        name = Path(path.stem)
        video_id = name.stem if name.suffix.lower() in VIDEO_ENDINGS else name.name
        if video_id in found:
            raise FeatureError(f"{path} and {found[video_id]} are both of video {video_id!r}; import one folder alone")
        found[video_id] = path
    return found


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Return the arrays of a .mat, .npz or .npy file; the single one of a .npy file is called `features`.

    Raises:
        FeatureError: If the file is missing or damaged, or holds pickled objects.
    """
    require_regular_file(path, FeatureError)
    try:
        if path.suffix.lower() == ".mat":
            with path.open("rb") as stream:
                return {name: value for name, value in loadmat(stream).items() if not name.startswith("__")}
        # numpy leaves a file that it opened itself open where it is no archive.
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            return {"features": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except NotImplementedError as err:
        raise FeatureError(f"{path}: a .mat file of version 7.3 cannot be read; save it with -v7 or as .npz") from err
    except _DAMAGE as err:
        raise FeatureError(
            f"{path}: cannot be read as {path.suffix} without executing anything in it ({err}); it is damaged, or a "
            "pickle: save plain arrays"
        ) from err


def import_arrays(
    paths: Mapping[str, Path],
    root: Path,
    form: ArrayFormat,
    *,
    name: str,
    dtype: str = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Copy array files into a feature store; an interrupted import goes on where it stopped.

    Args:
        paths: Array file of each video id.
        root: Folder of the store.
        form: How the arrays are to be read.
        name: What the features are, for the provenance, e.g. `TCN Spatial-CNN split 1`.
        dtype: `float32` or `float16`.
        progress: Called with the number of finished videos and of all.

    Raises:
        FeatureError: If a file is damaged, widths differ, or it is unclear which way round the arrays are.
    """
    is_columns, width = _orient(paths, form)
    preprocessing = f"imported arrays, first row at {form.first_s:g} s"
    provenance = Provenance(encoder=name, weights="", preprocessing=preprocessing, fps=form.fps)
    writer = FeatureStoreWriter(root, provenance, width=width, dtype=dtype)
    for num_done, (video_id, path) in enumerate(paths.items(), start=1):
        if (lock := writer.take(video_id)) is not None:
            with lock:
                features, _ = _read_features(path, form)
                features = features.T if is_columns else features
                if features.shape[1] != width:
                    raise FeatureError(
                        f"{path}: its rows are {features.shape[1]} wide, those of the first file {width}"
                    )
                writer.write(video_id, form.first_s + np.arange(len(features)) / form.fps, features)
        if progress is not None:
            progress(num_done, len(paths))
    return writer.finish()


def import_lmdb(
    source: LmdbFeatures,
    root: Path,
    *,
    name: str,
    dtype: str = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Copy an LMDB into a feature store; an interrupted import goes on where it stopped.

    The store answers the same instants as the LMDB did: what the layout calls a hole is one in the store.

    Args:
        source: The LMDB.
        root: Folder of the store.
        name: What the features are, for the provenance, e.g. `RULSTM rgb`.
        dtype: `float32` or `float16`.
        progress: Called with the number of finished videos and of all.

    Raises:
        FeatureError: If a value is of another width or type, or not finite.
    """
    layout = source.layout
    values = "" if layout.dtype == LmdbLayout().dtype else f", values {layout.dtype}"
    preprocessing = f"imported LMDB, keys {layout.key} at {layout.fps:g} frames a second{values}"
    provenance = Provenance(encoder=name, weights="", preprocessing=preprocessing, fps=0.0)
    writer = FeatureStoreWriter(root, provenance, width=source.width, dtype=dtype, max_gap_s=layout.reach_s)
    video_ids = source.video_ids
    for num_done, video_id in enumerate(video_ids, start=1):
        if (lock := writer.take(video_id)) is not None:
            with lock:
                video = source[video_id]
                numbers = video.numbers()
                chunks = [numbers[begin : begin + _CHUNK_ROWS] for begin in range(0, len(numbers), _CHUNK_ROWS)]
                features = np.concatenate([video.rows(chunk) for chunk in chunks])
                writer.write(video_id, np.array(numbers) / layout.fps, features)
        if progress is not None:
            progress(num_done, len(video_ids))
    return writer.finish()


def _read_features(path: Path, form: ArrayFormat) -> tuple[NDArray, int | None]:
    """Return the array of a file as it lies there, and the number of labels beside it."""
    arrays = read_arrays(path)
    names = [form.key] if form.key else [name for name in _FEATURE_KEYS if name in arrays]
    if not names or names[0] not in arrays:
        wanted = repr(form.key) if form.key else " or ".join(map(repr, _FEATURE_KEYS))
        raise FeatureError(f"{path}: has no array {wanted}, but {sorted(arrays)}; name the one to import with --array")
    features = arrays[names[0]]
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise FeatureError(
            f"{path}: array {names[0]!r} is {features.dtype} of shape {features.shape}, expected numbers [N F]"
        )
    labels = [arrays[name].size for name in _LABEL_KEYS if name in arrays]
    return features.astype(np.float32, copy=False), labels[0] if labels else None


def _orient(paths: Mapping[str, Path], form: ArrayFormat) -> tuple[bool, int]:
    """Return whether the files hold [F N], and their common width F.

    All files of a release lie the same way round, so the first hint decides: the number of labels in a file, or the
    side of which all files have the same.
    """
    shapes: list[tuple[int, ...]] = []
    for path in paths.values():
        features, num_labels = _read_features(path, form)
        shapes.append(features.shape)
        if form.orientation != "auto":
            is_columns = form.orientation == "columns"
            return is_columns, shapes[0][0 if is_columns else 1]
        if num_labels is not None and features.shape[0] != features.shape[1]:
            if num_labels not in features.shape:
                raise FeatureError(f"{path}: {num_labels} labels go with neither side of features {features.shape}")
            is_columns = num_labels == features.shape[1]
            return is_columns, features.shape[0 if is_columns else 1]
        is_columns, is_rows = (len({shape[side] for shape in shapes}) == 1 for side in (0, 1))
        if is_columns != is_rows:
            return is_columns, shapes[0][0 if is_columns else 1]
    raise FeatureError(
        f"{next(iter(paths.values()))}: it is unclear whether features {shapes[0]} are rows [N F] or columns [F N]; "
        "say --orientation rows or columns"
    )
