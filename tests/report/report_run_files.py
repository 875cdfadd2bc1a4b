"""Run directories on disk, as training leaves them, without any training."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from report_examples import make_log, make_predictions

from sgear.datasets import Benchmark
from sgear.models import build_model, model_config
from sgear.models.config import DecoderConfig, EncoderConfig
from sgear.models.pretrained import Preprocessing, TrainedModel, save_model
from sgear.predictions import Predictions, score
from sgear.timing import protocol_from_dict
from sgear.training.run import RunDirectory, write_json


def write_run(
    path: Path, benchmark: Benchmark, *, model_name: str = "sgear", predictions: Predictions | None = None
) -> RunDirectory:
    run = RunDirectory(path)
    taxonomy = benchmark.taxonomy
    predictions = make_predictions(benchmark) if predictions is None else predictions
    config = model_config(
        name=model_name,
        width=32,
        max_steps=10,
        encoder=EncoderConfig(name="features", feature_dim=4),
        decoder=DecoderConfig(width=32, num_layers=1, num_heads=4),
    )
    trained = TrainedModel(
        model=build_model(config, num_actions=taxonomy.num_actions),
        config=config,
        taxonomy=taxonomy,
        protocol=protocol_from_dict(predictions.protocol),
        preprocessing=Preprocessing(kind="features"),
        log_prior=torch.zeros(taxonomy.num_actions),
    )
    save_model(trained, run.model)
    predictions.save(run.predictions)
    run.config.write_text("name: toy\n", encoding="utf-8")
    write_json(run.provenance, {"name": path.name, "seed": 0})
    report = {
        "benchmark": benchmark.name,
        "protocol": predictions.protocol,
        "num_asked": len(predictions),
        "num_evaluated": len(predictions),
        "num_from_prior": 0,
        "scores": score(predictions),
    }
    write_json(run.report, report)
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in make_log()), encoding="utf-8")
    return run
