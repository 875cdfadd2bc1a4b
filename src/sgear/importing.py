"""Published weights -> a run directory like that of a training, so that all other commands work on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sgear.errors import ConfigError
from sgear.experiment.build import build_preprocessing, build_protocol, load_benchmark
from sgear.experiment.compose import save_config
from sgear.experiment.evaluate import class_prior
from sgear.experiment.facts import VideoFacts, data_record
from sgear.experiment.leakage import published_lineage
from sgear.experiment.schema import ExperimentConfig, InitConfig
from sgear.experiment.starts import published_model
from sgear.experiment.train import open_run
from sgear.models.pretrained import TrainedModel, save_model
from sgear.training.run import RunDirectory, collect_provenance, write_json


def import_weights(
    config: ExperimentConfig, file: Path, *, class_names: str, say: Callable[[str], None]
) -> RunDirectory:
    """Make the run directory of an experiment from a published checkpoint of S-GEAR, AVT or RULSTM, without training.

    Needed are the annotations alone: for the vocabulary and the class prior. Videos or features are read by
    `sgear evaluate`.

    Args:
        config: The experiment, with the sizes of the checkpoint. What it would start a training from is replaced.
        file: The checkpoint; nothing in it is executed.
        class_names: Order of its classes; see `sgear.experiment.starts.read_class_order`.
        say: Receives the summary: what was loaded, missing and unexpected.

    Returns:
        The run directory: configuration, provenance with the name and SHA-256 of the file, an empty log, the model.

    Raises:
        SgearError: If file, sizes, classes or settings do not fit; nothing is written then.
    """
    if config.runtime.resume:
        raise ConfigError("runtime.resume=true has no effect: importing weights trains nothing; remove it")
    protocol = build_protocol(config.protocol)
    if protocol.num_steps > config.model.max_steps:
        raise ConfigError(
            f"the protocol gives {protocol.num_steps} steps, but model.max_steps={config.model.max_steps}"
        )
    benchmark = load_benchmark(config.dataset)
    taxonomy = benchmark.taxonomy
    published = published_model(file, config.model, taxonomy, class_names=class_names)
    trained = TrainedModel(
        model=published.model,
        config=config.model,
        taxonomy=taxonomy,
        protocol=protocol,
        preprocessing=build_preprocessing(config),
        log_prior=class_prior(benchmark.train),
        lineage=published_lineage(file),
    )
    lines = published.lines()
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    provenance = collect_provenance() | {
        "name": config.name,
        "model": config.model.name,
        "seed": config.seed,
        "weights": {"file": file.name, "sha256": digest, "class_names": class_names, "summary": "; ".join(lines)},
    }
    init = InitConfig(weights=str(file), class_names=class_names)
    with open_run(config, trains=False) as run:
        save_config(replace(config, init=init), run.config)
        write_json(run.provenance, provenance)
        # Videos and features are not at hand yet.
        write_json(run.data, data_record(config, benchmark, VideoFacts(), run))
        run.metrics.write_text("", encoding="utf-8")
        save_model(trained, run.model)
    for line in (f"{file}: sha256 {digest}", *lines):
        say(line)
    return run
