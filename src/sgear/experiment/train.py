"""The steps of the project as plain functions: train, evaluate, prototypes. The command line only names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from sgear.data import RecognitionDataset
from sgear.datasets.own import OWN
from sgear.errors import ConfigError, RunError
from sgear.experiment.build import build_data, build_protocol, load_benchmark, load_features
from sgear.experiment.compose import load_run_config, save_config
from sgear.experiment.evaluate import FLOORS, class_prior, make_report, predict
from sgear.experiment.facts import data_record, learn_facts, require_same_data, require_same_starts
from sgear.experiment.floors import floors_of
from sgear.experiment.leakage import lineage_of_training, training_part
from sgear.experiment.moved import PLACES, Places, at_places
from sgear.experiment.network import build_network, build_objective
from sgear.experiment.schema import (
    AnnotationSourceConfig,
    DatasetConfig,
    ExperimentConfig,
    FeatureSourceConfig,
    InitConfig,
)
from sgear.experiment.settings import flatten
from sgear.experiment.sources import skipped_of_encoders
from sgear.experiment.starts import check_starts
from sgear.files import require_writable
from sgear.lineage import Lineage
from sgear.models import AnticipationModel, Baseline
from sgear.models.pretrained import WEIGHTS_FILE, TrainedModel, load_model, save_model
from sgear.predictions import score
from sgear.predictions.provenance import UNCHECKED, Skipped, merge_skipped, skipped_of, with_caveats, with_skipped
from sgear.prototypes import VisualPrototypes, choose_exemplars, class_means, class_means_of_features
from sgear.prototypes.language import digest_of_file
from sgear.segments import UNKNOWN_ACTION
from sgear.training.checkpoints import list_checkpoints
from sgear.training.evaluate import run_model
from sgear.training.loop import fit, learn_at_once, make_accelerator
from sgear.training.processes import is_main_process, others_answer
from sgear.training.run import RunDirectory, collect_provenance, read_json, require_one_protocol, write_json

Say = Callable[[str], None]


def silent(message: str) -> None:
    """Say nothing."""


def resolved(config: ExperimentConfig) -> ExperimentConfig:
    """Return the settings with `runtime.resume=auto` decided: go on where there is a checkpoint, else start."""
    if config.runtime.resume != "auto":
        return config
    has_state = bool(list_checkpoints(RunDirectory(Path(config.output_root) / config.name).checkpoints))
    return replace(config, runtime=replace(config.runtime, resume=has_state))


@contextmanager
def open_run(config: ExperimentConfig, *, trains: bool = True) -> Iterator[RunDirectory]:
    """Hold the directory of a new run, or of one to go on with, as the only process that writes it.

    Args:
        config: The experiment.
        trains: Whether the command trains, so that there may be something to go on with.

    Raises:
        RunError: If a run of this name exists or is being written, or there is nothing to go on with.
        WriteError: If nothing can be written there.
        ConfigError: If the settings are not those of the run to go on with.
    """
    name = Path(config.name)
    if not config.name.strip() or name.is_absolute() or ".." in name.parts or name == Path("."):
        raise ConfigError(f"name={config.name!r} must be the name of a folder under output_root={config.output_root}")
    run = RunDirectory(Path(config.output_root) / name)
    require_writable(run.config)
    with run.held() as held:
        _prepare(held, config, trains=trains)
        yield held


def _prepare(run: RunDirectory, config: ExperimentConfig, *, trains: bool) -> None:
    has_state = bool(list_checkpoints(run.checkpoints)) or run.model.is_dir()
    if has_state and not config.runtime.resume:
        go_on = "go on with runtime.resume=true, " if trains else ""
        raise RunError(f"{run.path}: a run of this name exists; {go_on}choose another name=..., or delete the folder")
    if config.runtime.resume:
        _check_resumable(run, config)
        if is_main_process():
            run.remove_partials()
    elif run.path.exists() and is_main_process():
        run.clear()


def _check_resumable(run: RunDirectory, config: ExperimentConfig) -> None:
    if not list_checkpoints(run.checkpoints):
        raise RunError(f"{run.path}: no checkpoint to resume from; start without runtime.resume=true")
    stored = load_run_config(run.config)
    # A run that stopped at a clip may go on without it; nothing else that it learns from changes.
    stored = replace(stored, source=replace(stored.source, on_error=config.source.on_error))
    before, now = flatten(stored), flatten(config)
    # What lies at these places is checked against what lay there once it has been opened.
    places = PLACES if run.data.is_file() else ()
    parts = ("seed", "dataset", "protocol", "source", "model", "objective", "optim", "init")
    asked = [key for key in now if key.partition(".")[0] in parts and key not in places]
    changed = [key for key in asked if before[key] != now[key]]
    if changed:
        shown = "; ".join(f"{key} was {before[key]!r} and is now {now[key]!r}" for key in changed[:3])
        more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise ConfigError(
            f"{run.path}: cannot resume with other settings: {shown}{more}; give the same, or another name="
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
    config = resolved(config)
    with open_run(config) as run, others_answer():
        _train(run, config, say)
    return run


def _train(run: RunDirectory, config: ExperimentConfig, say: Say) -> None:
    check_starts(config)
    data = build_data(config)
    if config.runtime.resume:
        require_same_data(run, config, data.benchmark, data.asked.facts)
        require_same_starts(run, config)
    say(
        f"{data.benchmark.name}: {len(data.train)} training clips "
        f"({len(data.benchmark.train) - len(data.train)} segments with nothing to see left out), "
        f"{len(data.benchmark.validation)} validation segments ({len(data.asked.blind)} of them from the class prior), "
        f"{data.benchmark.taxonomy.num_actions} actions"
    )
    network = build_network(config, data)
    model, unchecked = network.model, network.unchecked
    for note in network.notes:
        say(f"initialised {note}")
    for note in unchecked:
        say(f"not checked: {note}")
    inherited = merge_skipped([inherited_skips(config.init), skipped_of_encoders(data.features)])
    lineage = lineage_of_training(config, data.benchmark, data.features, data.asked.facts.contents)
    objective = build_objective(config, data)
    log_prior = class_prior(data.benchmark.train)
    provenance = collect_provenance() | {"name": config.name, "model": config.model.name, "seed": config.seed}
    provenance = with_caveats(provenance, [*_oracle(config, model), *data.asked.facts.caveats])
    if unchecked:
        provenance[UNCHECKED] = unchecked
    if is_main_process():
        _write_settings(run, config, provenance)
        write_json(run.data, data_record(config, data.benchmark, data.asked.facts, run))

    def evaluate(current: AnticipationModel, accelerator: Accelerator) -> dict[str, float]:
        table = predict(
            current,
            data.asked,
            data.benchmark.taxonomy,
            accelerator,
            batch_size=config.optim.batch_size,
            num_workers=config.runtime.num_workers,
            log_prior=log_prior,
            provenance={},
        )
        numbers = score(table)["overall"]["action"]
        return {name: value for name, value in numbers.items() if not name.startswith("num_")}

    if isinstance(model, Baseline):
        result = learn_at_once(model, data.train, data.benchmark.train, runtime=config.runtime, run=run)
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
            say=say,
        )
    skipped = merge_skipped([{"train": result.skipped}, inherited])
    if result.accelerator.is_main_process:
        run.require_held()
        write_json(run.provenance, with_skipped(read_json(run.provenance), skipped))
        trained = TrainedModel(
            model=result.model,
            config=config.model,
            taxonomy=data.benchmark.taxonomy,
            protocol=data.train.protocol,
            preprocessing=data.preprocessing,
            log_prior=log_prior,
            lineage=lineage,
        )
        save_model(trained, run.model)
    predictions = predict(
        result.model,
        data.asked,
        data.benchmark.taxonomy,
        result.accelerator,
        batch_size=config.optim.batch_size,
        num_workers=config.runtime.num_workers,
        log_prior=log_prior,
        provenance=with_skipped(read_json(run.provenance), skipped),
    )
    floors = {}
    if config.dataset.name == OWN:
        floors = floors_of(config, data, result.accelerator, log_prior=log_prior)
    if result.accelerator.is_main_process:
        predictions.save(run.predictions)
        write_json(run.report, make_report(predictions, data.benchmark) | ({FLOORS: floors} if floors else {}))
    result.accelerator.wait_for_everyone()


def _oracle(config: ExperimentConfig, model: AnticipationModel) -> list[str]:
    """Return why the numbers of a model that reads annotations are no benchmark numbers."""
    if isinstance(model, Baseline):
        return [model.caveat] if model.caveat else []
    if not isinstance(config.source, AnnotationSourceConfig):
        return []
    seen = "with mistakes drawn into it" if config.source.noise or config.source.noise_from else "without any mistake"
    return [
        f"the model reads the ANNOTATED past ({seen}), which no model that watches a video knows: an oracle of the "
        "past, to study heads and prototypes with and not to submit"
    ]


def _write_settings(run: RunDirectory, config: ExperimentConfig, provenance: dict[str, object]) -> None:
    if not config.runtime.resume:
        save_config(config, run.config)
        write_json(run.provenance, provenance)
    elif load_run_config(run.config) != config:
        save_config(config, run.config)


def inherited_skips(init: InitConfig) -> Skipped:
    """Return what could not be read when that was made from which a run starts; by its name, not by split."""
    runs = [RunDirectory(Path(name)) for name in (init.run, *init.branches) if name]
    # One by one: branches of different parents may have one name.
    found = [
        {f"start from {run.name}": _by_uid(skipped_of(read_json(run.provenance)))}
        for run in runs
        if run.provenance.is_file()
    ]
    if init.visual_prototypes:
        path = Path(init.visual_prototypes)
        found.append({f"start from {path.name}": VisualPrototypes.load(path).skipped})
    return merge_skipped(found)


def _by_uid(skipped: Skipped) -> dict[str, str]:
    return {uid: reason for reasons in reversed(skipped.values()) for uid, reason in reasons.items()}


def visual_prototypes(
    path: Path, out: Path, *, max_exemplars: int | None = None, seed: int = 0, places: Places | None = None
) -> VisualPrototypes:
    """Average the features of a recognition run over the training clips of each action, and write them.

    Args:
        path: Recognition run.
        out: File to write.
        max_exemplars: Largest number of clips of an action, drawn at random. Default: all.
        seed: Seed of that draw, and of the noise on prototypes without any relative.
        places: Where the data of the run lie now. Default: where its configuration says.

    Raises:
        RunError: If the run was not a recognition run, holds no model, or the data are not those that it was made on.
        WriteError: If the file cannot be written; nothing is computed then.
    """
    require_writable(out)
    run = RunDirectory(path).require()
    config = at_places(load_run_config(run.config), places or Places())
    if config.protocol.kind != "recognition":
        raise RunError(f"{path}: trained for {config.protocol.kind}; visual prototypes need a recognition run")
    trained = load_model(run.model)
    stated = build_protocol(config.protocol).to_dict()
    require_one_protocol(path, {run.config.name: stated, "the model": trained.protocol.to_dict()})
    data = build_data(config)
    require_same_data(run, config, data.benchmark, data.asked.facts)
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
    outputs = run_model(
        model, clips, accelerator, batch_size=config.optim.batch_size, num_workers=config.runtime.num_workers
    )
    actions = torch.tensor(clips.segments.column("action_id"))
    actions[list(outputs.unreadable)] = UNKNOWN_ACTION
    missed = {clips.segments.uids[row]: reason for row, reason in outputs.unreadable.items()}
    skipped = _by_uid(merge_skipped([{"train": missed}, skipped_of(read_json(run.provenance))]))
    exemplars = Lineage(parts=(training_part(config.dataset, clips.segments, data.asked.facts.contents),))
    prototypes = class_means(
        outputs.aggregated.cpu(),
        actions,
        taxonomy,
        run=run.name,
        seed=seed,
        skipped=skipped,
        lineage=exemplars.joined_with([trained.lineage]),
        provenance={
            "path": str(run.path.absolute()),
            "weights": digest_of_file(run.model / WEIGHTS_FILE),
            "max_exemplars": max_exemplars,
            "seed": seed,
        },
    )
    prototypes.save(out)
    return prototypes


def visual_prototypes_of_features(
    dataset: DatasetConfig, features: str, out: Path, *, max_exemplars: int | None = None, seed: int = 0
) -> VisualPrototypes:
    """Average stored features over the training segments of each action, without any model, and write them.

    Args:
        dataset: Data set, with its split and fold.
        features: Name of the features; see `source.features`.
        out: File to write.
        max_exemplars: Largest number of segments of an action, drawn at random. Default: all.
        seed: Seed of that draw, and of the noise on prototypes without any relative.

    Raises:
        SgearError: If data set or features are missing or damaged, or there is nothing to average.
        WriteError: If the file cannot be written; nothing is computed then.
    """
    require_writable(out)
    config = ExperimentConfig(dataset=dataset, source=FeatureSourceConfig(features=features))
    benchmark = load_benchmark(dataset)
    train, table = benchmark.train, load_features(config)
    part = training_part(dataset, train, learn_facts(config, benchmark, train.video_ids, features=table).contents)
    prototypes = class_means_of_features(
        table,
        train,
        origin=f"features {features} of {part.name}",
        max_exemplars=max_exemplars,
        seed=seed,
        lineage=Lineage(parts=(part,)),
    )
    prototypes.save(out)
    return prototypes
