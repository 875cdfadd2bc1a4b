"""What a report is made of, and how it is read: runs, references and one video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sgear.datasets import Benchmark
from sgear.errors import PredictionError, RunError
from sgear.files import quoted
from sgear.forecast import Forecast
from sgear.kitchen import TAU_A_S, bayes_ceiling, bayes_scores, recall_ranking
from sgear.metrics import class_mean_recall, marginalize, top_k_accuracy
from sgear.models.heads import PrototypeBank
from sgear.models.pretrained import load_model
from sgear.predictions import Predictions, score
from sgear.predictions.scoring import evaluated_part, evaluated_rows
from sgear.prototypes import LanguagePrototypes
from sgear.timing import VJepaProtocol
from sgear.training.run import RunDirectory, read_json, read_log, require_one_protocol

FREQUENCY_BASELINE = "frequency baseline"
BAYES_CEILING = "Bayes ceiling"


@dataclass(frozen=True, kw_only=True)
class ReportRun:
    """One run, read from its directory.

    Args:
        name: Name of the folder.
        title: Name shown to the reader.
        predictions: Scores on the validation split.
        report: Content of `report.json`; its scores are the numbers shown.
        log: Lines of `metrics.jsonl`, in order.
        visual: Visual prototypes, where the model has them.
        language: Language prototypes, where the run used them.
        provenance: Content of `run.json`.
        horizons: Content of `horizons.json`, where the run was evaluated at several anticipation times.
    """

    name: str
    title: str
    predictions: Predictions
    report: dict
    log: tuple[dict, ...] = ()
    visual: Float[Tensor, "A D"] | None = None
    language: Float[Tensor, "A E"] | None = None
    provenance: dict = field(default_factory=dict)
    horizons: dict | None = None


@dataclass(frozen=True)
class Reference:
    """Scores that no run produced: what counting reaches, or what nobody can exceed.

    Scores are in [0, 1], by the keys of `sgear.report.tables.score_columns`; `top1`, `top5` and `recall5` at least.
    """

    name: str
    scores: dict[str, float]
    note: str


@dataclass(frozen=True)
class Video:
    """Forecasts of one video beside what really happened: (start_s, stop_s, action name) of each annotated action."""

    video_id: str
    forecasts: tuple[Forecast, ...]
    truth: tuple[tuple[float, float, str], ...]


def aligned_runs(runs: Sequence[ReportRun], benchmark: Benchmark) -> tuple[ReportRun, ...]:
    """Return the runs with their predictions in the order of the benchmark's validation segments.

    Raises:
        ValueError: If there is no run.
        PredictionError: If protocol, vocabulary, segments or true actions differ between runs or from the benchmark.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    uids = tuple(benchmark.validation.uids)
    truth = benchmark.validation.column("action_id")
    aligned: list[ReportRun] = []
    for run in runs:
        try:
            runs[0].predictions.check_comparable(run.predictions)
            if run.predictions.taxonomy.digest != benchmark.taxonomy.digest:
                raise PredictionError(f"made for another vocabulary than {benchmark.name} has now")
            predictions = run.predictions.aligned_to(uids)
            if not np.array_equal(predictions.targets, truth):
                raise PredictionError(f"the true actions are not those of {benchmark.name} as it is now")
        except PredictionError as err:
            pair = run.name if run is runs[0] else f"{runs[0].name} and {run.name}"
            raise PredictionError(f"{pair}: no common report is possible, {err}") from err
        aligned.append(replace(run, predictions=predictions))
    return tuple(aligned)


def evaluated_runs(runs: Sequence[ReportRun], benchmark: Benchmark) -> tuple[tuple[ReportRun, ...], Benchmark]:
    """Return aligned runs and their benchmark without the segments that their protocol leaves out of the score."""
    is_kept = evaluated_rows(runs[0].predictions, benchmark.trained_action_mask)
    if is_kept.all():
        return tuple(runs), benchmark
    rows = np.flatnonzero(is_kept)
    kept = tuple(replace(run, predictions=run.predictions.take(rows)) for run in runs)
    return kept, replace(benchmark, validation=benchmark.validation.take(is_kept))


def distinct_titles(runs: Sequence[ReportRun]) -> list[str]:
    """Return one title per run; where titles repeat, the seed and then the position tell them apart."""
    titles = [run.title for run in runs]
    if len(set(titles)) < len(titles):
        titles = [f"{run.title}, seed {run.provenance.get('seed', 'unknown')}" for run in runs]
    if len(set(titles)) < len(titles):
        titles = [f"{title} ({position})" for position, title in enumerate(titles, start=1)]
    return titles


_SCORE_TOLERANCE = 1e-6
# The curve may have been computed on another device than the report, where a few segments near a tie differ.
_HORIZON_TOLERANCE = 0.005


