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
from sgear.models.loading import Loading, block_of
from sgear.models.strict import describe_mismatch

CLASS_BLOCKS = ("prototypes", "classifier", "field_classifiers", "branches")
"""Blocks whose rows belong to the classes of one vocabulary."""


def _tensors_by_block(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    blocks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
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
        for name, tensor in ours.items():
            tensor.copy_(theirs[name])
        loaded += ours
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
