"""What a run learns from, and the guard that none of it is held out where it starts another run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path

from sgear.datasets import Benchmark, corpus_of, dataset_spec
from sgear.errors import ConfigError
from sgear.experiment.schema import DatasetConfig, ExperimentConfig, encoder_weights
from sgear.experiment.sources import lineages_of_encoders
from sgear.features.table import StoredFeatures
from sgear.lineage import TIMES, VIDEO, Lineage, TrainingPart
from sgear.models.conversion import shorten
from sgear.models.pretrained import read_lineage
from sgear.prototypes import VisualPrototypes
from sgear.segments import SegmentTable
from sgear.training.run import RunDirectory

Videos = dict[str, tuple[str, ...]]
"""Segments of each video, as `start-stop`."""
Contents = Mapping[str, Sequence[str]]
"""What each video is known by; see `TrainingPart`."""


def training_part(dataset: DatasetConfig, segments: SegmentTable, contents: Contents | None = None) -> TrainingPart:
    """Return the record of training segments; `contents` may know other videos, too."""
    videos, spec = _videos(segments), dataset_spec(dataset.name)
    return TrainingPart(
        dataset=dataset.name,
        split=dataset.split,
        num_folds=dataset.num_folds,
        fold=dataset.fold,
        corpus=spec.corpus or spec.name,
        videos=dict.fromkeys(videos, ()) if spec.whole_videos else videos,
        contents={video: (*(contents or {}).get(video, ()), _times(times)) for video, times in videos.items()},
    )


def _starts(config: ExperimentConfig, features: StoredFeatures | None) -> dict[str, Lineage]:
    """Return what everything that a run starts from was learnt from, by setting; the encoder's features included."""
    init = config.init
    runs = [("init.run", init.run), *(("init.branches", branch) for branch in init.branches)]
    found = {f"{key}={run}": read_lineage(RunDirectory(Path(run)).require().model) for key, run in runs if run}
    if init.visual_prototypes:
        path = Path(init.visual_prototypes)
        found[f"init.visual_prototypes={path}"] = VisualPrototypes.load(path).lineage
    published = {"init.weights": init.weights, "model.encoder.weights": encoder_weights(config.model)}
    found |= {f"{key}={file}": published_lineage(Path(file)) for key, file in published.items() if file}
    return found | lineages_of_encoders(features)


def published_lineage(path: Path) -> Lineage:
    """Return the lineage of a published checkpoint: it does not name its videos."""
    return Lineage(gaps=(f"published weights {path.name}",))


def lineage_of_training(
    config: ExperimentConfig,
    benchmark: Benchmark,
    features: StoredFeatures | None = None,
    contents: Contents | None = None,
) -> Lineage:
    """Return what the model of an experiment will have been learnt from, the encoders of its features included."""
    own = Lineage(parts=(training_part(config.dataset, benchmark.train, contents),))
    return own.joined_with(_starts(config, features).values())


def require_unseen(
    config: ExperimentConfig,
    benchmark: Benchmark,
    features: StoredFeatures | None = None,
    contents: Contents | None = None,
) -> list[str]:
    """Check that nothing a run starts from or reads was learnt from what the run is validated or tested on.

    Videos are one if they have the same content, whatever they are called. Where that is not known of both, the names
    of published data sets decide; videos of other data sets are one if they share a name and the times of a segment. A
    video that the data set itself cuts between training and validation is judged by its segments.

    Returns:
        One line per start of which it is not known whether it was learnt from held-out videos.

    Raises:
        ConfigError: Gives both sides and the remedy; also if a video is trained on and held out under two names.
        SgearError: If a start is missing or damaged.
    """
    notes: list[str] = []
    unchecked = "so it cannot be checked that"
    ours = _Ours(config.dataset, benchmark, contents or {})
    if twins := ours.twins():
        raise ConfigError(
            f"{len(twins)} videos that are held out are videos of the training split under another name "
            f"({shorten(twins)}); take one of each out, or put both into one split"
        )
    for setting, lineage in _starts(config, features).items():
        for part in lineage.parts:
            seen, unknown = ours.compare(part)
            if seen:
                asked = training_part(config.dataset, benchmark.train)
                where = f"dataset.name={asked.dataset} dataset.split={asked.split}"
                where += f" dataset.num_folds={asked.num_folds} dataset.fold={asked.fold}" if asked.num_folds else ""
                raise ConfigError(
                    f"{setting} was learnt from {seen}: it was made on {part.name}, and this run is of {asked.name}. "
                    f"Make it on the training videos of this run ({where}), or start without it"
                )
            if unknown:
                notes.append(
                    f"from {setting}: {len(unknown)} of the {len(part.videos)} videos of {part.name} that it was "
                    f"learnt from, first {unknown[0]!r}, cannot be told from those held out here by their content, "
                    f"{unchecked} none of these was among them"
                )
        notes += [
            f"from {setting}: {gap} does not say what it was learnt from, {unchecked} no video held out here was "
            "among it"
            for gap in lineage.gaps
        ]
    return notes


