"""Data sets by name: where their files are looked for, and which loader reads them.

Without an explicit folder, files are looked for under the folder that the environment variable SGEAR_DATA names, or
under `data`; the first candidate of a data set that holds its files is taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.egtea import load_egtea
from sgear.datasets.epic55 import load_epic55
from sgear.datasets.epic100 import load_epic100
from sgear.datasets.own import load_own
from sgear.datasets.places import DATA_VARIABLE, data_folder
from sgear.datasets.rulstm import load_rulstm
from sgear.datasets.salads50 import load_salads50
from sgear.datasets.salads50_framewise import load_salads50_avt
from sgear.datasets.salads50_raw import Granularity, load_salads50_raw
from sgear.datasets.video_info import read_video_info
from sgear.errors import AnnotationError, ConfigError

_RULSTM_SOURCE = "github.com/fpv-iplab/rulstm, folder RULSTM/data"
# Where the original README has the repository of RULSTM.
_RULSTM = "external/rulstm/RULSTM/data"
_EPIC55_SPLIT = ("training_videos.csv", "epic55/rulstm", "rulstm/ek55", f"{_RULSTM}/ek55")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the files of a data set may lie.

    Args:
        candidates: Folders under SGEAR_DATA.
        holds: Something that the right folder holds.
        inner: Folders of a given root that may hold the files in its place.
        source: Where to get the files.
        num_splits: Number of its splits.
    """

    candidates: tuple[str, ...]
    holds: str
    inner: tuple[str, ...] = ()
    source: str
    num_splits: int = 1


_PLACES = {
    "kitchen": _Place(
        candidates=("kitchen/annotations",),
        holds="EPIC_100_verb_classes.csv",
        inner=("annotations",),
        source="'sgear data kitchen FOLDER', which renders one",
    ),
    "epic100": _Place(
        candidates=("epic100/annotations", "epic-kitchens-100-annotations"),
        holds="EPIC_100_verb_classes.csv",
        inner=("annotations",),
        source="github.com/epic-kitchens/epic-kitchens-100-annotations",
    ),
    "epic55": _Place(
        candidates=("epic55/annotations", "epic-kitchens-55-annotations"),
        holds="EPIC_verb_classes.csv",
        inner=("annotations",),
        source="github.com/epic-kitchens/epic-kitchens-55-annotations",
    ),
    "egtea": _Place(
        candidates=("egtea/action_annotation", "egtea"),
        holds="action_idx.txt",
        inner=("action_annotation", "annotations"),
        source="cbs.ic.gatech.edu/fpv, action annotations of EGTEA Gaze+",
        num_splits=3,
    ),
    "salads50": _Place(
        candidates=("50salads",),
        holds="activityAnnotations",
        source="cvip.computing.dundee.ac.uk/datasets/foodpreparation/50salads, and the splits of its users",
        num_splits=5,
    ),
    "salads50-avt": _Place(
        candidates=("50salads",),
        holds="groundTruth",
        source="github.com/yabufarha/anticipating-activities: groundTruth, mapping.txt and the five splits",
        num_splits=5,
    ),
    "salads50-tcn": _Place(
        candidates=("50salads",),
        holds="spatialcnn_mid",
        source="github.com/colincsl/TemporalConvolutionalNetworks, features and labels of its splits",
        num_splits=2,
    ),
    "rulstm-ek55": _Place(
        candidates=("rulstm/ek55", f"{_RULSTM}/ek55"), holds="actions.csv", inner=("ek55",), source=_RULSTM_SOURCE
    ),
    "rulstm-ek100": _Place(
        candidates=("rulstm/ek100", f"{_RULSTM}/ek100"), holds="actions.csv", inner=("ek100",), source=_RULSTM_SOURCE
    ),
    "rulstm-egtea": _Place(
        candidates=("rulstm/egtea", f"{_RULSTM}/egtea"),
        holds="actions.csv",
        inner=("egtea",),
        source=_RULSTM_SOURCE,
        num_splits=3,
    ),
}
_OWN = "csv"
_FILMS_OF = {
    "epic55": "epic-kitchens",
    "epic100": "epic-kitchens",
    "rulstm-ek55": "epic-kitchens",
    "rulstm-ek100": "epic-kitchens",
    "egtea": "egtea",
    "rulstm-egtea": "egtea",
    "salads50": "50salads",
    "salads50-avt": "50salads",
    "salads50-tcn": "50salads",
}
_OFFICIAL = {"rulstm-ek55": ("epic55", "epic100"), "rulstm-ek100": ("epic100",)}
"""Data sets whose official annotations say how long the films last."""


def dataset_names() -> tuple[str, ...]:
    """Return the names that `load_dataset` knows."""
    return (*_PLACES, _OWN)


