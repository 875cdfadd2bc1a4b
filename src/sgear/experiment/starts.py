"""What a run starts from: that it is there before data are read, whose classes it knows, and which blocks are copied.

A checkpoint does not say what its classes are called. Their order must be given, as a list of names with ids or as that
of the data set; nothing is assumed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from sgear.errors import ConfigError
from sgear.experiment.recipes import command_for, training_command
from sgear.experiment.schema import DatasetConfig, ExperimentConfig, InitConfig, encoder_weights
from sgear.files import quoted
from sgear.models import AnticipationModel
from sgear.models.blocks import CLASS_BLOCKS, block_names, copy_blocks
from sgear.models.conversion import Conversion, Loading
from sgear.models.convert import build_published, read_published, stored_actions
from sgear.models.encoders import FEATURES
from sgear.models.encoders.timm import require_published_weights
from sgear.prototypes.language import name_key
from sgear.prototypes.original import read_class_names
from sgear.taxonomy import Taxonomy
from sgear.training.run import RunDirectory


def check_starts(config: ExperimentConfig) -> None:
    """Raise if a run, a file or published weights that an experiment starts from are not at hand.

    Raises:
        ConfigError: Names each setting, what it asks for, and the command that makes it.
    """
    problems = [*_missing_runs(config), *_missing_files(config)]
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError("\n  ".join(["this experiment starts from what is not there yet:", *problems]))
    encoder = getattr(config.model, "encoder", None)
    if encoder is not None and encoder.name != FEATURES and encoder.pretrained:
        require_published_weights(encoder.name)


def _missing_runs(config: ExperimentConfig) -> Iterator[str]:
    asked = [("init.run", config.init.run), *(("init.branches", branch) for branch in config.init.branches)]
    for key, name in asked:
        run = RunDirectory(Path(name))
        if name and not run.model.is_dir():
            what = "holds no trained model" if run.path.is_dir() else "no such run directory"
            command = training_command(run.path, dataset=config.dataset)
            yield f"{key}={name}: {what}; {f'make it with: {command}' if command else 'check the path'}"


def _missing_files(config: ExperimentConfig) -> Iterator[str]:
    init = config.init
    made_by = {
        "init.visual_prototypes": (init.visual_prototypes, _visual_command(config)),
        "init.language_prototypes": (init.language_prototypes, _language_command(config)),
    }
    for key, (name, command) in made_by.items():
        if name and not Path(name).is_file():
            yield f"{key}={name}: no such file; make it with: {command}"
    given = {"init.weights": init.weights, "model.encoder.weights": encoder_weights(config.model)}
    for key, name in given.items():
        if name and not Path(name).is_file():
            yield f"{key}={name}: no such file; check the path"


def _visual_command(config: ExperimentConfig) -> str:
    """Return the command that makes the visual prototypes, after the one of their recognition run where that lacks too.

    The run is the one to start from, or the one that the head of a recipe names.
    """
    file, run, first = config.init.visual_prototypes, config.init.run, ""
    named = re.search(r"prototypes visual (\S+)", command_for(Path(file)) or "")
    if not run and named:
        recognition = RunDirectory(Path(config.output_root) / Path(named[1]).name)
        run, command = str(recognition.path), training_command(recognition.path, dataset=config.dataset)
        first = f"{command}; then: " if command and not recognition.model.is_dir() else ""
    return f"{first}sgear prototypes visual {quoted(run or 'RECOGNITION_RUN')} --out {quoted(file)}"


def _language_command(config: ExperimentConfig) -> str:
    """Return the command of the recipe, which names the encoder, for this place and folder of data."""
    file, dataset = config.init.language_prototypes, config.dataset
    command = command_for(Path(file)) or f"sgear prototypes language --dataset {quoted(dataset.name)} --out FILE"
    command = re.sub(r"--out \S+", lambda _: f"--out {quoted(file)}", command)
    if dataset.granularity != DatasetConfig().granularity and "--granularity" not in command:
        command += f" --granularity {quoted(dataset.granularity)}"
    if dataset.root:
        command = re.sub(r" --root \S+", "", command) + f" --root {quoted(dataset.root)}"
    return command


SAME_ORDER = "same-order"
_FILLED = "each has one right value"
_LEFT_OUT = "nothing that is learned, or not asked for"
_REMEDY = (
    "give the list with ids that the checkpoint was trained with (AVT and RULSTM: RULSTM's actions.csv of the data "
    f"set; 50 Salads: mapping.txt), or {SAME_ORDER} where its classes are those of the data set in the same order"
)


def read_class_order(class_names: str, taxonomy: Taxonomy, *, num_stored: int) -> tuple[int, ...]:
    """Return the class of the checkpoint for each of our actions [A].

    Args:
        class_names: `same-order`, or the path of a list `ID NAME`. Classes are joined by name; where a list calls
            them after one of their narrations (EPIC-KITCHENS-55), by the ids of verb and noun, which must then be the
            same pairs on both sides.
        taxonomy: Our actions.
        num_stored: Number of classes that the checkpoint has.

    Raises:
        ConfigError: If the order is not given, or does not name each of our actions and fit the checkpoint.
        PrototypeError: If the list cannot be read.
    """
    if not class_names:
        raise ConfigError(f"a checkpoint does not name its classes: {_REMEDY}")
    if class_names == SAME_ORDER:
        if num_stored != taxonomy.num_actions:
            raise ConfigError(
                f"{SAME_ORDER}: the checkpoint has {num_stored} actions, the data set {taxonomy.num_actions}; {_REMEDY}"
            )
        return tuple(range(num_stored))
    path = Path(class_names)
    names = read_class_names(path)
    if sorted(names) != list(range(num_stored)):
        raise ConfigError(
            f"{path}: the checkpoint has {num_stored} actions, the list {len(names)} with ids {min(names)}.."
            f"{max(names)}; {_REMEDY}"
        )
    id_of_key = {name_key(name): class_id for class_id, name in names.items()}
    order = [id_of_key.get(name_key(name)) for name in taxonomy.action_names]
    if None in order:
        by_pair = _ids_of_pairs(path)
        if set(by_pair) != set(taxonomy.action_pairs):
            missing = [name for name, found in zip(taxonomy.action_names, order, strict=True) if found is None]
            raise ConfigError(
                f"{path}: no class for {missing[:3]} ({len(missing)} of {len(order)} actions of the data set), and its "
                "pairs of verb and noun are not those of the data set either; was it another data set?"
            )
        order = [by_pair[pair] for pair in taxonomy.action_pairs]
    return tuple(class_id for class_id in order if class_id is not None)


def _ids_of_pairs(path: Path) -> dict[tuple[int, int], int]:
    """Return the class id of each (verb id, noun id) of a list with such columns; empty for other lists."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream, skipinitialspace=True))
    header = [field.strip().lower() for field in rows[0]]
    if not {"id", "verb", "noun"} <= set(header):
        return {}
    columns = [header.index(name) for name in ("verb", "noun", "id")]
    found = {}
    for row in rows[1:]:
        values = [row[column].strip() for column in columns] if len(row) == len(header) else []
        if not (values and all(value.isdigit() for value in values)):
            continue
        verb, noun, class_id = map(int, values)
        found[verb, noun] = class_id
    return found


