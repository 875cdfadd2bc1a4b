"""The steps of the project as plain functions: train, evaluate, prototypes. The command line only names them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from sgear.config.build import Data, build_data, build_network, build_objective
from sgear.config.compose import load_run_config, save_config
from sgear.config.schema import ExperimentConfig
from sgear.data import RecognitionDataset, WindowDataset
from sgear.errors import ConfigError, RunError
from sgear.models import AnticipationModel
from sgear.models.pretrained import TrainedModel, load_model, save_model
from sgear.predictions import Predictions, score
from sgear.prototypes import VisualPrototypes, class_means
from sgear.segments import SegmentTable
from sgear.training.checkpoints import list_checkpoints
from sgear.training.evaluate import run_model
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
    data: Data,
    accelerator: Accelerator,
    *,
    batch_size: int,
    log_prior: torch.Tensor,
    provenance: dict[str, object],
) -> Predictions:
    """Score every validation segment: the model where something can be seen, the class prior elsewhere."""
    outputs = run_model(model, data.validation, accelerator, batch_size=batch_size)
    seen = data.validation.segments
    blind_logits = log_prior.expand(len(data.blind), -1)
    predictions = Predictions(
        uids=(*seen.uids, *data.blind.uids),
        logits=torch.cat([outputs.logits, blind_logits]).numpy().astype(np.float32),
        targets=np.concatenate([seen.column("action_id"), data.blind.column("action_id")]),
        taxonomy=data.benchmark.taxonomy,
        protocol=_protocol_of(data.validation).to_dict(),
        provenance={**provenance, "num_from_prior": len(data.blind)},
    )
    return predictions.aligned_to(tuple(data.benchmark.validation.uids))


def _protocol_of(dataset: WindowDataset):
    return dataset.protocol  # type: ignore[attr-defined]


def _open_run(config: ExperimentConfig) -> RunDirectory:
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
    run = _open_run(config)
    data = build_data(config)
    say(
        f"{data.benchmark.name}: {len(data.train)} training clips "
        f"({len(data.benchmark.train) - len(data.train)} segments with nothing to see left out), "
        f"{len(data.benchmark.validation)} validation segments ({len(data.blind)} of them from the class prior), "
        f"{data.benchmark.taxonomy.num_actions} actions"
    )
    model, notes = build_network(config, data)
    for note in notes:
        say(f"initialised {note}")
    objective = build_objective(config, data)
    log_prior = class_prior(data.benchmark.train)
    provenance = collect_provenance() | {"name": config.name, "model": config.model.name, "seed": config.seed}
    if not config.runtime.resume:
        save_config(config, run.config)
        write_json(run.provenance, provenance)

    def evaluate(current: AnticipationModel, accelerator: Accelerator) -> dict[str, float]:
        table = predict(
            current,
            data,
            accelerator,
            batch_size=config.optim.batch_size,
            log_prior=log_prior,
            provenance={},
        )
        return {name: value for name, value in score(table)["action"].items() if name != "num_samples"}

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
    if result.accelerator.is_main_process:
        trained = TrainedModel(
            model=result.model,
            config=config.model,
            taxonomy=data.benchmark.taxonomy,
            protocol=_protocol_of(data.train),
            preprocessing=data.preprocessing,
            log_prior=log_prior,
        )
        save_model(trained, run.model)
    _evaluate_into(run, result.model, data, result.accelerator, config, log_prior)
    return run


def _evaluate_into(
    run: RunDirectory,
    model: AnticipationModel,
    data: Data,
    accelerator: Accelerator,
    config: ExperimentConfig,
    log_prior: torch.Tensor,
) -> dict:
    predictions = predict(
        model,
        data,
        accelerator,
        batch_size=config.optim.batch_size,
        log_prior=log_prior,
        provenance=read_json(run.provenance),
    )
    if len(predictions) != len(data.benchmark.validation):
        raise RunError(f"{len(predictions)} of {len(data.benchmark.validation)} segments were evaluated")
    report = {
        "benchmark": data.benchmark.name,
        "protocol": predictions.protocol,
        "num_asked": len(data.benchmark.validation),
        "num_evaluated": len(predictions),
        "num_from_prior": len(data.blind),
        "scores": score(predictions, data.benchmark.subset_masks),
    }
    predictions.save(run.predictions)
    write_json(run.report, report)
    return report


def evaluate_run(path: Path) -> dict:
    """Evaluate a trained run on its validation split again and rewrite its predictions and report.

    Returns:
        The report.

    Raises:
        RunError: If the run holds no trained model.
    """
    run = RunDirectory(path).require()
    trained = load_model(run.model)
    config = load_run_config(run.config)
    data = build_data(config)
    if trained.taxonomy.digest != data.benchmark.taxonomy.digest:
        raise RunError(
            f"{path}: trained on {trained.taxonomy.num_actions} actions ({trained.taxonomy.digest}), but the data now "
            f"has {data.benchmark.taxonomy.num_actions} ({data.benchmark.taxonomy.digest})"
        )
    accelerator = make_accelerator(config.runtime)
    model = trained.model.to(accelerator.device)
    return _evaluate_into(run, model, data, accelerator, config, trained.log_prior)


def visual_prototypes(path: Path, out: Path) -> VisualPrototypes:
    """Average the features of a recognition run over the training clips of each action, and write them.

    Args:
        path: Recognition run.
        out: File to write.

    Raises:
        RunError: If the run was not a recognition run or holds no model.
    """
    run = RunDirectory(path).require()
    config = load_run_config(run.config)
    if config.protocol.kind != "recognition":
        raise RunError(f"{path}: trained for {config.protocol.kind}; visual prototypes need a recognition run")
    trained = load_model(run.model)
    data = build_data(config)
    assert isinstance(data.train, RecognitionDataset)
    clips = RecognitionDataset(
        data.train.segments, data.train.protocol, data.train.labels, data.train.source, seed=None
    )
    accelerator = make_accelerator(config.runtime)
    model = trained.model.to(accelerator.device)
    outputs = run_model(model, clips, accelerator, batch_size=config.optim.batch_size)
    actions = torch.tensor(clips.segments.column("action_id"))
    prototypes = class_means(outputs.aggregated.cpu(), actions, data.benchmark.taxonomy, run=run.name)
    prototypes.save(out)
    return prototypes
