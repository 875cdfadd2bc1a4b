"""Starting and freezing a model block by block: whole blocks, strictly, and nothing silently left out.

A block is one part of a model under its own name: `encoder`, `temporal_context`, `prototypes`, `prototype_attention`,
`fusion_gate`, `decoder`, `prototype_mix`, `classifier`, `field_classifiers`; of RULSTM, `branches` and
`modality_attention`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sgear.errors import RunError
from sgear.models.conversion import Loading, block_of, describe_mismatch
from sgear.models.pretrained import TrainedModel
from sgear.models.rulstm import Rulstm
from sgear.taxonomy import Taxonomy

CLASS_BLOCKS = ("prototypes", "classifier", "field_classifiers", "branches")
"""Blocks whose rows belong to the classes of one vocabulary."""


def _tensors_by_block(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    blocks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        # keep_vars: parameters themselves, so that freezing them freezes the model and not a copy.
        blocks.setdefault(block_of(name), {})[name] = tensor
    return blocks


def block_names(model: nn.Module) -> list[str]:
    """Return the names of the blocks that hold tensors."""
    return list(_tensors_by_block(model))


def _require_block(model: nn.Module, block: str, setting: str, whose: str) -> dict[str, Tensor]:
    blocks = _tensors_by_block(model)
    if block not in blocks:
        raise RunError(f"{setting}: {whose} has no block {block!r}; it has {', '.join(blocks)}")
    return blocks[block]


@torch.no_grad()
def copy_blocks(model: nn.Module, source: nn.Module, blocks: Sequence[str]) -> Loading:
    """Copy whole blocks of weights from one model into another, strictly.

    Args:
        model: Receives.
        source: Gives.
        blocks: Names of blocks.

    Raises:
        RunError: If a block is absent on either side or its tensors do not fit; gives both sides.
    """
    loaded: list[str] = []
    for block in blocks:
        ours = _require_block(model, block, "init.blocks", "this model")
        theirs = _require_block(source, block, "init.blocks", "the run to start from")
        problem = describe_mismatch(ours, theirs)
        if problem:
            raise RunError(
                f"init.blocks: block {block!r} of the run to start from does not fit this model: {problem}; build both "
                "with the same model.* settings, or leave the block out"
            )
        # In place, so that an optimizer or a tied weight keeps its tensor.
        for name, tensor in ours.items():
            tensor.copy_(theirs[name])
        loaded += ours
    # Everything else is named too: what keeps its random start, and what of the other run was not used.
    used = set(loaded)
    return Loading(
        loaded=tuple(loaded),
        missing=tuple(name for name in model.state_dict() if name not in used),
        unexpected=tuple(name for name in source.state_dict() if name not in used),
    )


def freeze_blocks(model: nn.Module, blocks: Sequence[str]) -> list[str]:
    """Switch off the gradients of whole blocks.

    Returns:
        One line per block, with the number of frozen values.

    Raises:
        RunError: If a block does not exist; lists those that do.
    """
    lines = []
    for block in blocks:
        tensors = _require_block(model, block, "init.freeze", "this model").values()
        parameters = [tensor for tensor in tensors if isinstance(tensor, nn.Parameter)]
        for parameter in parameters:
            parameter.requires_grad_(False)
        lines.append(f"{block}: frozen, {sum(parameter.numel() for parameter in parameters)} values")
    return lines


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
