"""Data sets by name: what each one says of itself, where its files are looked for, and which loader reads them.

A module of this package that holds a `DATASET`, or several as `DATASETS`, is a data set; so is what another package
names in the entry point group `sgear.datasets`. Nothing else is to be edited. A data set is imported when it is asked
for, and the others are not.

Without an explicit folder, files are looked for under the folder that the environment variable SGEAR_DATA names, or
under `data`; the first candidate of a data set that holds its files is taken.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from sgear.datasets.benchmark import Benchmark, TextRules
from sgear.errors import AnnotationError, ConfigError
from sgear.plugins import load_plugins

if TYPE_CHECKING:
    from sgear.features import FeatureTable

DATA_VARIABLE = "SGEAR_DATA"
ENTRY_POINTS = "sgear.datasets"
# Where a data set is not in the module of its name up to the first dash. What is listed here is listed first.
_MODULES = {
    "kitchen": "sgear.kitchen.world",
    "epic100": "sgear.datasets.epic",
    "epic55": "sgear.datasets.epic",
    "csv": "sgear.datasets.own",
}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the files of a data set may lie; folders are relative to SGEAR_DATA, or to the data set's own folder.

    Args:
        annotations: Folders of annotations, under SGEAR_DATA; none where there is no usual place.
        holds: Something that the right folder holds.
        inner: Folders of a given root that may hold the annotations in its place.
        source: Where to get the files, for the message.
        folder: The data set's own folder. Default: its name.
        videos: Folders of videos in the original release, beside `videos`.
        features: Folders around stored features in the original release, beside `features`.
    """

    annotations: tuple[str, ...]
    holds: str
    inner: tuple[str, ...] = ()
    source: str
    folder: str = ""
    videos: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set: what must be known of it, all in one place.

    Args:
        name: The name that users write.
        load: Reads the benchmark from (folder of the annotations, number of the split, level of the labels).
        places: Where its files may lie.
        corpus: The recordings that its video names belong to: a model that learnt from one data set of a corpus is
            refused on held-out videos of another one. None: videos of the user's own, which their names do not tell.
        whole_videos: Whether every split is by whole videos; else segments of a video are told apart by their times.
        text_rules: How it writes the names of its classes.
        headline: The metric of `sgear.predictions.score` by which it ranks models.
        usual_tau_a_s: Anticipation time in seconds at which its numbers are usually given.
        num_splits: Number of its splits.
        levels: Levels of its labels, where it has several.
        numbering_fps: Images per second by which those of a published video were numbered; None where unknown.
        lengths_from: Data sets whose annotations say how long the videos last, where its own do not.
        own_features: Features that belong to it, by name: read from (its folder, number of the split).
        own_clock: Set where times count from row 0 of `own_features`: what to choose for videos or other features.

    Source:
        docs/add-dataset.md: how to add one.
    """

    name: str
    load: Callable[[Path, int, str], Benchmark]
    places: Places
    corpus: str | None
    whole_videos: bool
    text_rules: TextRules
    headline: str
    usual_tau_a_s: float = 1.0
    num_splits: int = 1
    levels: tuple[str, ...] = ()
    numbering_fps: Callable[[str], float | None] | None = None
    lengths_from: tuple[str, ...] = ()
    own_features: Mapping[str, Callable[[Path, int], FeatureTable]] = field(default_factory=dict)
    own_clock: str = ""


def dataset_names() -> tuple[str, ...]:
    """Return the names that `load_dataset` knows; imports all data sets."""
    modules = [f"sgear.datasets.{info.name}" for info in pkgutil.iter_modules(import_module("sgear.datasets").__path__)]
    built_in = [spec.name for module in dict.fromkeys([*_MODULES.values(), *modules]) for spec in _specs_of(module)]
    names = [*built_in, *(point.name for point in metadata.entry_points(group=ENTRY_POINTS))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"the data sets {twice} are installed twice; uninstall one of the packages that have them")
    return tuple(names)


@cache
def dataset_spec(name: str) -> DatasetSpec:
    """Return what a data set says of itself, and import no other one.

    Raises:
        ConfigError: If the name is unknown, or a package that was installed for it is not right.
    """
    stem = name.partition("-")[0]
    module = _MODULES.get(name) or (f"sgear.datasets.{stem}" if stem.isidentifier() else "")
    for spec in _specs_of(module) if module else ():
        if spec.name == name:
            return spec
    load_plugins(ENTRY_POINTS)
    for point in metadata.entry_points(group=ENTRY_POINTS, name=name):
        found = point.load()
        if not isinstance(found, DatasetSpec) or found.name != name:
            raise ConfigError(f"the plug-in {name!r} ({ENTRY_POINTS}): {point.value} is no DatasetSpec of that name")
        return found
    raise ConfigError(f"data set {name!r} is unknown; choose {', '.join(dataset_names())}")


def corpus_of(name: str) -> str | None:
    """Return the recordings that the video names of a data set belong to, see `DatasetSpec.corpus`.

    None where the data set is not installed here: nothing is known of the names.
    """
    try:
        return dataset_spec(name).corpus
    except ConfigError:
        return None


def load_dataset(name: str, root: Path | None = None, *, split: int = 1, granularity: str = "mid") -> Benchmark:
    """Load a data set by its name.

    Args:
        name: One of `dataset_names()`.
        root: Folder of the annotations, or the folder above them. Default: the first of its `places.annotations` under
            SGEAR_DATA that holds the files; `csv` has none.
        split: Number of the split, from 1.
        granularity: Level of the labels (salads50: `low`, `mid`, `eval` or `abstract`).

    Raises:
        ConfigError: If the name is unknown, or a setting is wrong for this data set.
        AnnotationError: If the files are not found, with the places that were tried, or are wrong.
    """
    spec = dataset_spec(name)
    if not 1 <= split <= spec.num_splits:
        known = "the split 1 only" if spec.num_splits == 1 else f"the splits 1 to {spec.num_splits}"
        raise ConfigError(f"{name} has {known}, got split {split}")
    if not spec.levels and granularity != "mid":
        raise ConfigError(f"granularity={granularity!r} has no effect on {name}, whose labels have one level")
    if spec.levels and granularity not in spec.levels:
        raise ConfigError(f"granularity must be one of {', '.join(spec.levels)}, got {granularity!r}")
    return replace(
        spec.load(annotation_folder(name, root), split, granularity),
        headline=spec.headline,
        usual_tau_a_s=spec.usual_tau_a_s,
        text_rules=spec.text_rules,
    )


def data_folder() -> Path:
    """Return the folder of all data: SGEAR_DATA, or `data`."""
    return Path(os.environ.get(DATA_VARIABLE) or "data")


def annotation_folder(name: str, root: Path | None = None) -> Path:
    """Return the folder that holds the annotations of a data set; see `load_dataset`.

    Raises:
        ConfigError: If the name is unknown, or the data set has no usual place and none is given.
        AnnotationError: If the files are not found, with the places that were tried.
    """
    places = dataset_spec(name).places
    if root is None and not places.annotations:
        raise ConfigError(f"data set {name!r} has no usual place; name its folder with dataset.root=FOLDER (or --root)")
    if root is None:
        tried = [data_folder() / candidate for candidate in places.annotations]
        remedy = (
            f"set {DATA_VARIABLE} to the folder above, or name the folder itself with --root "
            "(sgear train: dataset.root=)"
        )
    elif not places.annotations:
        return root
    else:
        tried = [root, *(root / inner for inner in places.inner)]
        remedy = "name the folder that holds it with --root (sgear train: dataset.root=)"
    return first_folder(tried, places.holds, what=name, source=places.source, remedy=remedy)


def first_folder(tried: Sequence[Path], holds: str, *, what: str, source: str, remedy: str) -> Path:
    """Return the first folder that holds something."""
    for folder in tried:
        if (folder / holds).exists():
            return folder
    places = ", ".join(str(folder) for folder in dict.fromkeys(tried))
    raise AnnotationError(f"{what}: no {holds} in {places}. Get the files from {source}; {remedy}.")


def _specs_of(module: str) -> tuple[DatasetSpec, ...]:
    try:
        found = import_module(module)
    except ModuleNotFoundError as err:
        if err.name != module:
            raise
        return ()
    return getattr(found, "DATASETS", None) or ((found.DATASET,) if hasattr(found, "DATASET") else ())