def describe_order(order: Sequence[int], num_stored: int) -> str:
    """Return in words what a class order moves and leaves out."""
    num_moved = sum(class_id != row for row, class_id in enumerate(order))
    text = f"classes: {len(order)} actions, {num_moved} of them at another place in the checkpoint"
    return text + (f", {num_stored - len(order)} classes of the checkpoint left out" if num_stored > len(order) else "")


def loading_of(conversion: Conversion) -> Loading:
    """Return a conversion as what it gave to our model."""
    filled = set(conversion.filled)
    return Loading(
        loaded=tuple(name for name in conversion.state if name not in filled),
        missing=conversion.filled,
        unexpected=conversion.left_out,
        notes=(conversion.assumed,) if conversion.assumed else (),
    )


@dataclass(frozen=True)
class Published:
    """A whole model with published weights.

    Args:
        source: File of the weights.
        model: The model, in evaluation mode.
        conversion: What was loaded, missing and unexpected.
        order: Class of the checkpoint for each of our actions [A].
        num_stored: Number of classes of the checkpoint.
    """

    source: str
    model: AnticipationModel
    conversion: Conversion
    order: tuple[int, ...]
    num_stored: int

    def lines(self) -> list[str]:
        """Return the summary in words, one line per part."""
        told = loading_of(self.conversion).lines(self.source, missing_as=_FILLED, unexpected_as=_LEFT_OUT)
        return [*told, describe_order(self.order, self.num_stored)]


