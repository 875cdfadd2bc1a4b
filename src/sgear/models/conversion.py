"""Somebody else's weights under the names of our models, strictly, and what of them was loaded.

The built model says which tensors are needed; a table of names says where each lies in the checkpoint. What is
missing, of another shape or left over is an error with both sides; what is left out on purpose is reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sgear.errors import ConfigError, RunError
from sgear.models.base import AnticipationModel, build_model, without_starts
from sgear.tensor_files import load_plain

_MAX_NAMED = 3


def describe_mismatch(expected: Mapping[str, Tensor], offered: Mapping[str, Tensor]) -> str:
    """Return what is missing, unexpected or of another shape, with both sides; empty where all fits."""
    missing = [name for name in expected if name not in offered]
    unexpected = [name for name in offered if name not in expected]
    other = [
        f"{name} is {tuple(offered[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in offered and offered[name].shape != expected[name].shape
    ]
    parts = []
    if missing:
        parts.append(f"{len(missing)} tensors are missing ({shorten(missing)})")
    if unexpected:
        parts.append(f"{len(unexpected)} are not known here ({shorten(unexpected)})")
    if other:
        parts.append(f"{len(other)} have another shape ({shorten(other)})")
    return ", ".join(parts)


def shorten(names: Sequence[str]) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


_RENAMED = {"bank": "prototypes"}


def block_of(tensor_name: str) -> str:
    """Return the block that a tensor of a model belongs to."""
    top = tensor_name.partition(".")[0]
    return _RENAMED.get(top, top)


@dataclass(frozen=True, kw_only=True)
class Loading:
    """What was loaded and what was not.

    Args:
        loaded: Tensors of the model that were taken over.
        missing: Tensors of the model that the source does not give.
        unexpected: Tensors of the source that were not used.
        notes: What else happened to the loaded ones, in words.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def inside(self, module: str, *, missing: Sequence[str] = ()) -> Loading:
        """Return this for the whole model, where it is that of a module.

        Args:
            module: Name of the module in the model.
            missing: Tensors of the model around it that the source does not give either.
        """
        loaded, lacking = (tuple(f"{module}.{name}" for name in names) for names in (self.loaded, self.missing))
        return replace(self, loaded=loaded, missing=(*lacking, *missing))

    def lines(
        self, source: str, *, missing_as: str = "they keep their start values", unexpected_as: str = "not used"
    ) -> list[str]:
        """Return the summary in three lines: counts by block, then the first names.

        Args:
            source: Where the weights come from.
            missing_as: What became of the missing tensors.
            unexpected_as: What became of the unexpected ones.
        """
        return [
            "; ".join([f"from {source}: loaded {_count(self.loaded)}", *self.notes]),
            f"from {source}: missing {_count(self.missing)}" + (f"; {missing_as}" if self.missing else ""),
            f"from {source}: unexpected {_count(self.unexpected)}" + (f"; {unexpected_as}" if self.unexpected else ""),
        ]


def _count(names: Sequence[str]) -> str:
    if not names:
        return "none"
    by_block = ", ".join(f"{block} {number}" for block, number in Counter(map(block_of, names)).items())
    return f"{len(names)} tensors: {by_block} ({shorten(names)})"


_CONTAINERS = ("model", "state_dict")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the weights of a published checkpoint.

    Args:
        path: A `.safetensors` file, or any file written by torch.save that holds the weights by name, alone or under
            `model` or `state_dict`.

    Returns:
        Name -> tensor on the CPU; a leading `module.`, left by data-parallel training, is removed.

    Raises:
        RunError: If the file is missing, damaged, holds other objects than tensors and numbers, or no weights, or a
            weight is not finite.
    """
    stored = load_plain(path, error=RunError)
    inside = [stored[name] for name in _CONTAINERS if name in stored] if isinstance(stored, dict) else []
    weights = next((part for part in (*inside, stored) if _is_weights(part)), None)
    if weights is None:
        found = shorten([repr(name) for name in stored]) if isinstance(stored, dict) else type(stored).__name__
        raise RunError(
            f"{path}: expected weights by name, alone or under {' or '.join(_CONTAINERS)}; got {found or 'nothing'}"
        )
    bad = [str(name) for name, tensor in weights.items() if not tensor.isfinite().all()]
    if bad:
        raise RunError(
            f"{path}: {len(bad)} tensors have values that are not finite ({shorten(bad)}); did the training fail, or "
            "was the file damaged? Copy it again from its source"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in weights.items()}


def _is_weights(part: Any) -> bool:
    return isinstance(part, dict) and bool(part) and all(isinstance(value, Tensor) for value in part.values())


@dataclass(frozen=True)
class _Kind:
    """A family of checkpoints.

    Args:
        name: `model.name` of the models that take it; other families have a name of their own. The first family of
            which a name is found is the one, so those with names of another one besides their own stand before it.
        pattern: Names that only such checkpoints have.
        example: One of them.
        remedy: What such a file is, and what to do with it.
    """

    name: str
    pattern: re.Pattern[str]
    example: str
    remedy: str


_KINDS = (
    _Kind(
        "sgear",
        re.compile(r"vis_prototypes|balancer|TCA\..*|ProtAttn\..*"),
        "vis_prototypes",
        "weights of the S-GEAR release: choose an experiment of S-GEAR, e.g. epic100/vit",
    ),
    _Kind(
        "avt",
        re.compile(r"future_predictor\..*"),
        "future_predictor.encoder.weight",
        "weights of avt: choose an experiment of AVT, e.g. epic100/avt_tsn",
    ),
    _Kind(
        "rulstm",
        re.compile(r"(branches\.\d+\.)?rolling_lstm\..*"),
        "branches.0.rolling_lstm.lstm.weight_ih_l0",
        "weights of rulstm: choose an experiment of RULSTM, e.g. epic100/rulstm_rgb",
    ),
    _Kind(
        "vit",
        re.compile(r"patch_embed\..*"),
        "patch_embed.proj.weight",
        "weights of a timm ViT alone: train with model.encoder.weights=FILE",
    ),
    _Kind(
        "own",
        re.compile(r"decoder\.project_in\..*|branches\.\d+\.rolling\..*"),
        "decoder.project_in.weight",
        "weights that this package wrote: start from their run directory with init.run=RUN",
    ),
)


def check_kind(stored: Mapping[str, Tensor], wanted: str) -> None:
    """Refuse weights of another model than wanted.

    Args:
        stored: Weights under their own names.
        wanted: `sgear`, `avt` or `rulstm`.

    Raises:
        ConfigError: Says whose the names are, or which names there are, and what to do.
    """
    for kind in _KINDS:
        found = [name for name in stored if kind.pattern.fullmatch(name)]
        if found and kind.name == wanted:
            return
        if found:
            raise ConfigError(f"model.name={wanted} was asked for, but {shorten(found)} are {kind.remedy}")
    expected = next(kind for kind in _KINDS if kind.name == wanted)
    raise ConfigError(
        f"expected weights of {wanted} with names such as {expected.example}, got {shorten(list(stored)) or 'none'}; "
        "these are the names of no model that is known here. Give the published file as it is"
    )


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


def build_bare(config: Any, stored: Mapping[str, Tensor], *, num_actions: int) -> AnticipationModel:
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
    config: Any,
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
    # Names and shapes alone, without memory: a ViT of the release has 86 million numbers.
    with torch.device("meta"):
        needed = build_bare(config, stored, num_actions=num_actions).state_dict()
    # Every tensor of the model needs a source, and every one of the checkpoint a place or a reason to be left out.
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
