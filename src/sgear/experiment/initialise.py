"""The weights a network starts from, block by block, told in words."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sgear.errors import ConfigError, RunError
from sgear.experiment.schema import InitConfig
from sgear.models import AnticipationModel
from sgear.models.blocks import CLASS_BLOCKS, copy_blocks
from sgear.models.encoders import FeatureEncoder, TimmEncoder
from sgear.models.pretrained import load_model
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
