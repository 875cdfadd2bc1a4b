"""From a run directory and a benchmark to what a report shows: runs, references, and one video."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sgear.datasets import Benchmark
from sgear.errors import RunError
from sgear.files import quoted
from sgear.forecast import Forecast
from sgear.kitchen import TAU_A_S, bayes_ceiling, bayes_scores, recall_ranking
from sgear.metrics import class_mean_recall, marginalize, top_k_accuracy
from sgear.models.heads import PrototypeBank
from sgear.models.pretrained import load_model
from sgear.predictions import Predictions, score
from sgear.predictions.scoring import evaluated_part
from sgear.prototypes import LanguagePrototypes
from sgear.report.contents import BAYES_CEILING, FREQUENCY_BASELINE, Reference, ReportRun, Video
from sgear.timing import VJepaProtocol
from sgear.training.run import RunDirectory, read_json, read_log, require_one_protocol

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
        benchmark: Data set of the run. Only the check of a run under the vjepa protocol needs it, whose scores leave
            out what training never shows.
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


def frequency_reference(benchmark: Benchmark, predictions: Predictions) -> Reference:
    """Score the same guess for every segment: the commonest classes of the training split.

    Args:
        benchmark: Gives the training counts.
        predictions: Any run's table; its targets are used, its scores are not.
    """
    taxonomy = benchmark.taxonomy
    predictions = predictions.aligned_to(tuple(benchmark.validation.uids))
    targets, counts = predictions.targets, benchmark.train.action_counts().astype(np.float64)
    ranking = np.broadcast_to(counts, (len(targets), len(counts)))
    k = min(5, len(counts))
    scores = {
        "top1": top_k_accuracy(ranking, targets, k=1),
        "top5": top_k_accuracy(ranking, targets, k=k),
        "recall5": class_mean_recall(ranking, targets, k=k),
    }
    parts = {
        "verb": (taxonomy.verb_of_action, len(taxonomy.verbs)),
        "noun": (taxonomy.noun_of_action, len(taxonomy.nouns)),
    }
    for name, (part_of_action, num_parts) in parts.items():
        part_ranking = marginalize(ranking, part_of_action, num_parts)
        scores[f"{name}_recall5"] = class_mean_recall(part_ranking, part_of_action[targets], k=min(5, num_parts))
    for name, masks in benchmark.subset_masks.items():
        mask = masks["action"]
        scores[f"{name}_recall5"] = class_mean_recall(ranking[mask], targets[mask], k=k)
    note = f"the same guess for every segment: classes by their number of training segments ({len(benchmark.train)})"
    return Reference(FREQUENCY_BASELINE, scores, note)


def ceiling_reference(benchmark: Benchmark, predictions: Predictions) -> Reference:
    """Score the exact posterior of the kitchen's law given the true past of each video.

    Raises:
        AnnotationError: If the validation videos do not come from the law of this version of the kitchen.
    """
    table, taxonomy = benchmark.validation, benchmark.taxonomy
    realised = bayes_ceiling(table)
    posteriors = bayes_scores(table)
    targets = table.column("action_id")
    scores = {"top1": realised.top1, "top5": realised.top5, "recall5": realised.class_mean_recall5}
    parts = {
        "verb": (taxonomy.verb_of_action, len(taxonomy.verbs)),
        "noun": (taxonomy.noun_of_action, len(taxonomy.nouns)),
    }
    for name, (part_of_action, num_parts) in parts.items():
        part_targets = part_of_action[targets]
        ranking = recall_ranking(
            marginalize(posteriors, part_of_action, num_parts), np.bincount(part_targets, minlength=num_parts)
        )
        scores[f"{name}_recall5"] = class_mean_recall(ranking, part_targets, k=min(5, num_parts))
    for name, masks in benchmark.subset_masks.items():
        mask = masks["action"]
        counts = np.bincount(targets[mask], minlength=taxonomy.num_actions)
        ranking = recall_ranking(posteriors[mask], counts)
        scores[f"{name}_recall5"] = class_mean_recall(ranking, targets[mask], k=min(5, ranking.shape[1]))
    best_first = -np.sort(-posteriors, axis=1)
    tau_a_s = float(predictions.protocol["tau_a_s"])
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
        predictions: Any run's table on `benchmark.validation`.
        dataset: Name of the data set in the configuration; `kitchen` has a ceiling for anticipation.
    """
    references = [frequency_reference(benchmark, predictions)]
    if dataset == "kitchen" and predictions.protocol["kind"] == "anticipation":
        references.append(ceiling_reference(benchmark, predictions))
    return references


def collect_video(benchmark: Benchmark, video_id: str, forecasts: Iterable[Forecast]) -> Video:
    """Put forecasts of a video beside what is annotated in it.

    Args:
        benchmark: Gives the annotated actions, those that are never asked for included.
        video_id: The video.
        forecasts: What a model said of it, e.g. by `sgear.anticipator.Anticipator.anticipate`.

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
