"""Which data a run was made on, told by their content: a data set may move, and other data may take its place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from sgear.config.facts import VideoFacts
from sgear.config.moved import feature_names
from sgear.config.schema import ExperimentConfig
from sgear.datasets import Benchmark, dataset_folder
from sgear.errors import RunError
from sgear.features.opening import is_stored
from sgear.lineage import FILM, ROWS
from sgear.models.pretrained import WEIGHTS_FILE
from sgear.models.strict import shorten
from sgear.prototypes.encoders import digest_of_file
from sgear.segments import SegmentTable
from sgear.training.run import RunDirectory, read_json

_SPLITS = ("train", "validation")
_TEXTS, _TIMES, _IDS = ("uid", "video_id"), ("start_s", "stop_s"), ("verb_id", "noun_id", "action_id")


def data_record(config: ExperimentConfig, benchmark: Benchmark, facts: VideoFacts, run: RunDirectory) -> dict[str, Any]:
    """Return what `data.json` of a run says.

    Args:
        config: The experiment.
        benchmark: Its data.
        facts: What is known of its videos.
        run: Where it is written; the folder that relative paths count from is kept relative to it, so that both may
            move together.
    """
    return {
        "working_folder": os.path.relpath(Path.cwd(), run.path.resolve()),
        "places": _places(config),
        "taxonomy": benchmark.taxonomy.digest,
        "segments": {split: _of_segments(getattr(benchmark, split)) for split in _SPLITS},
        "videos": {video_id: list(each) for video_id, each in facts.contents.items()},
        "starts": _starts(config),
    }


def require_same_data(
    run: RunDirectory, config: ExperimentConfig, benchmark: Benchmark, facts: VideoFacts | None = None
) -> None:
    """Check that the data at hand are those that a run was made on; nothing is known of runs without `data.json`.

    Films and features that lie where they lay may have been repaired; only in another place must they be the same.

    Args:
        run: The run.
        config: Its configuration, with the places of the data at hand.
        benchmark: The data at hand.
        facts: What is known of their videos. Default: they are not asked.

    Raises:
        RunError: If they are others; names the place and what differs.
    """
    if not run.data.is_file():
        return
    record, where = read_json(run.data), dataset_folder(config.dataset.name, config.dataset.root)
    try:
        problem = _difference(record, config, benchmark, facts)
    except (KeyError, TypeError, AttributeError) as err:
        raise RunError(f"{run.data}: damaged ({err!r}); copy it again, or delete it to go on without a check") from err
    if problem:
        raise RunError(
            f"{where}: holds other data than {run.path} was made on: {problem}. Name the folder that holds the same: "
            "--root FOLDER (sgear train: dataset.root=FOLDER)"
        )


def require_same_starts(run: RunDirectory, config: ExperimentConfig) -> None:
    """Check that a run that goes on would start from the same files as before, wherever they lie.

    Raises:
        RunError: Names the settings whose files have another content.
    """
    if not run.data.is_file():
        return
    before, now = dict(read_json(run.data).get("starts", {})), _starts(config)
    if changed := [key for key in before | now if before.get(key) != now.get(key)]:
        raise RunError(
            f"{run.path}: cannot resume from other files: {', '.join(changed)}; give the same, or another name="
        )


def _difference(
    record: dict[str, Any], config: ExperimentConfig, benchmark: Benchmark, facts: VideoFacts | None
) -> str:
    if record["taxonomy"] != benchmark.taxonomy.digest:
        return f"its {benchmark.taxonomy.num_actions} actions are others"
    for split in _SPLITS:
        before, now = record["segments"][split], _of_segments(getattr(benchmark, split))
        if before != now:
            return f"its segments of {split} are others ({now['number']:,} of them, not {before['number']:,})"
    if facts is None or record["places"] == _places(config):
        return ""
    kind = ROWS if config.source.kind == "features" else FILM
    differing = []
    for video_id, texts in facts.contents.items():
        now, before = (
            {text for text in each if text.startswith(kind)} for each in (texts, record["videos"].get(video_id, ()))
        )
        if now and before and now != before:
            differing.append(video_id)
    what = "features" if kind == ROWS else "films"
    return f"other {what} of {len(differing)} videos ({shorten(differing)})" if differing else ""


def _of_segments(segments: SegmentTable) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name in _TEXTS:
        digest.update("\0".join(segments.column(name)).encode())
    for name in _TIMES:
        # Milliseconds: no sum that is made in another order changes them.
        digest.update(np.round(1000 * segments.column(name)).astype("<i8").tobytes())
    for name in _IDS:
        digest.update(segments.column(name).astype("<i8").tobytes())
    return {"number": len(segments), "sha256": digest.hexdigest()[:16]}


def _places(config: ExperimentConfig) -> list[str]:
    source, dataset = config.source, config.dataset
    stored = [name for name in feature_names(source.features) if is_stored(Path(name))]
    folders = [dataset_folder(dataset.name, dataset.root), *dataset.video_roots, *source.feature_roots, *stored]
    return [str(Path(folder).resolve()) for folder in folders]


def _starts(config: ExperimentConfig) -> dict[str, str]:
    """Return the digest of each file that a run starts from, by setting."""
    init = config.init
    runs = {"init.run": init.run, **{f"init.branches[{index}]": run for index, run in enumerate(init.branches)}}
    files = {key: str(RunDirectory(Path(run)).model / WEIGHTS_FILE) for key, run in runs.items() if run}
    files |= {
        f"init.{name}": getattr(init, name)
        for name in ("weights", "class_names", "visual_prototypes", "language_prototypes")
    }
    files["model.encoder.weights"] = config.model.encoder.weights
    return {key: digest_of_file(Path(file)) for key, file in files.items() if file and Path(file).is_file()}
