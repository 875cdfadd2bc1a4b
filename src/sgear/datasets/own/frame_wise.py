"""Frame-wise labels -> rows: one label per frame and one file per video, as temporal segmentation writes them.

`.txt` has one label a line; `.npz` and `.mat` an array, of names or of numbers that `mapping.txt` names. A run of equal
labels is an action; the labels of no action (`NO_ACTION`, or those that are given) are gaps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.datasets.csv_table import read_lines
from sgear.datasets.own.rows import OwnRow, OwnTable, ProblemList, named
from sgear.errors import AnnotationError, ConfigError
from sgear.files import plain

ENDINGS = (".txt", ".npz", ".mat")
NO_ACTION = ("SIL", "background", "BG", "action_start", "action_end")
"""Labels of no action in Breakfast, GTEA and 50 Salads."""
_KEYS = ("labels", "label", "gt", "groundTruth", "Y", "y")
_REMEDY = "Write one label per frame, or give --key."


@dataclass(frozen=True, kw_only=True)
class FrameLabels:
    """How frame-wise labels are read.

    Args:
        fps: Frames per second: frame i shows [i / fps, (i + 1) / fps).
        no_action: Names that are no action.
        participant: Regular expression; what it finds in the name of a video is its participant. Default: none.
        mapping: File of lines `number name`; needed where labels are numbers.
        key: Name of the array in `.npz` and `.mat`. Default: the usual one, or the only one.
    """

    fps: float = 0.0
    no_action: tuple[str, ...] = NO_ACTION
    participant: str = ""
    mapping: Path | None = None
    key: str = ""


def is_frame_wise(path: Path, settings: FrameLabels) -> bool:
    """Whether a path holds one label per frame: a folder, an array, or a text whose rate is given; else it is a csv."""
    ending = path.suffix.lower()
    return path.is_dir() or ending in (".npz", ".mat") or (ending == ".txt" and settings.fps != 0)


def read_frame_wise(path: Path, problems: ProblemList, settings: FrameLabels) -> OwnTable:
    """Read the labels of a file, or of all files of a folder, each named after its video.

    A note says what is taken as no action. The line of a row is that of its first frame.

    Raises:
        AnnotationError: If there is no file, or one is damaged, empty or speaks of a number without a name.
        ConfigError: If the rate or the expression is wrong.
    """
    fps, no_action = settings.fps, settings.no_action
    if not 0 < fps < float("inf"):
        raise ConfigError(f"{path}: labels of frames need their rate: give --fps, above 0, got {fps:g}")
    try:
        person = re.compile(settings.participant) if settings.participant else None
    except re.error as err:
        raise ConfigError(f"--participant {settings.participant!r} is no regular expression: {err}") from err
    files = sorted(each for each in path.iterdir() if each.suffix.lower() in ENDINGS) if path.is_dir() else [path]
    if not files:
        raise AnnotationError(f"{path}: no file of labels there; expected names ending in {', '.join(ENDINGS)}.")
    names = _read_mapping(settings.mapping) if settings.mapping else None
    rows: list[OwnRow] = []
    left_out: set[str] = set()
    for file in files:
        labels = _read_labels(file, names, settings.key)
        who = _participant(file, person)
        changes = np.flatnonzero(labels[1:] != labels[:-1]) + 1
        for begin, end in zip([0, *changes], [*changes, len(labels)], strict=True):
            label = plain(str(labels[begin])).strip()
            if label in no_action:
                left_out.add(label)
            else:
                rows.append(
                    OwnRow(int(begin) + 1, file.stem, int(begin) / fps, int(end) / fps, (label,), who, None, "")
                )
    if left_out:
        problems.note(f"{named(sorted(left_out))} taken as no action", "Give --no-action to say what is none")
    if not rows:
        raise AnnotationError(f"{path}: no frame shows an action; check --no-action ({', '.join(no_action)}).")
    return OwnTable(tuple(rows), ("label",), person is not None, False)


def _participant(file: Path, person: re.Pattern[str] | None) -> str | None:
    if person is None:
        return None
    found = person.search(file.stem)
    if found is None or not found.group():
        raise AnnotationError(f"{file}: --participant {person.pattern!r} finds nobody in the name of this video.")
    return found.group()


def _read_mapping(path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, line in read_lines(path, remedy="Check --mapping."):
        written, _, name = line.partition(" ")
        if not re.fullmatch(r"[0-9]{1,6}", written) or not name.strip() or int(written) in names:
            raise AnnotationError(f"{path}, line {number}: {line!r}, expected a new number and a name. Correct it.")
        names[int(written)] = name.strip()
    return names


def _read_labels(file: Path, names: dict[int, str] | None, key: str) -> NDArray:
    """Return the name of each frame [T]."""
    if file.suffix.lower() == ".txt":
        labels = np.array([line for _, line in read_lines(file, remedy=_REMEDY)])
    else:
        labels = _read_array(file, key)
    if names is None:
        if labels.dtype.kind != "U":
            raise AnnotationError(f"{file}: labels are numbers; give --mapping, a file of lines 'number name'.")
        return labels
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        # Names already: the mapping says which there are.
        unknown = sorted({*labels.tolist()} - {*names.values()})
        numbers = None
    else:
        unknown = sorted({f"{number:g}" for number in numbers.tolist() if number not in names})
    if unknown:
        raise AnnotationError(f"{file}: --mapping does not know {named(unknown)}. Correct one of the two files.")
    return labels if numbers is None else np.array([names[int(number)] for number in numbers])


def _read_array(file: Path, key: str) -> NDArray:
    """Return the array of labels of a `.npz` or `.mat` file, flat; objects are never unpickled."""
    try:
        if file.suffix.lower() == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in _chosen(file, archive.files, key)}
        else:
            # Here: it takes a third of a second, and few need it.
            from scipy.io import loadmat  # noqa: PLC0415

            content = loadmat(file, chars_as_strings=True)
            there = [name for name in content if not name.startswith("__")]
            arrays = {name: content[name] for name in _chosen(file, there, key)}
    except AnnotationError:
        raise
    except NotImplementedError as err:
        raise AnnotationError(f"{file}: a MATLAB file of version 7.3; save it with '-v7'.") from err
    except Exception as err:  # damaged archives raise whatever the libraries meet first
        raise AnnotationError(f"{file}: cannot be read ({type(err).__name__}: {err}). Get the file again.") from err
    ((name, array),) = arrays.items()
    array = np.squeeze(array)
    if array.dtype.kind == "O":  # cells of MATLAB: one string each
        array = np.array([str(np.squeeze(each)) for each in array.reshape(-1)])
    if array.ndim > 1 or array.size == 0 or array.dtype.kind not in "Uiuf":
        raise AnnotationError(f"{file}: {name!r} is {array.dtype} {list(array.shape)}, expected a label per frame.")
    array = array.reshape(-1)
    return np.char.strip(array) if array.dtype.kind == "U" else array


def _chosen(file: Path, there: Sequence[str], key: str) -> list[str]:
    """Return the one name of the array of labels."""
    usual = [name for name in ((key,) if key else _KEYS) if name in there] or ([] if key else list(there))
    if len(usual) != 1 and not (usual and usual[0] in _KEYS):
        wanted = f"no array {key!r}" if key else "which array holds the labels is not clear"
        raise AnnotationError(f"{file}: {wanted}; it has {named(list(there))}. Give --key.")
    return usual[:1]
