"""Whose weights a checkpoint holds, told by names that only they have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from sgear.errors import ConfigError
from sgear.models.strict import shorten


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
    text = f"expected weights of {wanted} with names such as {expected.example}, got {shorten(list(stored)) or 'none'}"
    if behind := _behind_prefix(stored):
        prefix, kind = behind
        raise ConfigError(
            f"{text}. Those with {prefix!r} in front are {kind.remedy}; but first save them without it, e.g. "
            f"{{name.removeprefix({prefix!r}): tensor for name, tensor in stored.items() if "
            f"name.startswith({prefix!r})}}"
        )
    raise ConfigError(f"{text}; these are the names of no model that is known here. Give the published file as it is")


def _behind_prefix(names: Iterable[str]) -> tuple[str, _Kind] | None:
    """Return what stands before a known name, e.g. `state.`, and whose name it is; None where no name is known."""
    for name in names:
        parts = name.split(".")
        for length in range(1, len(parts)):
            rest = ".".join(parts[length:])
            for kind in _KINDS:
                if kind.pattern.fullmatch(rest):
                    return ".".join(parts[:length]) + ".", kind
    return None
