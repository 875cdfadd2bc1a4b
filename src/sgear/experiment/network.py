"""Configuration -> model with its starting weights, and objective."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sgear.data.dataset import checked_on_error
from sgear.errors import ConfigError, RunError
from sgear.experiment.build import Data, row_labels
from sgear.experiment.leakage import require_unseen
from sgear.experiment.schema import ExperimentConfig, InitConfig
from sgear.experiment.sources import readable_videos, require_in_memory
from sgear.experiment.starts import start_from_weights
from sgear.features.frame_classes import fit_frame_classifier
from sgear.losses import Objective
from sgear.models import AnticipationModel, build_model
from sgear.models.blocks import CLASS_BLOCKS, copy_blocks, copy_branches, freeze_blocks
from sgear.models.class_vectors import describe_classes
from sgear.models.encoders import FeatureEncoder, TimmEncoder, VideoEncoder
from sgear.models.pretrained import load_model
from sgear.models.rulstm import Rulstm
from sgear.models.sgear import SGear
from sgear.prototypes import LanguagePrototypes, VisualPrototypes, cosine_relations
from sgear.prototypes.geometry import fit_width
from sgear.taxonomy import Taxonomy
from sgear.training.run import RunDirectory


def start_from_run(model: AnticipationModel, init: InitConfig, taxonomy: Taxonomy) -> list[str]:
    """Copy `init.blocks` of the run `init.run` into a model.

    Returns:
        What was loaded, what keeps its own start values, and what of the run was not used; one line each.

    Raises:
        RunError: If a block does not exist or fit, or its rows belong to the classes of another vocabulary.
    """
    trained = load_model(RunDirectory(Path(init.run)).require().model)
    encoder = getattr(model, "encoder", None)
    reads_classes = isinstance(encoder, FeatureEncoder) and encoder.recogniser is not None
    per_class = (*CLASS_BLOCKS, "encoder") if reads_classes else CLASS_BLOCKS
    bound = [block for block in init.blocks if block in per_class]
    if bound and trained.taxonomy.digest != taxonomy.digest:
        raise RunError(
            f"init.blocks: {', '.join(bound)} of {init.run} belong to a vocabulary of {trained.taxonomy.num_actions} "
            f"actions (digest {trained.taxonomy.digest}), but the data has {taxonomy.num_actions} (digest "
            f"{taxonomy.digest}); leave these blocks out or start from a run on the same classes"
        )
    return copy_blocks(model, trained.model, init.blocks).lines(init.run)


def check_frozen_map(model: AnticipationModel, init: InitConfig) -> None:
    """Refuse to freeze the map from the width of a ViT to the width of the model where nothing has trained it.

    Raises:
        ConfigError: Gives both widths and the remedy.
    """
    encoder = getattr(model, "encoder", None)
    if "encoder" not in init.freeze or not isinstance(encoder, TimmEncoder):
        return
    is_copied = "encoder" in init.blocks or (bool(init.weights) and not init.blocks)
    if isinstance(encoder.project, nn.Linear) and not is_copied:
        raise ConfigError(
            f"init.freeze=[encoder] would freeze encoder.project, the map from the {encoder.project.in_features} "
            f"numbers of the ViT to the {encoder.project.out_features} of the model, at its random start; set "
            f"model.width={encoder.project.in_features}, which needs no map, or copy a trained encoder with init.run"
        )


@dataclass(frozen=True)
class Network:
    """A model with its starting weights.

    Args:
        model: The model.
        notes: One line per thing it was initialised from.
        unchecked: One line per start of which it is not known whether it was learnt from held-out videos.
    """

    model: AnticipationModel
    notes: list[str]
    unchecked: list[str]


def build_network(config: ExperimentConfig, data: Data) -> Network:
    """Build the model with its starting weights, none of which may know what is held out.

    Raises:
        ConfigError: If a setting does not fit, or a start was learnt from held-out videos.
        SgearError: If something to start from is missing, damaged or does not fit.
    """
    unchecked = require_unseen(config, data.benchmark, data.features, data.asked.facts.contents)
    taxonomy = data.benchmark.taxonomy
    notes: list[str] = []
    torch.manual_seed(config.seed)
    model = build_model(
        config.model,
        num_actions=taxonomy.num_actions,
        num_verbs=len(taxonomy.verbs),
        num_nouns=len(taxonomy.nouns),
    )
    notes += _describe_classes(model, config, taxonomy)
    encoder = getattr(model, "encoder", None)
    # Before the statistics of the features at hand, which no published checkpoint holds.
    if config.init.weights:
        notes += start_from_weights(model, config.init, config.model, taxonomy)
    if isinstance(encoder, VideoEncoder):
        notes += encoder.loaded
    if data.features is not None and isinstance(encoder, FeatureEncoder):
        on_error = checked_on_error(config.source.on_error)
        video_ids = readable_videos(data.features, data.benchmark.train.video_ids, on_error=on_error)
        encoder.feature_scale.copy_(torch.from_numpy(data.features.standard_deviation(video_ids)))
        if encoder.recogniser is not None:
            table = require_in_memory(data.features, "model.encoder.recogniser=true")
            rows = np.concatenate([table[name].features for name in video_ids])
            actions = np.concatenate(list(row_labels(table, data.train.labels, video_ids).values()))
            encoder.recogniser.set_fitted(fit_frame_classifier(rows, actions, num_actions=taxonomy.num_actions))
            notes.append(f"encoder: a frame recogniser fitted to {len(rows)} rows of {len(video_ids)} training videos")
    if config.init.run:
        notes += start_from_run(model, config.init, taxonomy)
    if config.init.branches and isinstance(model, Rulstm):
        branches = [load_model(RunDirectory(Path(run)).require().model) for run in config.init.branches]
        copy_branches(model, branches, taxonomy)
        notes += [f"branch {index}: from {run}" for index, run in enumerate(config.init.branches)]
    if config.init.visual_prototypes and isinstance(model, SGear):
        path = Path(config.init.visual_prototypes)
        visual = VisualPrototypes.load(path, taxonomy)
        model.bank.set_visual(visual.vectors)
        num_filled = int((visual.num_exemplars == 0).sum())
        notes.append(f"prototypes: {len(visual.vectors)} visual ones from {path}, {num_filled} made from siblings")
    if config.init.language_as_visual and isinstance(model, SGear):
        path = Path(config.init.language_prototypes)
        language = LanguagePrototypes.load(path, taxonomy)
        model.bank.set_visual(fit_width(language.vectors, config.model.width))
        notes.append(f"prototypes: language ones from {path} in the place of visual ones")
    check_frozen_map(model, config.init)
    return Network(model, notes + freeze_blocks(model, config.init.freeze), unchecked)


def _describe_classes(model: AnticipationModel, config: ExperimentConfig, taxonomy: Taxonomy) -> list[str]:
    """Say to composed class vectors what the classes are made of."""
    texts = None
    if config.init.language_prototypes:
        texts = LanguagePrototypes.load(Path(config.init.language_prototypes), taxonomy).vectors
    verbs, nouns = torch.from_numpy(taxonomy.verb_of_action), torch.from_numpy(taxonomy.noun_of_action)
    describe_classes(model, verbs, nouns, texts)
    composition = getattr(getattr(config.model, "prototypes", None), "composition", "free")
    return [] if composition == "free" else [f"class vectors: composed of {composition}"]


def build_objective(config: ExperimentConfig, data: Data) -> Objective:
    """Build the objective, with the geometry of the language prototypes where it is needed."""
    taxonomy, relations = data.benchmark.taxonomy, None
    if config.init.language_prototypes:
        path = Path(config.init.language_prototypes)
        relations = cosine_relations(LanguagePrototypes.load(path, taxonomy).vectors)
    return Objective(
        config.objective,
        relations,
        counts=torch.from_numpy(data.benchmark.train.action_counts()),
        verb_of_action=torch.from_numpy(taxonomy.verb_of_action),
        noun_of_action=torch.from_numpy(taxonomy.noun_of_action),
    )
