"""A fused RULSTM starts from branches that were trained one modality at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sgear.errors import RunError
from sgear.models.pretrained import TrainedModel
from sgear.models.rulstm import Rulstm
from sgear.taxonomy import Taxonomy


@torch.no_grad()
def copy_branches(model: Rulstm, trained: Sequence[TrainedModel], taxonomy: Taxonomy) -> None:
    """Copy one branch from each trained model, strictly; the weights of modality attention stay as they are.

    Args:
        model: Receives.
        trained: Models of a single modality, in the order of the modalities of `model`.
        taxonomy: Vocabulary of `model`.

    Raises:
        RunError: If number, kind, widths or vocabulary do not fit; gives both sides.
    """
    if len(trained) != len(model.branches):
        raise RunError(
            f"init.branches names {len(trained)} runs, but this model has {len(model.branches)} modalities "
            f"{model.widths}; name one run per modality, in that order"
        )
    for index, (branch, source) in enumerate(zip(model.branches, trained, strict=True)):
        if not isinstance(source.model, Rulstm) or len(source.model.branches) != 1:
            raise RunError(
                f"init.branches[{index}] is a {source.config.name} model"
                + (f" with modalities {source.model.widths}" if isinstance(source.model, Rulstm) else "")
                + "; a RULSTM run of one modality was expected"
            )
        if source.taxonomy.digest != taxonomy.digest:
            raise RunError(
                f"init.branches[{index}] knows {source.taxonomy.num_actions} actions ({source.taxonomy.digest}), this "
                f"data set has {taxonomy.num_actions} ({taxonomy.digest}); train the branch on this data set"
            )
        try:
            branch.load_state_dict(source.model.branches[0].state_dict(), strict=True)
        except RuntimeError as err:
            raise RunError(
                f"init.branches[{index}] reads features of width {source.model.widths[0]} with hidden_dim "
                f"{source.model.config.rulstm.hidden_dim}, this model's branch {model.widths[index]} with "
                f"{model.config.rulstm.hidden_dim}; order the runs as model.rulstm.modalities"
            ) from err
