"""Strict renaming of somebody else's weights into the names of our models.

The built model says which tensors are needed and of which shape; a table of names says where each lies in the
checkpoint. A needed tensor that is absent, a shape that differs, or a tensor of the checkpoint that nobody asked for
is an error with both sides; what is left out on purpose is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sgear.errors import ConfigError
from sgear.models.base import AnticipationModel, build_model, without_starts
from sgear.models.config import ModelConfig

# GPT-2 of transformers multiplies from the right.
_TRANSPOSED = re.compile(r".*\.(c_attn|c_proj|c_fc)\.weight")
_OF_CLASSES = re.compile(r"(branches\.\d+\.)?classifier\.(linear\.)?(weight|bias)|bank\.visual")

Fill = Callable[[str, torch.Size], Tensor | None]
"""Our name and shape -> the one right value of a tensor that a checkpoint does not hold, or None."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How a family of checkpoints names its weights.

    Args:
        names: (pattern of our name, template of theirs) pairs.
        left_out: Pattern of their names that carry nothing our model learns.
        fill: Values of what they do not hold.
    """

    names: tuple[tuple[str, str], ...]
    left_out: re.Pattern[str]
    fill: Fill

    def theirs(self, ours: str) -> str:
        """Return their name of one of our tensors; empty if it has none."""
        for pattern, template in self.names:
            match = re.fullmatch(pattern, ours)
            if match:
                return match.expand(template)
        return ""


@dataclass(frozen=True)
class Conversion:
    """Weights under our names.

    Args:
        state: What `load_state_dict(strict=True)` takes.
        left_out: Names in the checkpoint that carry nothing our model learns.
        filled: Our names that the checkpoint does not hold and that have one right value.
        assumed: A setting that leaves no trace in weights and was taken from the configuration, in words.
    """

    state: dict[str, Tensor]
    left_out: tuple[str, ...]
    filled: tuple[str, ...]
    assumed: str = ""


def build_bare(config: ModelConfig, stored: Mapping[str, Tensor], *, num_actions: int) -> AnticipationModel:
    """Build a model without fetching or reading other weights, with as many verbs and nouns as the checkpoint has."""
    num_verbs, num_nouns = (len(stored.get(f"classifiers.{field}.bias", [0])) for field in ("verb", "noun"))
    return build_model(without_starts(config), num_actions=num_actions, num_verbs=num_verbs, num_nouns=num_nouns)


def _in_order(tensor: Tensor, class_order: Sequence[int]) -> Tensor:
    if min(class_order) < 0 or max(class_order) >= len(tensor):
        raise ConfigError(
            f"class_order names classes {min(class_order)}..{max(class_order)}, the checkpoint has 0..{len(tensor) - 1}"
        )
    return tensor[torch.tensor(class_order)]


def _fitted(ours: str, theirs: str, tensor: Tensor, shape: torch.Size, class_order: Sequence[int] | None) -> Tensor:
    if _TRANSPOSED.fullmatch(theirs):
        return tensor.T
    if ours == "decoder.positions.weight":
        return tensor[: shape[0]]
    if class_order is not None and _OF_CLASSES.fullmatch(ours):
        return _in_order(tensor, class_order)
    # A gate is a number here and a list of one number elsewhere.
    return tensor.reshape(shape) if tensor.shape == (1,) and not shape else tensor


def convert(
    stored: Mapping[str, Tensor],
    config: ModelConfig,
    naming: Naming,
    *,
    num_actions: int,
    class_order: Sequence[int] | None,
    built_with: str,
) -> Conversion:
    """Rename a checkpoint for the model of `config`.

    Args:
        stored: Weights under their names.
        config: The model wanted.
        naming: How they are named.
        num_actions: Number of action classes A of the model.
        class_order: Class of the checkpoint for each of our actions [A]. Default: the same order.
        built_with: The settings that fit the checkpoint, for the message.

    Raises:
        ConfigError: If anything is missing, left over or of another shape.
    """
    with torch.device("meta"):
        needed = build_bare(config, stored, num_actions=num_actions).state_dict()
    state: dict[str, Tensor] = {}
    faults: list[str] = []
    used, filled = set(), []
    for ours, wanted in needed.items():
        theirs = naming.theirs(ours)
        if theirs in stored:
            used.add(theirs)
            tensor = _fitted(ours, theirs, stored[theirs], wanted.shape, class_order)
            if tensor.shape != wanted.shape:
                found = tuple(stored[theirs].shape)
                faults.append(f"{theirs} of the checkpoint is {found}, {ours} of the model needs {tuple(wanted.shape)}")
                continue
        else:
            value = naming.fill(ours, wanted.shape)
            if value is None:
                faults.append(f"{ours} of the model has no {theirs or 'counterpart'} in the checkpoint")
                continue
            tensor = value
            filled.append(ours)
        state[ours] = tensor.to(wanted.dtype).contiguous().clone()
    left_out = sorted(name for name in stored if name not in used and naming.left_out.fullmatch(name))
    unknown = sorted(set(stored) - used - set(left_out))
    faults += [f"{name} {tuple(stored[name].shape)} of the checkpoint has no place in the model" for name in unknown]
    if faults:
        raise ConfigError(
            f"the checkpoint does not fit this model, {len(faults)} faults: {'; '.join(faults[:3])}. "
            f"The checkpoint was built with {built_with}; set the model so"
        )
    return Conversion(state, tuple(left_out), tuple(filled))
