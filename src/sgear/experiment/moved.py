"""Where the data of a run lie now: relative paths count from the folder of its training, and data may have moved."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sgear.datasets import dataset_folder
from sgear.errors import ConfigError
from sgear.experiment.schema import ExperimentConfig, FeatureSourceConfig, SourceConfig, encoder_weights
from sgear.features.opening import is_stored

JOINT = "+"
"""What stands between several kinds of features in `source.features`."""
PLACES = (
    *("dataset.root", "dataset.video_roots", "source.features", "source.feature_roots"),
    *("init.run", "init.branches", "init.weights", "init.class_names", "model.encoder.weights"),
    *("init.visual_prototypes", "init.language_prototypes"),
)
"""Settings that say where something lies, not what it is."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the data of a run are looked for, if not where its configuration says.

    Args:
        root: Folder of the data set. What lay in its old folder is looked for in this one.
        video_roots: Folders of its videos.
        feature_roots: Folders around its stored features.
    """

    root: Path | None = None
    video_roots: tuple[Path, ...] = ()
    feature_roots: tuple[Path, ...] = ()


def feature_names(features: str) -> list[str]:
    """Return the kinds of features that a setting names; a path may hold the joint, too, as `train+val` does."""
    return [features] if is_stored(Path(features)) else [name.strip() for name in features.split(JOINT)]


def at_places(config: ExperimentConfig, places: Places) -> ExperimentConfig:
    """Return a configuration whose data lie elsewhere.

    Raises:
        ConfigError: If a place has no effect.
    """
    kind = config.source.kind
    for option, given, read_by in (
        ("--video-root", places.video_roots, "video"),
        ("--feature-root", places.feature_roots, "features"),
    ):
        if given and kind != read_by:
            raise ConfigError(f"{option} has no effect: the run reads source.kind={kind}")
    if places.root is not None:
        old, new = os.path.abspath(dataset_folder(config.dataset.name, config.dataset.root)), places.root

        def follow(text: str) -> str:
            inside = os.path.relpath(os.path.abspath(text), old)
            return text if inside.startswith(os.pardir) else str(new / inside)

        config = _map_places(config, follow)
        config = replace(config, dataset=replace(config.dataset, root=str(new)))
    if places.video_roots:
        config = replace(config, dataset=replace(config.dataset, video_roots=[*map(str, places.video_roots)]))
    if places.feature_roots and isinstance(config.source, FeatureSourceConfig):
        names = (name if is_stored(Path(name)) else Path(name).name for name in feature_names(config.source.features))
        roots = [*map(str, places.feature_roots)]
        config = replace(config, source=replace(config.source, features=JOINT.join(names), feature_roots=roots))
    return config


def from_folder(config: ExperimentConfig, folder: Path) -> ExperimentConfig:
    """Return a configuration whose relative paths count from a folder, as far as there is something in it."""

    def found(text: str) -> str:
        return str(folder / text) if os.path.exists(folder / text) else text

    return _map_places(config, found)


def _map_places(config: ExperimentConfig, change: Callable[[str], str]) -> ExperimentConfig:
    def each(text: str) -> str:
        return change(text) if text else text

    init = {
        name: each(getattr(config.init, name))
        for name in ("run", "weights", "class_names", "visual_prototypes", "language_prototypes")
    }
    model = config.model
    if encoder_weights(model):
        model = replace(model, encoder=replace(model.encoder, weights=each(model.encoder.weights)))
    return replace(
        config,
        dataset=replace(
            config.dataset, root=each(config.dataset.root), video_roots=[*map(each, config.dataset.video_roots)]
        ),
        source=_map_features(config.source, each),
        init=replace(config.init, **init, branches=[*map(each, config.init.branches)]),
        model=model,
    )


def _map_features(source: SourceConfig, change: Callable[[str], str]) -> SourceConfig:
    if not isinstance(source, FeatureSourceConfig):
        return source
    names = []
    for name in feature_names(source.features) if source.features else []:
        changed = change(name)
        # Most are names that the data set knows, or that are looked for under folders.
        names.append(changed if is_stored(Path(changed)) else name)
    return replace(source, features=JOINT.join(names), feature_roots=[*map(change, source.feature_roots)])