def _check_report(path: Path, report: dict, predictions: Predictions) -> None:
    """Raise if a report is not that of the given predictions, which are those that count under their protocol."""
    try:
        stored, num_evaluated = report["scores"]["overall"]["action"], report["num_evaluated"]
        computed = score(predictions)["overall"]["action"]
        agrees = all(abs(stored[name] - value) < _SCORE_TOLERANCE for name, value in computed.items())
    except (KeyError, TypeError) as err:
        raise RunError(f"{path}: lacks {err}; write it again with 'sgear evaluate'") from err
    if not agrees or num_evaluated != len(predictions):
        raise RunError(
            f"{path}: says top-1 {stored['top1']:.4f} on {num_evaluated} segments, but the predictions beside it give "
            f"{computed['top1']:.4f} on {len(predictions)}; write both again with 'sgear evaluate'"
        )


def _check_horizons(path: Path, horizons: dict, report: dict) -> None:
    """Raise if a horizon curve is not that of the model beside it, e.g. of an earlier training."""
    try:
        trained = horizons["scores"].get(f"{horizons['trained_tau_a_s']:g}")
        float(horizons["time_to_action_s"])
        for numbers in horizons["scores"].values():
            [float(numbers["action"][name]) for name in ("top1", "top5", "recall5")]
        stored = report["scores"]["overall"]["action"]
        gap = max(abs(trained["action"][name] - stored[name]) for name in ("top1", "top5")) if trained else 0.0
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise RunError(f"{path}: damaged ({err}); write it again with 'sgear evaluate RUN --tau-a ...'") from err
    if gap > _HORIZON_TOLERANCE:
        raise RunError(
            f"{path}: differs by {100 * gap:.1f} points from report.json at the anticipation time that the run was "
            "trained for, so it is of another model; write it again with 'sgear evaluate RUN --tau-a ...', or delete it"
        )


def collect_run(path: Path, *, benchmark: Benchmark | None = None, language_file: Path | None = None) -> ReportRun:
    """Read everything that a report shows of a run.

    Args:
        path: Run directory.
        benchmark: Data set of the run; runs under the vjepa protocol need it, to leave out what training never shows.
        language_file: Language prototypes that the run's configuration names.

    Raises:
        RunError: If model, predictions, report or log are missing, damaged, or contradict each other.
        ValueError: If a run under the vjepa protocol comes without its benchmark.
        PrototypeError: If the language prototypes are missing or belong to another vocabulary.
    """
    run = RunDirectory(path).require()
    if not run.predictions.is_file():
        raise RunError(f"{run.predictions}: no predictions; write them with: sgear evaluate {quoted(path)}")
    trained = load_model(run.model)
    predictions = Predictions.load(run.predictions)
    require_one_protocol(path, {"the model": trained.protocol.to_dict(), run.predictions.name: predictions.protocol})
    report = read_json(run.report)
    counted = predictions
    if benchmark is not None:
        counted, _ = evaluated_part(predictions, benchmark.trained_action_mask, {})
    elif predictions.protocol["kind"] == VJepaProtocol.kind:
        raise ValueError(f"{path}: the vjepa protocol leaves out actions without training segments; give the benchmark")
    _check_report(run.report, report, counted)
    horizons = read_json(run.horizons) if run.horizons.is_file() else None
    if horizons is not None:
        _check_horizons(run.horizons, horizons, report)
    bank = getattr(trained.model, "bank", None)
    language = None
    if language_file is not None:
        language = LanguagePrototypes.load(language_file, predictions.taxonomy).vectors
    provenance = read_json(run.provenance)
    return ReportRun(
        name=run.name,
        title=str(provenance.get("name", run.name)),
        predictions=predictions,
        report=report,
        log=tuple(read_log(run.metrics)),
        visual=bank.visual.detach().clone() if isinstance(bank, PrototypeBank) else None,
        language=language,
        provenance=provenance,
        horizons=horizons,
    )


def _recalls(
    benchmark: Benchmark, ranking: NDArray[np.floating], rank: Callable[[NDArray, NDArray, int], NDArray]
) -> dict[str, float]:
    """Return class-mean recall@5 of verbs, nouns and subsets by column key; `rank` may reorder scores for targets."""
    taxonomy, targets = benchmark.taxonomy, benchmark.validation.column("action_id")
    parts = {
        "verb": (taxonomy.verb_of_action, len(taxonomy.verbs)),
        "noun": (taxonomy.noun_of_action, len(taxonomy.nouns)),
    }
    asked: dict[str, tuple[NDArray, NDArray, int]] = {
        name: (marginalize(ranking, part_of_action, size), part_of_action[targets], size)
        for name, (part_of_action, size) in parts.items()
    }
    for name, masks in benchmark.subset_masks.items():
        rows = masks["action"]
        asked[name] = (ranking[rows], targets[rows], taxonomy.num_actions)
    return {
        f"{name}_recall5": class_mean_recall(rank(scores, wanted, size), wanted, k=min(5, size))
        for name, (scores, wanted, size) in asked.items()
    }


