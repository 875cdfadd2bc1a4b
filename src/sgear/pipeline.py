"""The steps of the project as plain functions: train, evaluate, prototypes. The command line only names them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from sgear.config.build import Asked, build_asked, build_data, build_protocol
from sgear.config.compose import load_run_config, save_config
from sgear.config.network import build_network, build_objective
from sgear.config.schema import ExperimentConfig, InitConfig
from sgear.data import RecognitionDataset
from sgear.data.unreadable import OnError
from sgear.datasets.benchmark import Benchmark
from sgear.errors import ConfigError, PredictionError, RunError
from sgear.models import AnticipationModel
from sgear.models.counted import CountedActions
from sgear.models.pretrained import TrainedModel, load_model, save_model
from sgear.models.rulstm import Rulstm
from sgear.predictions import Predictions, score
from sgear.predictions.caveats import caveats_of
from sgear.predictions.evaluated import evaluated_part
from sgear.predictions.horizons import score_horizons
from sgear.predictions.skipped import KEY, Skipped, merge_skipped, skipped_of, with_skipped
from sgear.prototypes import VisualPrototypes, choose_exemplars, class_means
from sgear.segments import UNKNOWN_ACTION, SegmentTable
from sgear.taxonomy import Field, Taxonomy
from sgear.timing import AnticipationProtocol, RecognitionProtocol, WindowProtocol
from sgear.training.checkpoints import list_checkpoints
from sgear.training.counting import ORACLE_CAVEAT, fit_by_counting
from sgear.training.evaluate import Outputs, run_model
from sgear.training.loop import fit, make_accelerator
from sgear.training.provenance import collect_provenance
from sgear.training.run import RunDirectory, read_json, write_json

Say = Callable[[str], None]


def silent(message: str) -> None:
    """Say nothing."""


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
    log_prior: torch.Tensor,
    provenance: dict[str, object],
) -> Predictions:
    """Score every segment asked for: the model where something can be seen, the class prior elsewhere.

    The probabilities of several views are averaged. A segment that could not be read in one of them gets the class
    prior too, and stands in the list of skipped segments of the provenance.

    Raises:
        SgearError: If a clip cannot be read and the samples stop at errors.
        RunError: If they go on at errors and no clip at all can be read.
    """
    protocol = asked.views[0].protocol
    if isinstance(model, Rulstm) and not isinstance(protocol, RecognitionProtocol):
        model.set_tau_a(protocol.tau_a_s)
    outputs = [run_model(model, view, accelerator, batch_size=batch_size) for view in asked.views]
    logits = _mean_of_views([output.logits for output in outputs])
    seen = asked.views[0].segments
    unreadable = {row: reason for output in reversed(outputs) for row, reason in output.unreadable.items()}
    is_unreadable = torch.tensor([row in unreadable for row in range(len(seen))], dtype=torch.bool)
    logits = torch.where(is_unreadable[:, None], log_prior, logits)
    blind_logits = log_prior.expand(len(asked.blind), -1)
    skipped = {asked.split: {seen.uids[row]: unreadable[row] for row in sorted(unreadable)}}
    predictions = Predictions(
        uids=(*seen.uids, *asked.blind.uids),
        logits=torch.cat([logits, blind_logits]).numpy().astype(np.float32),
        verb_logits=_field_logits(outputs, "verb", log_prior, taxonomy, is_unreadable, len(asked.blind)),
        noun_logits=_field_logits(outputs, "noun", log_prior, taxonomy, is_unreadable, len(asked.blind)),
        targets=np.concatenate([seen.column("action_id"), asked.blind.column("action_id")]),
        taxonomy=taxonomy,
        protocol=asked.views[0].protocol.to_dict(),
        provenance=with_skipped(provenance, skipped)
        | {"split": asked.split, "num_from_prior": len(asked.blind), "num_unreadable": len(unreadable)},
    )
    return predictions.aligned_to(tuple(asked.segments.uids))


def _field_logits(
    outputs: list[Outputs],
    field: Field,
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
    seen = torch.where(is_unreadable[:, None], log_prior, _mean_of_views(heads))
    return torch.cat([seen, log_prior.expand(num_blind, -1)]).numpy().astype(np.float32)


def _mean_of_views(logits: list[torch.Tensor]) -> torch.Tensor:
    if len(logits) == 1:
        return logits[0]
    return torch.stack([view.softmax(dim=-1) for view in logits]).mean(dim=0).log()


def open_run(config: ExperimentConfig) -> RunDirectory:
    """Return the directory of a new run, or of one to go on with.

    Raises:
        RunError: If a run of this name exists, or there is nothing to go on with.
        ConfigError: If the settings are not those of the run to go on with.
    """
    run = RunDirectory(Path(config.output_root) / config.name)
    has_state = bool(list_checkpoints(run.checkpoints)) or run.model.is_dir()
    if has_state and not config.runtime.resume:
        raise RunError(
            f"{run.path}: a run of this name exists; go on with runtime.resume=true, choose another name=..., or "
            "delete the folder"
        )
    if config.runtime.resume:
        _check_resumable(run, config)
    elif run.path.exists():
        # Nothing was saved here yet: what a run that died before its first checkpoint left behind.
        shutil.rmtree(run.path)
    return run


def _check_resumable(run: RunDirectory, config: ExperimentConfig) -> None:
    if not list_checkpoints(run.checkpoints):
        raise RunError(f"{run.path}: no checkpoint to resume from; start without runtime.resume=true")
    stored = load_run_config(run.config)
    # A run that stopped at a clip may go on without it; nothing else that it learns from changes.
    stored = replace(stored, source=replace(stored.source, on_error=config.source.on_error))
    for name in ("seed", "dataset", "protocol", "source", "model", "objective", "optim", "init"):
        if getattr(stored, name) != getattr(config, name):
            raise ConfigError(
                f"{run.path}: cannot resume, {name} was {getattr(stored, name)} and is now {getattr(config, name)}"
            )


def train_run(config: ExperimentConfig, say: Say = silent) -> RunDirectory:
    """Train, evaluate and save one experiment.

    Args:
        config: The experiment.
        say: Receives progress in words.

    Returns:
        The run directory.

    Raises:
        SgearError: If data, settings or a run to start from are wrong; nothing is left half-written then.
    """
    run = open_run(config)
    data = build_data(config)
    say(
        f"{data.benchmark.name}: {len(data.train)} training clips "
        f"({len(data.benchmark.train) - len(data.train)} segments with nothing to see left out), "
        f"{len(data.benchmark.validation)} validation segments ({len(data.asked.blind)} of them from the class prior), "
        f"{data.benchmark.taxonomy.num_actions} actions"
    )
    model, notes = build_network(config, data)
    for note in notes:
        say(f"initialised {note}")
    inherited = _inherited(config.init)
    objective = build_objective(config, data)
    log_prior = class_prior(data.benchmark.train)
    provenance = collect_provenance() | {"name": config.name, "model": config.model.name, "seed": config.seed}
    if config.model.name == "last_action":
        provenance["caveat"] = ORACLE_CAVEAT
    if not config.runtime.resume:
        save_config(config, run.config)
        write_json(run.provenance, provenance)
    elif load_run_config(run.config).source.on_error != config.source.on_error:
        save_config(config, run.config)

    def evaluate(current: AnticipationModel, accelerator: Accelerator) -> dict[str, float]:
        table = predict(
            current,
            data.asked,
            data.benchmark.taxonomy,
            accelerator,
            batch_size=config.optim.batch_size,
            log_prior=log_prior,
            provenance={},
        )
        numbers = score(table)["overall"]["action"]
        return {name: value for name, value in numbers.items() if not name.startswith("num_")}

    if isinstance(model, CountedActions):
        result = fit_by_counting(model, data.train.segments, runtime=config.runtime, run=run)
    else:
        result = fit(
            model,
            objective,
            data.train,
            optim=config.optim,
            runtime=config.runtime,
            seed=config.seed,
            run=run,
            evaluate=evaluate,
        )
    skipped = merge_skipped([{"train": result.skipped}, inherited])
    if result.accelerator.is_main_process:
        write_json(run.provenance, with_skipped(read_json(run.provenance), skipped))
        trained = TrainedModel(
            model=result.model,
            config=config.model,
            taxonomy=data.benchmark.taxonomy,
            protocol=data.train.protocol,
            preprocessing=data.preprocessing,
            log_prior=log_prior,
        )
        save_model(trained, run.model)
    predictions = predict(
        result.model,
        data.asked,
        data.benchmark.taxonomy,
        result.accelerator,
        batch_size=config.optim.batch_size,
        log_prior=log_prior,
        provenance=with_skipped(read_json(run.provenance), skipped),
    )
    if result.accelerator.is_main_process:
        predictions.save(run.predictions)
        write_json(run.report, make_report(predictions, data.benchmark))
    return run


def _inherited(init: InitConfig) -> Skipped:
    """Return what could not be read when that was made from which a run starts; by its name, not by split."""
    runs = [RunDirectory(Path(name)) for name in (init.run, *init.branches) if name]
    missed = {run.name: skipped_of(read_json(run.provenance)) for run in runs if run.provenance.is_file()}
    reasons = {f"start from {name}": _by_uid(skipped) for name, skipped in missed.items()}
    if init.visual_prototypes:
        path = Path(init.visual_prototypes)
        reasons[f"start from {path.name}"] = VisualPrototypes.load(path).skipped
    return merge_skipped([reasons])


def _by_uid(skipped: Skipped) -> dict[str, str]:
    return {uid: reason for reasons in reversed(skipped.values()) for uid, reason in reasons.items()}


def make_report(predictions: Predictions, benchmark: Benchmark) -> dict:
    """Return the content of report.json: what was evaluated, under which protocol, and the scores.

    Args:
        predictions: Scores of the validation segments of `benchmark`, in any order.
        benchmark: The segments, their labels and subsets.

    Raises:
        PredictionError: If a segment is missing or extra, or the vocabulary or the true actions differ.
    """
    if predictions.taxonomy.digest != benchmark.taxonomy.digest:
        raise PredictionError(
            f"predictions of {predictions.taxonomy.num_actions} actions ({predictions.taxonomy.digest}), but "
            f"{benchmark.name} has {benchmark.taxonomy.num_actions} ({benchmark.taxonomy.digest})"
        )
    asked = benchmark.validation
    table = predictions.aligned_to(tuple(asked.uids))
    if not np.array_equal(table.targets, asked.column("action_id")):
        raise PredictionError(f"the true actions in the predictions are not those of {benchmark.name}")
    table, subsets = evaluated_part(table, benchmark.trained_action_mask, benchmark.subset_masks)
    skipped = skipped_of(table.provenance)
    report: dict = {
        "benchmark": benchmark.name,
        "protocol": table.protocol,
        "num_asked": len(asked),
        "num_evaluated": len(table),
        "num_from_prior": table.provenance.get("num_from_prior", 0),
        "is_benchmark": not skipped,
    }
    if skipped:
        report |= {"num_unreadable": table.provenance.get("num_unreadable", 0), KEY: skipped}
    if caveats := caveats_of(table.protocol, [table.provenance]):
        report |= {"caveat": ". ".join(caveats)}
    return report | {"scores": score(table, subsets=subsets, many_shot=benchmark.many_shot_ids)}


def predict_split(
    path: Path,
    *,
    split: str = "validation",
    protocol: WindowProtocol | None = None,
    on_error: OnError | None = None,
) -> tuple[Predictions, Benchmark]:
    """Run a trained model over a split.

    Args:
        path: Run directory.
        split: `validation`, `train`, or a test split of the data set.
        protocol: Another protocol than the one the run was trained for, e.g. another `tau_a_s`.
        on_error: Another setting of `source.on_error` than the run's.

    Raises:
        RunError: If the run holds no trained model, or the vocabulary of the data has changed.
        ConfigError: If there is no such split, or the window is longer than the model was built for.
    """
    run = RunDirectory(path).require()
    trained = load_model(run.model)
    config = load_run_config(run.config)
    if protocol is not None:
        config = replace(config, protocol=replace(config.protocol, **protocol.to_dict()))
    if on_error is not None:
        config = replace(config, source=replace(config.source, on_error=on_error))
    if build_protocol(config.protocol).num_steps > config.model.max_steps:
        raise ConfigError(f"{path}: {protocol} has more steps than the {config.model.max_steps} it was built for")
    benchmark, asked = build_asked(config, split)
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
        log_prior=trained.log_prior,
        provenance=read_json(run.provenance),
    )
    return predictions, benchmark


def evaluate_run(path: Path, *, on_error: OnError | None = None) -> dict:
    """Evaluate a trained run on its validation split again and rewrite its predictions and report.

    Args:
        path: Run directory.
        on_error: See `predict_split`.

    Returns:
        The report.

    Raises:
        RunError: If the run holds no trained model.
    """
    predictions, benchmark = predict_split(path, on_error=on_error)
    run = RunDirectory(path)
    report = make_report(predictions, benchmark)
    predictions.save(run.predictions)
    write_json(run.report, report)
    return report


def evaluate_horizons(path: Path, tau_a_s: Sequence[float], *, on_error: OnError | None = None) -> dict:
    """Evaluate a run at several anticipation times, and keep predictions and scores of each.

    Args:
        path: Run directory.
        tau_a_s: Anticipation times in seconds.
        on_error: See `predict_split`.

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
        tables[each_s], benchmark = predict_split(path, protocol=protocol, on_error=on_error)
        tables[each_s].save(run.horizon_predictions(each_s))
        names.add(benchmark.name)
    scores = {f"{each_s:g}": score(table)["overall"] for each_s, table in tables.items()}
    skipped = merge_skipped(skipped_of(table.provenance) for table in tables.values())
    result: dict = {
        "benchmark": ", ".join(names),
        "is_benchmark": not skipped,
        "trained_tau_a_s": trained.tau_a_s,
        "scores": scores,
        "time_to_action_s": score_horizons(list(tables.values()))["action"].time_to_action5_s,
    }
    if skipped:
        result[KEY] = skipped
    write_json(run.horizons, result)
    return result