def load_dataset(name: str, root: Path | None = None, *, split: int = 1, granularity: str = "mid") -> Benchmark:
    """Load a data set by its name.

    Args:
        name: One of `dataset_names()`.
        root: Folder of the annotations, or the folder above them. Default: the first of these under SGEAR_DATA that
            holds the files: `kitchen/annotations`; `epic100/annotations`, `epic-kitchens-100-annotations`;
            `epic55/annotations`, `epic-kitchens-55-annotations`, with the split in `epic55/rulstm`, `rulstm/ek55`;
            `egtea/action_annotation`, `egtea`; `50salads` (all of salads50*); `rulstm/ek55`, `rulstm/ek100`,
            `rulstm/egtea`. RULSTM's files are found in `external/rulstm/RULSTM/data`, too. `csv` has no default.
        split: Number of the split, from 1: 3 of egtea and rulstm-egtea, 5 of salads50 and salads50-avt, 2 of
            salads50-tcn, one of the others.
        granularity: Level of the labels of salads50: `low`, `mid`, `eval` or `abstract`.

    Raises:
        ConfigError: If the name is unknown, or a setting is wrong for this data set.
        AnnotationError: If the files are not found, with the places that were tried, or are wrong.
    """
    _check_settings(name, split, granularity)
    if name == _OWN:
        if root is None:
            raise AnnotationError(
                "the data set csv has no usual place: name the imported folder with dataset.root=FOLDER (or --root)"
            )
        return load_own(root)
    folder = _find(name, root)
    match name:
        case "kitchen":
            return replace(load_epic100(folder), name="kitchen")
        case "epic100":
            return load_epic100(folder)
        case "epic55":
            return load_epic55(folder, _find_epic55_split(folder))
        case "egtea":
            return load_egtea(folder, split=split)
        case "salads50":
            return load_salads50_raw(folder, split=split, granularity=cast(Granularity, granularity))
        case "salads50-avt":
            return load_salads50_avt(folder, split=split)
        case "salads50-tcn":
            return load_salads50(folder, split=split).benchmark
        case _:
            return load_rulstm(folder, name=name.removeprefix("rulstm-"), split=split)


def annotation_folder(name: str, root: Path | None = None) -> Path:
    """Return the folder that holds the annotations of a data set; see `load_dataset`.

    Raises:
        ConfigError: If the name is unknown, or the data set has no usual place and none is given.
        AnnotationError: If the files are not found, with the places that were tried.
    """
    if name == _OWN and root is not None:
        return root
    if name not in _PLACES:
        raise ConfigError(f"data set {name!r} has no usual place; name its folder with dataset.root=FOLDER (or --root)")
    return _find(name, root)


def corpus_of(name: str) -> str:
    """Return the recordings that the names of videos belong to; data sets of one corpus share films."""
    return _FILMS_OF.get(name, name)


def is_published(name: str) -> bool:
    """Return whether the films of a data set are published, so that their names say which they are."""
    return name in _FILMS_OF


def stated_lengths(name: str, root: Path | None = None) -> dict[str, float]:
    """Return the length of films in seconds, as far as the annotations of a data set say it.

    RULSTM's lists do not; where the official annotations lie under SGEAR_DATA, too, they are asked.

    Raises:
        AnnotationError: If a file is damaged, or that of the data set itself is not found.
    """
    lengths_s = {video_id: info.duration_s for video_id, info in read_video_info(annotation_folder(name, root)).items()}
    for official in () if lengths_s else _OFFICIAL.get(name, ()):
        with contextlib.suppress(AnnotationError):
            folder = annotation_folder(official)
            return {video_id: info.duration_s for video_id, info in read_video_info(folder).items()}
    return lengths_s


def _check_settings(name: str, split: int, granularity: str) -> None:
    if name not in dataset_names():
        raise ConfigError(f"data set {name!r} is unknown; choose {', '.join(dataset_names())}")
    num_splits = 1 if name == _OWN else _PLACES[name].num_splits
    if not 1 <= split <= num_splits:
        known = "the split 1 only" if num_splits == 1 else f"the splits 1 to {num_splits}"
        raise ConfigError(f"{name} has {known}, got split {split}")
    if name != "salads50" and granularity != "mid":
        raise ConfigError(f"granularity={granularity!r} has no effect on {name}; only salads50 has levels of labels")
    if granularity not in get_args(Granularity):
        raise ConfigError(f"granularity must be one of {', '.join(get_args(Granularity))}, got {granularity!r}")


def _find(name: str, root: Path | None) -> Path:
    place = _PLACES[name]
    if root is None:
        tried = [data_folder() / candidate for candidate in place.candidates]
        remedy = (
            f"set {DATA_VARIABLE} to the folder above, or name the folder itself with --root "
            "(sgear train: dataset.root=)"
        )
    else:
        tried = [root, *(root / inner for inner in place.inner)]
        remedy = "name the folder that holds it with --root (sgear train: dataset.root=)"
    return _first(tried, place.holds, what=name, source=place.source, remedy=remedy)


def _find_epic55_split(annotations: Path) -> Path:
    """Return the folder of RULSTM's split: beside the annotations, or under SGEAR_DATA."""
    holds, *candidates = _EPIC55_SPLIT
    beside = [
        annotations,
        annotations / "rulstm",
        annotations.parent / "rulstm",
        annotations.parent / "rulstm" / "ek55",
    ]
    tried = [*beside, *(data_folder() / candidate for candidate in candidates)]
    remedy = "put its folder data/ek55 into one of these places"
    return _first(tried, holds, what="the split of epic55", source=_RULSTM_SOURCE, remedy=remedy)


def _first(tried: Sequence[Path], holds: str, *, what: str, source: str, remedy: str) -> Path:
    for folder in tried:
        if (folder / holds).exists():
            return folder
    places = ", ".join(str(folder) for folder in dict.fromkeys(tried))
    raise AnnotationError(f"{what}: no {holds} in {places}. Get the files from {source}; {remedy}.")
