"""Published checkpoints of S-GEAR, AVT and RULSTM: their names, and how to load them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isqrt, log
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sgear.errors import ConfigError
from sgear.models.base import AnticipationModel
from sgear.models.conversion import Conversion, Naming, build_bare, check_kind, convert, read_checkpoint

_GPT = "future_predictor.gpt_model"
_HEADS = (
    "model.decoder.num_heads={} was assumed: no file stores it, and a wrong number gives wrong scores without an "
    "error. {}"
)
_AVT_HEADS = (
    "AVT's recipes have 4; 2 with irCSN features of EPIC-KITCHENS-100; 8 on 50 Salads and with features of "
    "EPIC-KITCHENS-55"
)
_SGEAR_HEADS = "S-GEAR's recipes have 4 on EPIC-KITCHENS-100 and EGTEA, 8 on EPIC-KITCHENS-55 and 50 Salads"


def _fill_avt(ours: str, shape: torch.Size) -> Tensor | None:
    if ours == "encoder.feature_scale":
        return torch.ones(shape)
    # AVT maps features only where their width is not the model's, and then without a bias.
    if ours == "encoder.project.weight" and shape[0] == shape[1]:
        return torch.eye(shape[0])
    return torch.zeros(shape) if ours == "encoder.project.bias" else None


_AVT = Naming(
    names=(
        (r"encoder\.vit\.(.+)", r"backbone.model.\1"),
        (r"encoder\.project\.weight", "mapper_to_inter.weight"),
        (r"decoder\.project_in\.weight", "future_predictor.encoder.weight"),
        (r"decoder\.positions\.weight", f"{_GPT}.wpe.weight"),
        (r"decoder\.blocks\.(\d+)\.attention_norm\.(.+)", rf"{_GPT}.h.\1.ln_1.\2"),
        (r"decoder\.blocks\.(\d+)\.qkv\.(.+)", rf"{_GPT}.h.\1.attn.c_attn.\2"),
        (r"decoder\.blocks\.(\d+)\.attention_out\.(.+)", rf"{_GPT}.h.\1.attn.c_proj.\2"),
        (r"decoder\.blocks\.(\d+)\.mlp_norm\.(.+)", rf"{_GPT}.h.\1.ln_2.\2"),
        (r"decoder\.blocks\.(\d+)\.mlp_in\.(.+)", rf"{_GPT}.h.\1.mlp.c_fc.\2"),
        (r"decoder\.blocks\.(\d+)\.mlp_out\.(.+)", rf"{_GPT}.h.\1.mlp.c_proj.\2"),
        (r"decoder\.norm\.(.+)", rf"{_GPT}.ln_f.\1"),
        (r"decoder\.project_out\.weight", "future_predictor.decoder.weight"),
        (r"classifier\.linear\.(.+)", r"classifiers.action.\1"),
        (r"field_classifiers\.(verb|noun)\.linear\.(.+)", r"classifiers.\1.\2"),
    ),
    # Constant causal masks, tables from actions to verbs and nouns, and classifiers that the model lacks.
    left_out=re.compile(r".*\.attn\.(bias|masked_bias)|cls_map_.*|classifiers\.(verb|noun)\..*"),
    fill=_fill_avt,
)
_SGEAR = Naming(
    names=(
        (r"temporal_context\.blocks\.(\d+)\.attention_norm\.(.+)", r"TCA.\1.norm1.\2"),
        (r"temporal_context\.blocks\.(\d+)\.qkv\.weight", r"TCA.\1.attn.qkv.weight"),
        (r"temporal_context\.blocks\.(\d+)\.attention_out\.(.+)", r"TCA.\1.attn.proj.\2"),
        (r"temporal_context\.blocks\.(\d+)\.step_weights", r"TCA.\1.attn.tmp_weighting"),
        (r"temporal_context\.blocks\.(\d+)\.mlp_norm\.(.+)", r"TCA.\1.norm2.\2"),
        (r"temporal_context\.blocks\.(\d+)\.mlp_in\.(.+)", r"TCA.\1.mlp.fc1.\2"),
        (r"temporal_context\.blocks\.(\d+)\.mlp_out\.(.+)", r"TCA.\1.mlp.fc2.\2"),
        (r"bank\.visual", "vis_prototypes"),
        (r"prototype_attention\.out\.(.+)", r"ProtAttn.proj.\1"),
        (r"prototype_attention\.distance_weights", "ProtAttn.tpl_weights"),
        (r"prototype_attention\.blend_gate", "ProtAttn.gate"),
        (r"fusion_gate", "alpha"),
        (r"prototype_mix\.gate", "balancer"),
        *_AVT.names,
    ),
    # Besides what AVT leaves out, gates that the released code never reads: of residual attention, and of prototype
    # attention where that is switched off.
    left_out=re.compile(rf"{_AVT.left_out.pattern}|TCA\.\d+\.attn\.alpha|alpha"),
    fill=_fill_avt,
)
_RULSTM = Naming(
    names=(
        (r"branches\.(\d+)\.rolling\.(.+)", r"branches.\1.rolling_lstm.lstm.\2_l0"),
        (r"branches\.(\d+)\.unrolling\.(.+)", r"branches.\1.unrolling_lstm.\2_l0"),
        (r"branches\.(\d+)\.classifier\.(.+)", r"branches.\1.classifier.1.\2"),
        (r"modality_attention\.layers\.(.+)", r"MATT.\1"),
    ),
    left_out=re.compile(r"(?!)"),
    fill=lambda ours, shape: None,
)


def _size(stored: Mapping[str, Tensor], name: str, dim: int = 0) -> str:
    return str(stored[name].shape[dim]) if name in stored and stored[name].ndim > dim else "?"


def _avt_sizes(stored: Mapping[str, Tensor]) -> str:
    # GPT-2 names its blocks h.0, h.1, ...
    layers = {match[1] for name in stored if (match := re.match(rf"{re.escape(_GPT)}\.h\.(\d+)\.", name))}
    settings = {
        "model.width": _size(stored, "future_predictor.decoder.weight"),
        "model.decoder.width": _size(stored, "future_predictor.encoder.weight"),
        "model.decoder.num_layers": str(len(layers)),
    }
    if "mapper_to_inter.weight" in stored:
        settings["model.encoder.feature_dim"] = _size(stored, "mapper_to_inter.weight", 1)
    return (
        f"{', '.join(f'{name}={value}' for name, value in settings.items())}, {_frame_size(stored)}"
        f"{_size(stored, 'classifiers.action.weight')} actions and at most {_size(stored, f'{_GPT}.wpe.weight')} "
        "steps; its number of heads is not stored"
    )


def _frame_size(stored: Mapping[str, Tensor]) -> str:
    """Return the size of the frames that the ViT of a checkpoint reads, in words; empty without a ViT."""
    names = ("backbone.model.pos_embed", "backbone.model.patch_embed.proj.weight")
    if not all(name in stored and stored[name].ndim > 1 for name in names):
        return ""
    num_patches, side = stored[names[0]].shape[1] - 1, stored[names[1]].shape[-1]
    rows = isqrt(max(num_patches, 0))
    square = f", e.g. model.encoder.image_height={rows * side} and image_width={rows * side}"
    return f"frames of {num_patches} patches of {side} pixels{square if rows**2 == num_patches else ''}, "


def _convert_avt(
    stored: Mapping[str, Tensor], config: Any, *, num_actions: int, class_order: Sequence[int] | None
) -> Conversion:
    # facebookresearch/AVT, models/base_model.py, future_prediction.py and video_classification.py.
    conversion = convert(
        stored, config, _AVT, num_actions=num_actions, class_order=class_order, built_with=_avt_sizes(stored)
    )
    return replace(conversion, assumed=_HEADS.format(config.decoder.num_heads, _AVT_HEADS))


def _untraced(stored: Mapping[str, Tensor], config: Any) -> list[tuple[str, str, str]]:
    """Return what leaves no trace in weights of S-GEAR: names of settings, with the released values and ours."""
    has_attention = "ProtAttn.gate" in stored
    rows = []
    # TCA and PA have the same tensors in every mode, so the mode cannot be read from them.
    if "TCA.0.attn.tmp_weighting" in stored:
        rows.append(("model.temporal_context.mode", "original", config.temporal_context.mode))
    if has_attention:
        rows.append(("model.prototype_attention.mode", "original", config.prototype_attention.mode))
    if has_attention and not any(name.startswith("backbone.") for name in stored):
        rows.append(("model.encoder.standardise", "true", str(config.encoder.standardise).lower()))
    return rows


def _sgear_sizes(stored: Mapping[str, Tensor], untraced: Sequence[tuple[str, str, str]]) -> str:
    blocks = {match[1] for name in stored if (match := re.match(r"TCA\.(\d+)\.", name))}
    settings = {"model.temporal_context.num_blocks": str(len(blocks))}
    if "ProtAttn.tpl_weights" in stored:
        settings["model.prototype_attention.num_heads"] = _size(stored, "ProtAttn.tpl_weights")
        settings["model.max_steps"] = _size(stored, "ProtAttn.tpl_weights", 1)
    else:
        settings["model.prototype_attention.enabled"] = "false"
    settings |= {name: released for name, released, _ in untraced}
    return ", ".join([*(f"{name}={value}" for name, value in settings.items()), _avt_sizes(stored)])


def _convert_sgear(
    stored: Mapping[str, Tensor], config: Any, *, num_actions: int, class_order: Sequence[int] | None
) -> Conversion:
    # ADiko1997/S-GEAR, models/base_model_ts.py, models/attention.py and models/future_prediction.py.
    if num_actions != (num_stored := stored_actions(stored)):
        raise ConfigError(
            f"the checkpoint has {num_stored} classes and the data set {num_actions}, but the prototypes of all "
            "classes take part in each score; choose the data set, or level of its labels, that it was trained on"
        )

    def fill(ours: str, shape: torch.Size) -> Tensor | None:
        if ours == "prototype_mix.log_temperature":
            # The square root of the width of the encoder: of the features, where these are mapped to another width.
            mapped = stored.get("mapper_to_inter.weight")
            return torch.tensor(0.5 * log(config.width if mapped is None else mapped.shape[1]))
        if ours == "prototype_attention.released_ids":
            return torch.arange(num_actions) if class_order is None else torch.tensor(class_order)
        return _fill_avt(ours, shape)

    untraced = _untraced(stored, config)
    conversion = convert(
        stored,
        config,
        replace(_SGEAR, fill=fill),
        num_actions=num_actions,
        class_order=class_order,
        built_with=_sgear_sizes(stored, untraced),
    )
    other = [f"{name}={released} (here {ours})" for name, released, ours in untraced if ours != released]
    assumed = _HEADS.format(config.decoder.num_heads, _SGEAR_HEADS)
    if other:
        assumed += f"; the weights were trained with {', '.join(other)}: scores are not those of the released code"
    return replace(conversion, assumed=assumed)


def _rulstm_sizes(stored: Mapping[str, Tensor]) -> str:
    widths = []
    while (name := f"branches.{len(widths)}.rolling_lstm.lstm.weight_ih_l0") in stored:
        widths.append(stored[name].shape[1])
    return (
        f"model.rulstm.modalities={widths}, model.rulstm.hidden_dim="
        f"{_size(stored, 'branches.0.rolling_lstm.lstm.weight_hh_l0', 1)} and "
        f"{_size(stored, 'branches.0.classifier.1.weight')} actions"
    )


def _convert_rulstm(
    stored: Mapping[str, Tensor], config: Any, *, num_actions: int, class_order: Sequence[int] | None
) -> Conversion:
    # fpv-iplab/rulstm, RULSTM/models.py; a branch that was trained alone has no number.
    if not any(name.startswith("branches.") for name in stored):
        stored = {f"branches.0.{name}": tensor for name, tensor in stored.items()}
    return convert(
        stored, config, _RULSTM, num_actions=num_actions, class_order=class_order, built_with=_rulstm_sizes(stored)
    )


_CONVERTERS = {"sgear": _convert_sgear, "avt": _convert_avt, "rulstm": _convert_rulstm}


def convert_published(
    stored: Mapping[str, Tensor], config: Any, *, num_actions: int, class_order: Sequence[int] | None = None
) -> Conversion:
    """Rename the weights of a published network, on features or end to end, for the model of `config`.

    What leaves no trace in the weights cannot be checked, so the conversion says what was assumed: the number of
    heads, and the form of what the weights are used in; only mode `original` of TCA and prototype attention gives the
    scores of the released S-GEAR. Of AVT's learned positions the first `max_steps` are taken.

    Args:
        stored: Weights under their published names; see `read_published`.
        config: The model wanted, with the sizes of the checkpoint.
        num_actions: Number of action classes A; of S-GEAR all of the checkpoint, since prototypes of all take part in
            each score.
        class_order: Class of the checkpoint for each of our actions [A]. Default: the same order.

    Raises:
        ConfigError: If the weights are of another model, or anything is missing, left over or of another shape.
    """
    check_kind(stored, config.name)
    return _CONVERTERS[config.name](stored, config, num_actions=num_actions, class_order=class_order)


def stored_actions(stored: Mapping[str, Tensor]) -> int:
    """Return the number of action classes that the classifier of a published checkpoint has; 0 without one."""
    names = ("classifiers.action.bias", "branches.0.classifier.1.bias", "classifier.1.bias")
    return next((len(stored[name]) for name in names if name in stored), 0)


def read_published(path: Path, config: Any) -> dict[str, Tensor]:
    """Read a published checkpoint of the model that `config.name` names.

    Raises:
        RunError: If the file cannot be read as plain weights.
        ConfigError: If no converter exists for `config.name`, or the weights are those of another model.
    """
    if config.name not in _CONVERTERS:
        raise ConfigError(
            f"there is no converter for model.name={config.name!r}; choose one of {', '.join(_CONVERTERS)}"
        )
    stored = read_checkpoint(path)
    try:
        check_kind(stored, config.name)
    except ConfigError as err:
        raise ConfigError(f"{path}: {err}") from err
    return stored


def build_published(
    stored: Mapping[str, Tensor], config: Any, *, num_actions: int, class_order: Sequence[int] | None = None
) -> tuple[AnticipationModel, Conversion]:
    """Build the model of `config` with published weights, in evaluation mode.

    Args:
        stored: What `read_published` returned.
        config: The model wanted.
        num_actions: Number of action classes A of the model.
        class_order: Class of the checkpoint for each of our actions [A]. Default: the same order.

    Raises:
        ConfigError: If the weights do not fit.
    """
    conversion = convert_published(stored, config, num_actions=num_actions, class_order=class_order)
    model = build_bare(config, stored, num_actions=num_actions)
    model.load_state_dict(conversion.state, strict=True)
    return model.eval(), conversion
