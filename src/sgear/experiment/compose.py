"""YAML and command-line overrides -> a checked `ExperimentConfig`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, field, fields, make_dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

import yaml
from hydra import compose, initialize_config_module
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sgear.errors import ConfigError, RunError
from sgear.experiment.moved import from_folder
from sgear.experiment.recipes import families_text, list_experiments
from sgear.experiment.rules import check_experiment
from sgear.experiment.schema import CHOSEN_BY, ExperimentConfig, choices
from sgear.experiment.settings import as_override
from sgear.files import require_regular_file
from sgear.models.base import model_class
from sgear.training.run import RunDirectory, read_json

_CONF = "sgear.experiment.conf"
_GONE = {"source": {"decoder"}}
"""Settings of older runs."""
_RENAMED = {("source", "reading"): {"films": "videos"}}
"""Values that were written otherwise: files of runs are read, and what was typed is told the new word."""
# A run's configuration has some 3,000 bytes and ten brackets. The time to read brackets grows with their square.
_MAX_BYTES, _MAX_BRACKETS = 64_000, 1_000


def _choice(part: str, values: Mapping[str, Any]) -> type:
    """Return the dataclass of a model, of a kind of steps or of a protocol.

    Raises:
        ConfigError: If there is none of that name.
    """
    key, said = CHOSEN_BY[part], values.get(part)
    default = getattr(getattr(ExperimentConfig(), part), key)
    name = str(said.get(key, default) if isinstance(said, dict) else default)
    if part == "model":
        return model_class(name).Config
    if name not in (kinds := choices(part)):
        raise ConfigError(f"{part}.{key}={name!r} is unknown; choose {', '.join(kinds)}")
    return kinds[name]


def _schema(chosen: Mapping[str, type]) -> Any:
    """Return the defaults of an experiment whose model, steps and protocol are chosen, with the types of all values."""
    types = get_type_hints(ExperimentConfig) | dict(chosen)
    made = make_dataclass(
        "Experiment",
        [
            (item.name, types[item.name], field(default_factory=chosen[item.name]) if item.name in chosen else item)
            for item in fields(ExperimentConfig)
        ],
    )
    node = OmegaConf.structured(made)
    # Frozen dataclasses would make it read-only.
    pending = [node]
    while pending:
        part = pending.pop()
        OmegaConf.set_readonly(part, None)
        pending += [part[key] for key in part if OmegaConf.is_dict(part[key])]
    return node


def _keys(node: object, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    return [key for name, value in node.items() for key in _keys(value, f"{prefix}.{name}".lstrip("."))]


def _typed(values: dict[str, Any], *, typed: Collection[str] = ()) -> ExperimentConfig:
    """Give values their types.

    Args:
        values: What a recipe, the command line or the file of a run says.
        typed: Keys that the user gave; the others come from a recipe.

    Raises:
        ConfigError: Names all keys that the chosen model, steps and protocol do not have.
        OmegaConfBaseException: If a value has another type than its setting.
    """
    chosen = {part: _choice(part, values) for part in CHOSEN_BY}
    values = _of_chosen(values, chosen, typed)
    schema = _schema(chosen)
    known = _keys(OmegaConf.to_container(schema))
    if unknown := [key for key in _keys(values) if key not in known and not _is_part(key, known)]:
        raise ConfigError("\n  ".join(_unknown_text(key, known, chosen) for key in unknown))
    made = OmegaConf.to_object(OmegaConf.merge(schema, values))
    return ExperimentConfig(**{item.name: getattr(made, item.name) for item in fields(ExperimentConfig)})


def _of_chosen(values: dict[str, Any], chosen: Mapping[str, type], typed: Collection[str]) -> dict[str, Any]:
    """Return values without those of other models, steps and protocols than the chosen ones.

    A recipe that another one builds on may set them, and so do the files of older runs; what was typed stays.
    """
    kept = dict(values)
    for (part, name), words in _RENAMED.items():
        said = kept.get(part)
        if isinstance(said, dict) and said.get(name) in words:
            if f"{part}.{name}" in typed:
                raise ConfigError(f"{part}.{name}={said[name]} is now {part}.{name}={words[said[name]]}")
            kept[part] = said | {name: words[said[name]]}
    for part, made in chosen.items():
        known = {item.name for kind in choices(part).values() for item in fields(kind)} | _GONE.get(part, set())
        foreign = known - {item.name for item in fields(made)}
        foreign -= {key.split(".")[1] for key in typed if key.startswith(f"{part}.")}
        if isinstance(said := kept.get(part), dict):
            kept[part] = {name: value for name, value in said.items() if name not in foreign}
    return kept


def _is_part(key: str, known: Collection[str]) -> bool:
    return any(name.startswith(f"{key}.") for name in known)


def _unknown_text(key: str, known: Collection[str], chosen: Mapping[str, type]) -> str:
    close = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(close)}?" if close else "'sgear train --settings' lists all"
    part = key.partition(".")[0]
    if part not in chosen:
        return f"unknown setting {key!r}; {hint}"
    return f"{part}.{CHOSEN_BY[part]}={getattr(chosen[part](), CHOSEN_BY[part])} has no setting {key}; {hint}"


def _unknown_experiment(name: str) -> str:
    close = difflib.get_close_matches(name, list_experiments(), n=3)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    return f"experiment={name!r} does not exist; {hint}choose from\n{families_text()}"


def _explain(overrides: list[str], err: Exception) -> ConfigError:
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key == "experiment" and value not in list_experiments():
            return ConfigError(_unknown_experiment(value))
    if "Ambiguous value" in str(err):
        return ConfigError(f"{overrides}: a setting takes several values; train one run for each with --sweep")
    first_line = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
    cause = str(err.__cause__).splitlines()[0] if err.__cause__ is not None else ""
    return ConfigError(f"the settings {overrides} cannot be read: {first_line} {cause}".strip() + _quotes(err))


def _quotes(err: Exception) -> str:
    """Return how texts are quoted, where an error is about how a setting is written."""
    if not isinstance(err, OverrideParseException):
        return ""
    key, _, value = err.override.lstrip("+~").partition("=")
    # Shells do not expand what stands after the sign.
    written = as_override(key, os.path.expanduser(value))
    return f". A text with brackets, commas or other signs stands in quotes: {written}"


def compose_experiment(overrides: list[str]) -> ExperimentConfig:
    """Compose an experiment from overrides such as `experiment=kitchen/sgear seed=1`.

    Raises:
        ConfigError: If a key is unknown, a value has the wrong type or is out of its range, or two exclude each other.
    """
    # The types are known when model, steps and protocol are: until then every key is taken.
    forced = [o if o.startswith(("+", "~", "experiment=", "hydra")) else f"++{o}" for o in overrides]
    try:
        with initialize_config_module(config_module=_CONF, version_base="1.3"):
            composed = compose(config_name="config", overrides=forced)
        values = OmegaConf.to_container(composed)
        typed = [override.lstrip("+~").partition("=")[0] for override in overrides]
        config = _typed(cast(dict[str, Any], values), typed=typed)
    except (HydraException, OmegaConfBaseException) as err:
        raise _explain(overrides, err) from err
    check_experiment(config, typed=typed)
    return config


def save_config(config: ExperimentConfig, path: Path) -> None:
    """Write the resolved configuration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(asdict(config)), path)


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
        config = _typed(values)
    except (ConfigError, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, RecursionError) as err:
        reason = " ".join(str(err).split())
        raise RunError(
            f"{path}: cannot be read as a run's configuration ({reason}); copy it again, or train the run again"
        ) from err
    data = RunDirectory(path.parent).data
    known = read_json(data) if data.is_file() else {}
    if not isinstance(known, dict) or not isinstance(folder := known.get("working_folder", ""), str):
        raise RunError(f"{data}: damaged; copy it again, or delete it and name the folder of the data with --root")
    return from_folder(config, Path(os.path.normpath(path.parent.resolve() / folder))) if folder else config
