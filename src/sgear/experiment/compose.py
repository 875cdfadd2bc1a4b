"""YAML and command-line overrides -> a checked `ExperimentConfig`."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import yaml
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sgear.errors import ConfigError, RunError
from sgear.experiment.moved import from_folder
from sgear.experiment.recipes import families_text, list_experiments
from sgear.experiment.rules import check_settings
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.settings import as_override
from sgear.files import require_regular_file
from sgear.training.run import RunDirectory, read_json

_CONF = "sgear.experiment.conf"
# A run's configuration has some 3,000 bytes and ten brackets. The time to read brackets grows with their square.
_MAX_BYTES, _MAX_BRACKETS = 64_000, 1_000


def _schema():
    """Return the schema as a config whose values may be set; frozen dataclasses would make it read-only."""
    node = OmegaConf.structured(ExperimentConfig)
    pending = [node]
    while pending:
        part = pending.pop()
        OmegaConf.set_readonly(part, None)
        pending += [part[key] for key in part if OmegaConf.is_dict(part[key])]
    return node


def _all_keys(node: object, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    return [key for name, value in node.items() for key in _all_keys(value, f"{prefix}.{name}".lstrip("."))]


def _unknown_experiment(name: str) -> str:
    close = difflib.get_close_matches(name, list_experiments(), n=3)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    return f"experiment={name!r} does not exist; {hint}choose from\n{families_text()}"


def _explain(overrides: list[str], err: Exception) -> ConfigError:
    known = _all_keys(OmegaConf.to_container(OmegaConf.structured(ExperimentConfig())))
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key == "experiment":
            if value not in list_experiments():
                return ConfigError(_unknown_experiment(value))
        elif key not in known and not any(name.startswith(f"{key}.") for name in known):
            close = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(close)}?" if close else "list all keys with 'sgear train --settings'"
            return ConfigError(f"unknown setting {key!r} in {override!r}; {hint}")
    first_line = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
    cause = str(err.__cause__).splitlines()[0] if err.__cause__ is not None else ""
    return ConfigError(f"the settings {overrides} cannot be read: {first_line} {cause}".strip() + _quotes(err))


def _quotes(err: Exception) -> str:
    """Return how texts are quoted, where an error is about how a setting is written."""
    if not isinstance(err, OverrideParseException):
        return ""
    key, _, value = err.override.partition("=")
    # Shells do not expand what stands after the sign.
    written = as_override(key, os.path.expanduser(value))
    return f". A text with brackets, commas or other signs stands in quotes: {written}"


def compose_experiment(overrides: list[str]) -> ExperimentConfig:
    """Compose an experiment from overrides such as `experiment=kitchen/sgear seed=1`.

    Raises:
        ConfigError: If a key is unknown, a value has the wrong type, or a setting would have no effect.
    """
    ConfigStore.instance().store(name="schema", node=_schema())
    try:
        with initialize_config_module(config_module=_CONF, version_base="1.3"):
            composed = compose(config_name="config", overrides=overrides)
        config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException) as err:
        raise _explain(overrides, err) from err
    if not isinstance(config, ExperimentConfig):
        raise _explain(overrides, TypeError("the configuration has another schema"))
    check_settings(config, typed=[override.lstrip("+~").partition("=")[0] for override in overrides])
    return config


def save_config(config: ExperimentConfig, path: Path) -> None:
    """Write the resolved configuration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.structured(config), path)


def load_run_config(path: Path) -> ExperimentConfig:
    """Read a configuration written by `save_config`: values alone, nothing in it is looked up anywhere.

    Relative paths count from the folder that the run was made in. Where nothing lies there any more, or that folder is
    not known, they count from the present one.

    Raises:
        RunError: If it is damaged or of another version, or was not written by `save_config`.
    """
    require_regular_file(path, RunError)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes are more than any has")
        text = path.read_text(encoding="utf-8")
        if text.count("[") + text.count("{") > _MAX_BRACKETS:
            raise ValueError("it has more brackets than any has")
        if "${" in text:
            raise ValueError("it holds a reference ${...}, but a run stores values")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # It stands for values that may hold others, and those others again, without end.
            raise ValueError("it holds an alias, but a run stores values")
        values = yaml.safe_load(text)
        if not isinstance(values, dict):
            raise ValueError("it is empty" if values is None else f"it holds a {type(values).__name__}")
        config = OmegaConf.to_object(OmegaConf.merge(_schema(), values))
    except (OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, RecursionError) as err:
        reason = " ".join(str(err).split())
        raise RunError(
            f"{path}: cannot be read as a run's configuration ({reason}); copy it again, or train the run again"
        ) from err
    if not isinstance(config, ExperimentConfig):
        raise RunError(f"{path}: holds no run configuration")
    data = RunDirectory(path.parent).data
    known = read_json(data) if data.is_file() else {}
    if not isinstance(known, dict) or not isinstance(folder := known.get("working_folder", ""), str):
        raise RunError(f"{data}: damaged; copy it again, or delete it and name the folder of the data with --root")
    return from_folder(config, Path(os.path.normpath(path.parent.resolve() / folder))) if folder else config
