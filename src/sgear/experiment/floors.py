"""What a model on own data must beat: class frequencies, and where features are read, two regressions on them.

Small data sets are learned by heart in silence; a number without a floor beside it does not show that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from sgear.data.dataset import Sample
from sgear.experiment.build import Data
from sgear.experiment.evaluate import predict
from sgear.experiment.schema import ExperimentConfig, FeatureSourceConfig
from sgear.metrics import metrics
from sgear.models import Baseline, EncoderConfig, build_model, model_class
from sgear.predictions import Predictions, score
from sgear.timing import RecognitionProtocol

MOST_CLIPS = 5_000
"""Above, a regression would take longer than the model it is to judge."""
_OF_FEATURES = ("last_recognised", "pooled")


def floors_of(
    config: ExperimentConfig, data: Data, accelerator: Accelerator, *, log_prior: torch.Tensor
) -> dict[str, dict[str, float]]:
    """Return the scores of actions [0, 1] of each baseline, by its name and metric; none for recognition.

    Args:
        config: The experiment.
        data: Its samples.
        accelerator: Machine.
        log_prior: Logarithm of the class prior [A].
    """
    if isinstance(data.train.protocol, RecognitionProtocol):
        return {}
    segments = data.benchmark.validation
    tables = {
        "frequency": Predictions(
            uids=tuple(segments.uids),
            logits=np.tile(log_prior.numpy().astype(np.float32), (len(segments), 1)),
            targets=segments.column("action_id"),
            taxonomy=data.benchmark.taxonomy,
            protocol=data.train.protocol.to_dict(),
            provenance={},
        )
    }
    # One class alone cannot be told from others.
    num_classes = int((data.train.segments.action_counts() > 0).sum())
    reads = isinstance(config.source, FeatureSourceConfig) and len(data.train) <= MOST_CLIPS and num_classes > 1
    for name in _OF_FEATURES if reads else ():
        tables[name] = predict(
            _learned(name, config, data).to(accelerator.device).eval(),
            data.asked,
            data.benchmark.taxonomy,
            accelerator,
            batch_size=config.optim.batch_size,
            num_workers=0,
            log_prior=log_prior,
            provenance={},
        )
    scores = {name: score(table)["overall"]["action"] for name, table in tables.items()}
    return {
        name: {metric: float(each[metric]) for metric in metrics() if metric in each} for name, each in scores.items()
    }


def _learned(name: str, config: ExperimentConfig, data: Data) -> Baseline:
    kind: Any = model_class(name).Config
    encoder = EncoderConfig(name="features", feature_dim=config.model.encoder.feature_dim)
    taxonomy = data.benchmark.taxonomy
    model = build_model(
        kind(name=name, max_steps=config.model.max_steps, encoder=encoder),
        num_actions=taxonomy.num_actions,
        num_verbs=len(taxonomy.verbs),
        num_nouns=len(taxonomy.nouns),
    )
    assert isinstance(model, Baseline)  # the names above
    model.learn(_readable(data), data.benchmark.train)
    return model


def _readable(data: Data) -> Iterator[Mapping[str, Any]]:
    people = data.train.segments.column("participant_id")
    for index in range(len(data.train)):
        sample: Sample = data.train[index]
        if not sample["unreadable"]:
            yield {**sample, "participant_id": people[index]}