def _videos(segments: SegmentTable) -> Videos:
    videos: dict[str, list[str]] = {}
    columns = (segments.column(name).tolist() for name in ("video_id", "start_s", "stop_s"))
    for video, start_s, stop_s in zip(*columns, strict=True):
        # A tenth of a second: times of one video differ by frames from publisher to publisher.
        videos.setdefault(video, []).append(f"{start_s:.1f}-{stop_s:.1f}")
    return {video: tuple(times) for video, times in videos.items()}


def _has_video(contents: Sequence[str]) -> bool:
    return any(text.startswith(VIDEO) for text in contents)


def _times(segments: Sequence[str]) -> str:
    return f"{TIMES}{hashlib.sha256(' '.join(sorted(segments)).encode()).hexdigest()[:12]}"


class _Ours:
    """The videos of a data set, by name and by content."""

    def __init__(self, dataset: DatasetConfig, benchmark: Benchmark, contents: Contents) -> None:
        self._corpus = corpus_of(dataset.name) or dataset.name
        self._is_published = corpus_of(dataset.name) is not None
        self._trained = _videos(benchmark.train)
        self._held_out: Videos = {}
        for table in (benchmark.validation, *benchmark.tests.values()):
            for video, segments in _videos(table).items():
                self._held_out[video] = (*self._held_out.get(video, ()), *segments)
        self._has_videos = all(_has_video(contents.get(video, ())) for video in self._held_out)
        self._known_by: dict[str, list[str]] = {}
        for video, texts in contents.items():
            for text in texts:
                self._known_by.setdefault(text, []).append(video)

    def twins(self) -> list[str]:
        """Return the held-out videos whose video is one of our training videos, too, under another name."""
        groups = [videos for text, videos in self._known_by.items() if text.startswith(VIDEO) and len(videos) > 1]
        return [
            f"{one} is {other}"
            for videos in groups
            for one in videos
            for other in videos
            if one in self._held_out and one not in self._trained and other in self._trained
        ]

    def compare(self, part: TrainingPart) -> tuple[str, list[str]]:
        """Return in words what of the held-out data a part holds, and its videos that may be held out here."""
        # Dictionaries keep the order and name nothing twice.
        whole: dict[str, None] = {}
        cut: dict[str, None] = {}
        unknown: list[str] = []
        for name, learnt in part.videos.items():
            same = self._same(name, part)
            if not same and not self._is_another(name, part):
                unknown.append(name)
            for video in same:
                called = "" if video == name else f", there called {name}"
                if video in self._held_out and video not in self._trained:
                    whole[f"{video}{called}"] = None
                elif video in self._held_out:
                    segments = self._cut(video, set(learnt))
                    cut |= dict.fromkeys(f"{video} at {segment} s{called}" for segment in segments)
        counts = [f"{len(whole)} of the {len(self._held_out)} videos"] if whole else []
        counts += [f"{len(cut)} segments"] if cut else []
        names = shorten([*whole, *cut])
        seen = f"{' and '.join(counts)} that this run is validated or tested on ({names})" if counts else ""
        return seen, unknown

    def _same(self, name: str, part: TrainingPart) -> list[str]:
        """Return our videos that are a video of a part."""
        texts = part.contents.get(name, ())
        found = [self._known_by.get(text, []) for text in texts]
        # Rows that several videos share, such as zeros, tell nothing.
        tells = [text.startswith(VIDEO) or len(videos) == 1 for text, videos in zip(texts, found, strict=True)]
        same = [video for videos in compress(found, tells) for video in videos]
        trained, held_out = self._trained.get(name, ()), self._held_out.get(name, ())
        if self._is_published and part.corpus == self._corpus:
            same += [name] if trained or held_out else []
        # Own videos may have one name by chance; then no segment is the same.
        elif {*part.videos[name], *texts} & {*trained, *held_out, _times(trained), _times(held_out)}:
            same.append(name)
        return list(dict.fromkeys(same))

    def _is_another(self, name: str, part: TrainingPart) -> bool:
        """Return whether a video of a part, which is none of ours by what is known, can be none of them."""
        if self._is_published and corpus_of(part.dataset) is not None:
            return part.corpus == self._corpus or name not in self._held_out
        return self._has_videos and _has_video(part.contents.get(name, ()))

    def _cut(self, video: str, learnt: set[str]) -> list[str]:
        """Return the held-out segments of a video that our split cuts which were learnt from."""
        ours, held_out = set(self._trained[video]), self._held_out[video]
        if not learnt:
            return list(held_out)
        others = learnt - ours
        exact = [segment for segment in held_out if segment in others]
        if self._is_published or exact:
            return exact
        return [segment for segment in held_out if any(_overlap(segment, other) for other in others)]


def _overlap(one: str, other: str) -> bool:
    """Return whether two segments share more than the tenth of a second to which they are rounded."""
    (begin_s, end_s), (first_s, last_s) = (map(float, segment.split("-")) for segment in (one, other))
    return min(end_s, last_s) - max(begin_s, first_s) > 0.15
