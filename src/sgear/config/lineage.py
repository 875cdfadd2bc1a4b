"""What a run learns from, and the guard that none of it is held out where it starts another run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgear.config.schema import DatasetConfig, ExperimentConfig, InitConfig
from sgear.config.stored import lineages_of_encoders
from sgear.datasets.benchmark import Benchmark
from sgear.errors import ConfigError
from sgear.features.table import StoredFeatures
from sgear.lineage import Lineage, TrainingPart
from sgear.models.pretrained import read_lineage
from sgear.models.strict import shorten
from sgear.prototypes import VisualPrototypes
from sgear.segments import SegmentTable
from sgear.training.run import RunDirectory

Films = dict[str, tuple[str, ...]]
"""Segments of each video, as `start-stop`; none where videos are never cut."""

_SAME_FILMS = {
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
"""Data sets of the same films. Names of films in others are anybody's: equal names need not be the same film."""
_WHOLE_VIDEOS = ("epic-kitchens", "50salads")
"""Corpora in which every split is by whole videos. EGTEA cuts its videos into clips, own data may."""


def training_part(dataset: DatasetConfig, segments: SegmentTable) -> TrainingPart:
    """Return the record of training segments.

    Args:
        dataset: The data set, with its split and fold.
        segments: What is learnt from.
    """
    return TrainingPart(
        dataset=dataset.name,
        split=dataset.split,
        num_folds=dataset.num_folds,
        fold=dataset.fold,
        corpus=_corpus(dataset),
        videos=_films(segments, _corpus(dataset)),
    )


def inherited_lineages(init: InitConfig) -> dict[str, Lineage]:
    """Return what everything that a run starts from was learnt from, by setting.

    Raises:
        RunError: If a run to start from holds no model.
        PrototypeError: If the file of prototypes is missing or damaged.
    """
    found: dict[str, Lineage] = {}
    if init.run:
        found[f"init.run={init.run}"] = read_lineage(RunDirectory(Path(init.run)).require().model)
    for branch in init.branches:
        found[f"init.branches={branch}"] = read_lineage(RunDirectory(Path(branch)).require().model)
    if init.visual_prototypes:
        path = Path(init.visual_prototypes)
        found[f"init.visual_prototypes={path}"] = VisualPrototypes.load(path).lineage
    if init.weights:
        found[f"init.weights={init.weights}"] = published_lineage(Path(init.weights))
    return found


def published_lineage(path: Path) -> Lineage:
    """Return the lineage of a published checkpoint: it does not name its videos."""
    return Lineage(gaps=(f"published weights {path.name}",))


def lineage_of_training(
    config: ExperimentConfig, benchmark: Benchmark, features: StoredFeatures | None = None
) -> Lineage:
    """Return what the model of an experiment will have been learnt from, the encoders of its features included."""
    own = Lineage(parts=(training_part(config.dataset, benchmark.train),))
    return own.joined_with([*inherited_lineages(config.init).values(), *lineages_of_encoders(features).values()])


def require_unseen(config: ExperimentConfig, benchmark: Benchmark, features: StoredFeatures | None = None) -> list[str]:
    """Check that nothing a run starts from or reads was learnt from what the run is validated or tested on.

    A video that the data set itself cuts between training and validation is judged by its segments.

    Args:
        config: The experiment.
        benchmark: Its data.
        features: Its stored features, which the encoder of another run may have made.

    Returns:
        One line per start that does not say what it was learnt from.

    Raises:
        ConfigError: Gives both sides and the remedy.
        SgearError: If a start is missing or damaged.
    """
    notes: list[str] = []
    for setting, lineage in (inherited_lineages(config.init) | lineages_of_encoders(features)).items():
        for part in lineage.parts:
            if seen := _seen_by(part, config.dataset, benchmark):
                asked = training_part(config.dataset, benchmark.train)
                raise ConfigError(_leak_text(setting, part, seen, asked))
        notes += [
            f"from {setting}: {gap} does not say what it was learnt from, so it cannot be checked that no video held "
            "out here was among it"
            for gap in lineage.gaps
        ]
    return notes


def _corpus(dataset: DatasetConfig) -> str:
    return _SAME_FILMS.get(dataset.name, dataset.name)


def _films(segments: SegmentTable, corpus: str) -> Films:
    if corpus in _WHOLE_VIDEOS:
        return dict.fromkeys(segments.video_ids, ())
    films: dict[str, list[str]] = {}
    columns = (segments.column(name).tolist() for name in ("video_id", "start_s", "stop_s"))
    for video, start_s, stop_s in zip(*columns, strict=True):
        # A tenth of a second: times of one film differ by frames from publisher to publisher.
        films.setdefault(video, []).append(f"{start_s:.1f}-{stop_s:.1f}")
    return {video: tuple(times) for video, times in films.items()}


@dataclass(frozen=True)
class _Seen:
    """What of the held-out data was learnt from: whole videos, and segments of videos that the split cuts."""

    videos: tuple[str, ...]
    segments: tuple[str, ...]
    num_held_out: int

    def __str__(self) -> str:
        names = [*self.videos, *self.segments]
        counts = [f"{len(self.videos)} of the {self.num_held_out} videos"] if self.videos else []
        counts += [f"{len(self.segments)} segments"] if self.segments else []
        return f"{' and '.join(counts)} that this run is validated or tested on ({shorten(names)})"


def _seen_by(part: TrainingPart, dataset: DatasetConfig, benchmark: Benchmark) -> _Seen | None:
    """Return what of the held-out data a part holds; None for nothing."""
    corpus = _corpus(dataset)
    if part.corpus != corpus:
        return None
    trained, held_out = _films(benchmark.train, corpus), _held_out_films(benchmark, corpus)
    videos, cut = [], []
    for video, segments in held_out.items():
        learnt, ours = set(part.videos.get(video, ())), set(trained.get(video, ()))
        # Own films may have one name by chance; then no segment is the same.
        is_same_film = dataset.name in _SAME_FILMS or bool(learnt & (ours | set(segments)))
        if video not in part.videos or not is_same_film:
            continue
        if video not in trained:
            videos.append(video)
        else:
            cut += [f"{video} at {segment} s" for segment in segments if segment in learnt - ours]
    return _Seen(tuple(videos), tuple(cut), len(held_out)) if videos or cut else None


def _held_out_films(benchmark: Benchmark, corpus: str) -> Films:
    films: Films = {}
    for table in (benchmark.validation, *benchmark.tests.values()):
        for video, segments in _films(table, corpus).items():
            films[video] = (*films.get(video, ()), *segments)
    return films


def _leak_text(setting: str, part: TrainingPart, seen: _Seen, asked: TrainingPart) -> str:
    where = f"dataset.name={asked.dataset} dataset.split={asked.split}"
    if asked.num_folds:
        where += f" dataset.num_folds={asked.num_folds} dataset.fold={asked.fold}"
    return (
        f"{setting} was learnt from {seen}: it was made on {part.name}, and this run is of {asked.name}. Make it on "
        f"the training videos of this run ({where}), or start without it"
    )
