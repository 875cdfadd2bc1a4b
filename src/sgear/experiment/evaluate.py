"""Trained models over splits: predictions of every segment, reports, horizons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from sgear.data.dataset import OnError
from sgear.datasets import Benchmark
from sgear.errors import ConfigError, RunError
from sgear.experiment.build import Asked, build_asked, build_protocol
from sgear.experiment.compose import load_run_config
from sgear.experiment.facts import require_same_data
from sgear.experiment.moved import Places, at_places
from sgear.models import AnticipationModel
from sgear.models.pretrained import load_model
from sgear.models.rulstm import Rulstm
from sgear.predictions import Predictions, score
from sgear.predictions.provenance import SKIPPED, caveats_of, merge_skipped, skipped_of, with_caveats, with_skipped
from sgear.predictions.scoring import times_to_action
from sgear.scoring import make_report
from sgear.segments import SegmentTable
from sgear.taxonomy import Field, Taxonomy
from sgear.timing import AnticipationProtocol, RecognitionProtocol, ViewMean, WindowProtocol
from sgear.training.evaluate import Outputs, run_model
from sgear.training.loop import make_accelerator
from sgear.training.run import RunDirectory, read_json, require_one_protocol, write_json

FLOORS = "floors"
"""Key of the baselines of own data in a report."""


def class_prior(segments: SegmentTable) -> torch.Tensor:
    """Return the logarithm of class frequencies with one count added to each class [A]."""
    counts = torch.tensor(segments.action_counts()).float() + 1
    return (counts / counts.sum()).log()


def predict(
    model: AnticipationModel,
    asked: Asked,
    taxonomy: Taxonomy,
    accelerator: Accelerator,
    *,
    batch_size: int,
    num_workers: int,
    log_prior: torch.Tensor,
    provenance: dict[str, object],
) -> Predictions:
    """Score every segment asked for: the model where something can be seen, the class prior elsewhere.

    Several views are averaged as the protocol says. A segment that could not be read in one of them gets the class
    prior too, and stands in the list of skipped segments of the provenance.

    Raises:
        SgearError: If a clip cannot be read and the samples stop at errors.
        RunError: If no segment shows anything, or no clip at all can be read where the samples go on at errors.
    """
    protocol = asked.views[0].protocol
    if isinstance(model, Rulstm) and not isinstance(protocol, RecognitionProtocol):
        model.set_tau_a(protocol.tau_a_s)
    if not len(asked.views[0]):
        raise RunError(
            f"none of the {len(asked.segments)} segments of split {asked.split!r} begins late enough to show anything "
            f"before it ({protocol}); choose a smaller tau_a_s, or longer videos"
        )
    outputs = [
        run_model(model, view, accelerator, batch_size=batch_size, num_workers=num_workers) for view in asked.views
    ]
    view_mean: ViewMean = "probabilities" if isinstance(protocol, RecognitionProtocol) else protocol.view_mean
    logits = _mean_of_views([output.logits for output in outputs], view_mean)
    seen = asked.views[0].segments
    unreadable = {row: reason for output in reversed(outputs) for row, reason in output.unreadable.items()}
    is_unreadable = torch.tensor([row in unreadable for row in range(len(seen))], dtype=torch.bool)
    logits = torch.where(is_unreadable[:, None], log_prior, logits)
    blind_logits = log_prior.expand(len(asked.blind), -1)
    skipped = {asked.split: {seen.uids[row]: unreadable[row] for row in sorted(unreadable)}}
    predictions = Predictions(
        uids=(*seen.uids, *asked.blind.uids),
        logits=torch.cat([logits, blind_logits]).numpy().astype(np.float32),
        verb_logits=_field_logits(outputs, "verb", view_mean, log_prior, taxonomy, is_unreadable, len(asked.blind)),
        noun_logits=_field_logits(outputs, "noun", view_mean, log_prior, taxonomy, is_unreadable, len(asked.blind)),
        targets=np.concatenate([seen.column("action_id"), asked.blind.column("action_id")]),
        taxonomy=taxonomy,
        protocol=asked.views[0].protocol.to_dict(),
        provenance=with_skipped(with_caveats(provenance, asked.facts.caveats), skipped)
        | {"split": asked.split, "num_from_prior": len(asked.blind), "num_unreadable": len(unreadable)},
    )
    return predictions.aligned_to(tuple(asked.segments.uids))


def _field_logits(
    outputs: list[Outputs],
    field: Field,
    view_mean: ViewMean,
    log_prior: torch.Tensor,
    taxonomy: Taxonomy,
    is_unreadable: torch.Tensor,
    num_blind: int,
) -> NDArray[np.float32] | None:
    """Return the scores of a verb or noun classifier, None without one; the summed class prior where nothing is seen.

    These are the rows `is_unreadable` [M], and `num_blind` more at the end.
    """
    logits = [output.verb_logits if field == "verb" else output.noun_logits for output in outputs]
    heads = [view for view in logits if view is not None]
    if not heads:
        return None
    classes = torch.from_numpy(taxonomy.ids_of_action(field))
    prior = torch.zeros(len(taxonomy.names(field))).index_add_(0, classes, log_prior.exp())
    # A class without any action has no probability; its score must still be finite.
    log_prior = prior.clamp(min=torch.finfo(torch.float32).tiny).log()
    seen = torch.where(is_unreadable[:, None], log_prior, _mean_of_views(heads, view_mean))
    return torch.cat([seen, log_prior.expand(num_blind, -1)]).numpy().astype(np.float32)


def _mean_of_views(logits: list[torch.Tensor], view_mean: ViewMean) -> torch.Tensor:
    """Return the scores of several views [M A] as one: the logarithm of their mean probabilities, or their mean."""
    if len(logits) == 1:
        return logits[0]
    if view_mean == "logits":
        return torch.stack(logits).mean(dim=0)
    return torch.stack([view.softmax(dim=-1) for view in logits]).mean(dim=0).log()


def predict_split(
    path: Path,
    *,
    split: str = "validation",
    protocol: WindowProtocol | None = None,
    on_error: OnError | None = None,
    places: Places | None = None,
) -> tuple[Predictions, Benchmark]:
    """Run a trained model over a split.

    Args:
        path: Run directory.
        split: `validation`, `train`, or a test split of the data set.
        protocol: Another protocol than the one the run was trained for, e.g. another `tau_a_s`.
        on_error: Another setting of `source.on_error` than the run's.
        places: Where the data of the run lie now. Default: where its configuration says.

    Raises:
        RunError: If the run holds no trained model, or the data are not those that it was made on.
        ConfigError: If there is no such split, or the window is longer than the model was built for.
    """
    run = RunDirectory(path).require()
    trained = load_model(run.model)
    config = at_places(load_run_config(run.config), places or Places())
    asked_for = build_protocol(config.protocol).to_dict()
    require_one_protocol(path, {run.config.name: asked_for, "the model": trained.protocol.to_dict()})
    if protocol is not None:
        config = replace(config, protocol=replace(config.protocol, **protocol.to_dict()))
    if on_error is not None:
        config = replace(config, source=replace(config.source, on_error=on_error))
    if build_protocol(config.protocol).num_steps > config.model.max_steps:
        raise ConfigError(f"{path}: {protocol} has more steps than the {config.model.max_steps} it was built for")
    benchmark, asked = build_asked(config, split)
    require_same_data(run, config, benchmark, asked.facts)
    if trained.taxonomy.digest != benchmark.taxonomy.digest:
        raise RunError(
            f"{path}: trained on {trained.taxonomy.num_actions} actions ({trained.taxonomy.digest}), but the data now "
            f"has {benchmark.taxonomy.num_actions} ({benchmark.taxonomy.digest})"
        )
    accelerator = make_accelerator(config.runtime)
    predictions = predict(
        trained.model.to(accelerator.device),
        asked,
        benchmark.taxonomy,
        accelerator,
        batch_size=config.optim.batch_size,
        num_workers=config.runtime.num_workers,
        log_prior=trained.log_prior,
        provenance=read_json(run.provenance),
    )
    return predictions, benchmark


def evaluate_run(path: Path, *, on_error: OnError | None = None, places: Places | None = None) -> dict:
    """Evaluate a trained run on its validation split again and rewrite its predictions and report.

    Args:
        path: Run directory.
        on_error: See `predict_split`.
        places: See `predict_split`.

    Returns:
        The report.

    Raises:
        RunError: If the run holds no trained model.
    """
    predictions, benchmark = predict_split(path, on_error=on_error, places=places)
    run = RunDirectory(path)
    report = make_report(predictions, benchmark)
    if run.report.is_file() and (floors := read_json(run.report).get(FLOORS)):
        report[FLOORS] = floors
    predictions.save(run.predictions)
    write_json(run.report, report)
    return report


def evaluate_horizons(
    path: Path, tau_a_s: Sequence[float], *, on_error: OnError | None = None, places: Places | None = None
) -> dict:
    """Evaluate a run at several anticipation times, and keep predictions and scores of each.

    Args:
        path: Run directory.
        tau_a_s: Anticipation times in seconds.
        on_error: See `predict_split`.
        places: See `predict_split`.

    Returns:
        The content of `horizons.json`: scores per anticipation time, and the time to action.

    Raises:
        RunError: If the run was not trained for anticipation.
    """
    run = RunDirectory(path).require()
    config = load_run_config(run.config)
    trained = build_protocol(config.protocol)
    if not isinstance(trained, AnticipationProtocol):
        raise RunError(f"{path}: trained for {trained.kind}; horizons need an anticipation run")
    tables, names = {}, set()
    for each_s in sorted(set(tau_a_s)):
        try:
            # RULSTM anticipates at each of the last steps of one window, so all horizons begin where that begins.
            protocol = trained.at_tau_a(each_s, keeps_start=config.model.name == "rulstm")
        except ValueError as err:
            raise ConfigError(f"--tau-a {each_s}: {err}") from err
        tables[each_s], benchmark = predict_split(path, protocol=protocol, on_error=on_error, places=places)
        tables[each_s].save(run.horizon_predictions(each_s))
        names.add(benchmark.name)
    scores = {f"{each_s:g}": score(table)["overall"] for each_s, table in tables.items()}
    skipped = merge_skipped(skipped_of(table.provenance) for table in tables.values())
    caveats = list(
        dict.fromkeys(text for table in tables.values() for text in caveats_of(table.protocol, [table.provenance]))
    )
    result: dict = {
        "benchmark": ", ".join(names),
        "is_benchmark": not (skipped or caveats),
        "trained_tau_a_s": trained.tau_a_s,
        "scores": scores,
        "time_to_action_s": times_to_action(list(tables.values()))["action"],
    }
    if skipped:
        result[SKIPPED] = skipped
    if caveats:
        result["caveat"] = ". ".join(caveats)
    write_json(run.horizons, result)
    return result
