"""Starting and freezing a model block by block: whole blocks, strictly, and nothing silently left out.

A block is one part of a model under its own name: `encoder`, `temporal_context`, `prototypes`, `prototype_attention`,
`fusion_gate`, `decoder`, `prototype_mix`, `classifier`, `field_classifiers`; of RULSTM, `branches` and
`modality_attention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sgear.errors import RunError
from sgear.models.strict import describe_mismatch

CLASS_BLOCKS = ("prototypes", "classifier", "field_classifiers", "branches")
"""Blocks whose rows belong to the classes of one vocabulary."""

_RENAMED = {"bank": "prototypes"}


@dataclass(frozen=True, kw_only=True)
class CopySummary:
    """What `copy_blocks` did, tensor by tensor.

    Args:
        loaded: Tensors copied, by block.
        missing: Tensors of the model that keep their own start values.
        unexpected: Tensors of the source that were not used.
    """

    loaded: dict[str, tuple[str, ...]]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def lines(self, source: str) -> list[str]:
        """Return the summary in words, one line per block, then what was not loaded and what was not used."""
        lines = [f"{block}: {len(names)} tensors from {source}" for block, names in self.loaded.items()]
        if self.missing:
            lines.append(f"not from {source}: {len(self.missing)} tensors ({_by_block(self.missing)})")
        if self.unexpected:
            lines.append(f"without {len(self.unexpected)} tensors of {source} ({_by_block(self.unexpected)})")
        return lines


def _by_block(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(_block_of(name) for name in names))


def _block_of(tensor_name: str) -> str:
    top = tensor_name.partition(".")[0]
    return _RENAMED.get(top, top)


def _tensors_by_block(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    blocks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        blocks.setdefault(_block_of(name), {})[name] = tensor
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
def copy_blocks(model: nn.Module, source: nn.Module, blocks: Sequence[str]) -> CopySummary:
    """Copy whole blocks of weights from one model into another, strictly.

    Args:
        model: Receives.
        source: Gives.
        blocks: Names of blocks.

    Raises:
        RunError: If a block is absent on either side or its tensors do not fit; gives both sides.
    """
    loaded: dict[str, tuple[str, ...]] = {}
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
        loaded[block] = tuple(ours)
    used = {name for names in loaded.values() for name in names}
    return CopySummary(
        loaded=loaded,
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
