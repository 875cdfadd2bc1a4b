"""The weights a network starts from, block by block, told in words."""

from __future__ import annotations

from pathlib import Path

from sgear.config.schema import InitConfig
from sgear.errors import RunError
from sgear.models import AnticipationModel
from sgear.models.blocks import CLASS_BLOCKS, copy_blocks
from sgear.models.encoders import FeatureEncoder
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