def published_model(path: Path, config: Any, taxonomy: Taxonomy, *, class_names: str) -> Published:
    """Build a whole model from a published checkpoint.

    Args:
        path: File of weights.
        config: The model wanted, with the sizes of the checkpoint.
        taxonomy: Our classes.
        class_names: See `read_class_order`.

    Raises:
        RunError: If the file cannot be read as plain weights.
        ConfigError: If weights, sizes or classes do not fit; gives both sides.
    """
    stored = read_published(path, config)
    num_stored = _require_classes(path, stored)
    order = read_class_order(class_names, taxonomy, num_stored=num_stored)
    try:
        model, conversion = build_published(stored, config, num_actions=taxonomy.num_actions, class_order=order)
    except ConfigError as err:
        raise ConfigError(f"{path}: {err}") from err
    _check_fields(path, stored, config, taxonomy)
    return Published(str(path), model, conversion, order, num_stored)


def _require_classes(path: Path, stored: Mapping[str, Tensor]) -> int:
    if not (num_stored := stored_actions(stored)):
        raise ConfigError(f"{path}: holds no classifier of actions; was it trained for verbs or nouns alone?")
    return num_stored


def _check_fields(path: Path, stored: Mapping[str, Tensor], config: Any, taxonomy: Taxonomy) -> None:
    if config.name == "rulstm" or not config.head.verb_noun:
        return
    found = {field: len(stored[f"classifiers.{field}.bias"]) for field in ("verb", "noun")}
    ours = {"verb": len(taxonomy.verbs), "noun": len(taxonomy.nouns)}
    if found != ours:
        raise ConfigError(
            f"{path}: the checkpoint knows {found['verb']} verbs and {found['noun']} nouns, the data set "
            f"{ours['verb']} and {ours['noun']}; set model.head.verb_noun=false to sum them from the actions"
        )


def start_from_weights(model: AnticipationModel, init: InitConfig, config: Any, taxonomy: Taxonomy) -> list[str]:
    """Copy the published checkpoint `init.weights`, or its blocks `init.blocks`, into a model.

    Returns:
        What was loaded, what keeps its own start values, and what of the checkpoint was not used; one line each.

    Raises:
        RunError: If the file cannot be read, or a block does not exist.
        ConfigError: If weights, sizes or classes do not fit; gives both sides.
    """
    path = Path(init.weights)
    blocks = init.blocks or block_names(model)
    if any(block in CLASS_BLOCKS for block in blocks):
        published = published_model(path, config, taxonomy, class_names=init.class_names)
        source, conversion = published.model, published.conversion
        lines = [describe_order(published.order, published.num_stored)]
    else:
        if init.class_names:
            raise ConfigError(
                f"init.class_names={init.class_names} has no effect with init.blocks={list(init.blocks)}, which hold "
                "no classes; remove it"
            )
        stored = read_published(path, config)
        bare = replace(config, head=replace(config.head, verb_noun=False))
        try:
            source, conversion = build_published(stored, bare, num_actions=_require_classes(path, stored))
        except ConfigError as err:
            raise ConfigError(f"{path}: {err}") from err
        lines = []
    copied, given = copy_blocks(model, source, blocks), loading_of(conversion)
    told = Loading(
        loaded=tuple(name for name in copied.loaded if name in given.loaded),
        missing=(*(name for name in copied.loaded if name in given.missing), *copied.missing),
        unexpected=(*given.unexpected, *(name for name in copied.unexpected if name in given.loaded)),
        notes=given.notes,
    )
    return [*told.lines(init.weights, unexpected_as=_LEFT_OUT), *lines]