def visual_prototypes(path: Path, out: Path, *, max_exemplars: int | None = None, seed: int = 0) -> VisualPrototypes:
    """Average the features of a recognition run over the training clips of each action, and write them.

    Args:
        path: Recognition run.
        out: File to write.
        max_exemplars: Largest number of clips of an action, drawn at random. Default: all.
        seed: Seed of that draw, and of the noise on prototypes without any relative.

    Raises:
        RunError: If the run was not a recognition run, holds no model, or the vocabulary of the data has changed.
    """
    run = RunDirectory(path).require()
    config = load_run_config(run.config)
    if config.protocol.kind != "recognition":
        raise RunError(f"{path}: trained for {config.protocol.kind}; visual prototypes need a recognition run")
    trained = load_model(run.model)
    data = build_data(config)
    taxonomy = data.benchmark.taxonomy
    if trained.taxonomy.digest != taxonomy.digest:
        raise RunError(
            f"{path}: trained on {trained.taxonomy.num_actions} actions ({trained.taxonomy.digest}), but the data now "
            f"has {taxonomy.num_actions} ({taxonomy.digest}); train the recognition run again"
        )
    train = data.train
    assert isinstance(train, RecognitionDataset)
    chosen = choose_exemplars(train.segments.column("action_id"), max_per_class=max_exemplars, seed=seed)
    clips = RecognitionDataset(
        train.segments.take(chosen),
        train.protocol,
        train.labels,
        train.source,
        seed=None,
        on_error=train.on_error,
    )
    accelerator = make_accelerator(config.runtime)
    model = trained.model.to(accelerator.device)
    outputs = run_model(model, clips, accelerator, batch_size=config.optim.batch_size)
    actions = torch.tensor(clips.segments.column("action_id"))
    actions[list(outputs.unreadable)] = UNKNOWN_ACTION
    missed = {clips.segments.uids[row]: reason for row, reason in outputs.unreadable.items()}
    skipped = _by_uid(merge_skipped([{"train": missed}, skipped_of(read_json(run.provenance))]))
    prototypes = class_means(outputs.aggregated.cpu(), actions, taxonomy, run=run.name, seed=seed, skipped=skipped)
    prototypes.save(out)
    return prototypes