def frequency_reference(benchmark: Benchmark) -> Reference:
    """Score the same guess for every validation segment: the commonest classes of the training split."""
    targets, counts = benchmark.validation.column("action_id"), benchmark.train.action_counts().astype(np.float64)
    ranking = np.broadcast_to(counts, (len(targets), len(counts)))
    k = min(5, len(counts))
    scores = {
        "top1": top_k_accuracy(ranking, targets, k=1),
        "top5": top_k_accuracy(ranking, targets, k=k),
        "recall5": class_mean_recall(ranking, targets, k=k),
        **_recalls(benchmark, ranking, lambda scores, targets, size: scores),
    }
    note = f"the same guess for every segment: classes by their number of training segments ({len(benchmark.train)})"
    return Reference(FREQUENCY_BASELINE, scores, note)


def ceiling_reference(benchmark: Benchmark, tau_a_s: float) -> Reference:
    """Score the exact posterior of the kitchen's law given the true past of each video.

    Raises:
        AnnotationError: If the validation videos do not come from the law of this version of the kitchen.
    """
    realised, posteriors = bayes_ceiling(benchmark.validation), bayes_scores(benchmark.validation)
    scores = {
        "top1": realised.top1,
        "top5": realised.top5,
        "recall5": realised.class_mean_recall5,
        **_recalls(
            benchmark,
            posteriors,
            lambda scores, targets, size: recall_ranking(scores, np.bincount(targets, minlength=size)),
        ),
    }
    best_first = -np.sort(-posteriors, axis=1)
    bound = "" if tau_a_s <= TAU_A_S else f"; at tau_a {tau_a_s:g} s an upper bound, the newest action may be hidden"
    note = (
        "the law that made the videos, given all true actions before each segment; on average over all videos it "
        f"reaches top-1 {100 * best_first[:, 0].mean():.1f} and top-5 {100 * best_first[:, :5].sum(axis=1).mean():.1f} "
        f"from these pasts, and on these segments the numbers shown, which a lucky run may pass{bound}"
    )
    return Reference(BAYES_CEILING, scores, note)


def references_of(benchmark: Benchmark, predictions: Predictions, *, dataset: str) -> list[Reference]:
    """Return the frequency baseline, and the Bayes ceiling where the law behind the videos is known.

    Args:
        benchmark: Segments of the report.
        predictions: Any run's table; only its protocol is read.
        dataset: Name of the data set in the configuration; `kitchen` has a ceiling for anticipation.
    """
    references = [frequency_reference(benchmark)]
    if dataset == "kitchen" and predictions.protocol["kind"] == "anticipation":
        references.append(ceiling_reference(benchmark, float(predictions.protocol["tau_a_s"])))
    return references


def collect_video(benchmark: Benchmark, video_id: str, forecasts: Iterable[Forecast]) -> Video:
    """Put forecasts of a video beside what is annotated in it, actions that are never asked for included.

    Raises:
        RunError: If nothing is annotated in the video.
    """
    names = benchmark.taxonomy.action_names
    truth = tuple(
        (segment.start_s, segment.stop_s, names[segment.action_id])
        for segment in benchmark.timeline.of_video(video_id)
        if segment.action_id >= 0
    )
    if not truth:
        known = benchmark.validation.video_ids[:5]
        raise RunError(f"{video_id!r}: nothing is annotated in {benchmark.name}; choose one of {known}")
    return Video(video_id, tuple(forecasts), truth)


def video_of_predictions(
    benchmark: Benchmark, predictions: Predictions, *, video_id: str = "", top_k: int = 5
) -> Video | None:
    """Make a video of the evaluated segments of one video: one forecast per segment, asked tau_a before it.

    Args:
        benchmark: Gives the times.
        predictions: Scores of `benchmark.validation` by a model that anticipates.
        video_id: The video. Default: the validation video with the most segments.
        top_k: Number of actions in each forecast.

    Returns:
        The video, or None for a recognition run, which says nothing about the future.

    Raises:
        RunError: If the video has no validation segment.
    """
    if predictions.protocol["kind"] != "anticipation":
        return None
    table, names = benchmark.validation, benchmark.taxonomy.action_names
    if not video_id:
        ids = table.column("video_id").tolist()
        video_id = max(table.video_ids, key=ids.count)
    segments = table.of_video(video_id)
    if not len(segments):
        raise RunError(f"{video_id!r} has no validation segment; choose one of {table.video_ids[:5]}")
    tau_a_s = float(predictions.protocol["tau_a_s"])
    row_of = {uid: row for row, uid in enumerate(predictions.uids)}
    probs = predictions.probs
    forecasts = []
    for segment in segments:
        if segment.start_s < tau_a_s:
            continue  # Nothing can be seen before the video begins.
        row = probs[row_of[segment.uid]]
        best = np.argsort(-row, kind="stable")[:top_k]
        top = tuple((names[action], float(row[action])) for action in best)
        forecasts.append(Forecast(now_s=segment.start_s - tau_a_s, tau_a_s=tau_a_s, top=top))
    truth = tuple((segment.start_s, segment.stop_s, names[segment.action_id]) for segment in segments)
    return Video(video_id, tuple(forecasts), truth)
