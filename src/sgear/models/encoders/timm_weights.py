"""Weights of a timm ViT, from a local file or as timm publishes them: told key by key, and never loaded in part."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from torch import nn

from sgear.errors import ConfigError, RunError
from sgear.models.conversion import read_checkpoint
from sgear.models.loading import Loading, describe_mismatch, shorten
from sgear.tensor_files import reason_of
from sgear.torchvision_guard import import_timm

_CLASSIFIERS = ("head.", "head_dist.")
_TIMM_LOG = "timm.models._builder"


def load_vit_weights(vit: nn.Module, path: Path) -> Loading:
    """Load a timm checkpoint into a ViT without classifier.

    Where the grid of patches or the patch size differs, timm's own function resizes the positional embedding and the
    patch embedding.

    Args:
        vit: A ViT made by timm with `num_classes=0`.
        path: `.safetensors`, or a `.pth`-like file, which may wrap the tensors in `state_dict` or `model`.

    Returns:
        What was loaded, resized and left out.

    Raises:
        RunError: If the file is missing, damaged, or of another architecture.
    """
    return load_checkpoint(
        vit,
        path,
        classifiers=_CLASSIFIERS,
        whose=("the ViT of model.encoder", "this ViT"),
        remedies=("check its name", "check model.encoder.name and its sizes"),
    )


def load_checkpoint(
    network: nn.Module, path: Path, *, classifiers: tuple[str, ...], whose: tuple[str, str], remedies: tuple[str, str]
) -> Loading:
    """Load a timm checkpoint into a network of timm without classifier, fitted by timm's own rules, strictly.

    Args:
        network: The network.
        path: See `read_checkpoint`.
        classifiers: What the names of a classifier begin with.
        whose: How messages call the network: one that the tensors cannot be fitted to, and one that they are not of.
        remedies: What to do in either case.

    Raises:
        RunError: If the file is missing, damaged, or of another architecture.
    """
    stored = read_checkpoint(path)
    fit = getattr(importlib.import_module(type(network).__module__), "checkpoint_filter_fn", None)
    try:
        fitted = stored if fit is None else fit(stored, network)
    except Exception as err:
        # Tensors of another architecture make timm's function fail in every way.
        raise RunError(f"{path}: does not fit {whose[0]} ({reason_of(err)}); {remedies[0]}") from err
    classifier = [name for name in fitted if name.startswith(classifiers)]
    body = {name: tensor for name, tensor in fitted.items() if name not in classifier}
    if problem := describe_mismatch(network.state_dict(), body):
        raise RunError(f"{path}: not the weights of {whose[1]}: {problem}; {remedies[1]}")
    network.load_state_dict(body, strict=True)
    resized = [name for name, tensor in body.items() if name in stored and tensor.shape != stored[name].shape]
    return Loading(
        loaded=tuple(body),
        unexpected=tuple(classifier),
        notes=tuple(
            f"{name} resized from {tuple(stored[name].shape)} to {tuple(body[name].shape)}" for name in resized
        ),
    )


def published_network(name: str, **sizes: Any) -> tuple[Any, Loading]:
    """Build a network of timm without its classifier, with the weights that timm publishes for it.

    Args:
        name: Full name of the model.
        sizes: Arguments of `timm.create_model`.

    Returns:
        The network, and what was loaded and left out.

    Raises:
        RunError: If the published weights leave a tensor of the network at its start value; timm allows that.
        OSError: If they is not available.
        RuntimeError: If timm knows no such model or weights, or they have other sizes.
    """
    timm = import_timm()
    with _keys_in_timms_log() as keys:
        network = timm.create_model(name, pretrained=True, num_classes=0, **sizes)
    missing = keys["Missing"]
    if missing:
        raise RunError(
            f"timm's published weights of {name!r} have nothing for {len(missing)} tensors of the network "
            f"({shorten(missing)}); remove model.encoder.depth and the other sizes if set, or start without them"
        )
    return network, Loading(loaded=tuple(network.state_dict()), unexpected=tuple(keys["Unexpected"]))


@contextmanager
def _keys_in_timms_log() -> Iterator[dict[str, list[str]]]:
    """Collect the keys that timm leaves out: it loads published weights loosely and tells its log alone."""
    keys: dict[str, list[str]] = {"Missing": [], "Unexpected": []}

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for kind, names in re.findall(r"(Missing|Unexpected) keys \((.*?)\)", record.getMessage()):
                keys[kind] += names.split(", ")

    log, collector = logging.getLogger(_TIMM_LOG), Collector()
    level, propagates = log.level, log.propagate
    log.addHandler(collector)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield keys
    finally:
        log.removeHandler(collector)
        log.setLevel(level)
        log.propagate = propagates


_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT_S = 10.0


def require_published_weights(name: str) -> None:
    """Check that the published weights of a timm model are on this machine, or that their hub can be reached.

    It asks once. The download itself tries for a minute before it gives up.

    Args:
        name: Full name of the model.

    Raises:
        ConfigError: If they are not here and the hub does not answer; says where they are and how to give a file.
    """
    published = import_timm().models.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id:
        return
    repo, _, revision = published.hf_hub_id.partition("@")
    files = (published.hf_hub_filename,) if published.hf_hub_filename else _FILES
    if any(isinstance(try_to_load_from_cache(repo, file, revision=revision or None), str) for file in files):
        return
    url = hf_hub_url(repo, files[0], revision=revision or None)
    try:
        get_hf_file_metadata(url, timeout=_TIMEOUT_S)
    except HfHubHTTPError:
        # The hub answers; what is wrong there, the download says better.
        return
    except Exception as err:
        # Which error a dead connection gives depends on the library that the hub uses.
        raise ConfigError(
            f"model.encoder.pretrained=true needs the published weights of {name}, which are not on this machine, and "
            f"the hub cannot be reached ({err}). Fetch {url} elsewhere and give the file: "
            "model.encoder.pretrained=false model.encoder.weights=FILE"
        ) from err
