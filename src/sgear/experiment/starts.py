"""What a run starts from: that it is there before data are read, whose classes it knows, and which blocks are copied.

A checkpoint does not say what its classes are called. Their order must be given, as a list of names with ids or as that
of the data set; nothing is assumed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sgear.errors import ConfigError
from sgear.experiment.recipes import command_for, training_command
from sgear.experiment.schema import DatasetConfig, ExperimentConfig, InitConfig, encoder_weights
from sgear.files import quoted
from sgear.models import AnticipationModel
from sgear.models.blocks import CLASS_BLOCKS, block_names, copy_blocks
from sgear.models.conversion import Loading
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
    problems = [*_missing(config)]
    if problems:
        several = ["this experiment starts from what is not there yet:"] if len(problems) > 1 else []
        raise ConfigError("\n  ".join([*several, *problems]))
    encoder = getattr(config.model, "encoder", None)
    if encoder is not None and encoder.name != FEATURES and encoder.pretrained:
        require_published_weights(encoder.name)


def _missing(config: ExperimentConfig) -> Iterator[str]:
    init = config.init
    for key, name in [("init.run", init.run), *(("init.branches", branch) for branch in init.branches)]:
        run = RunDirectory(Path(name))
        if name and not run.model.is_dir():
            what = "holds no trained model" if run.path.is_dir() else "no such run directory"
            command = training_command(run.path, dataset=config.dataset)
            yield f"{key}={name}: {what}; {f'make it with: {command}' if command else 'check the path'}"
    files = {
        "init.visual_prototypes": (init.visual_prototypes, f"make it with: {_visual_command(config)}"),
        "init.language_prototypes": (init.language_prototypes, f"make it with: {_language_command(config)}"),
        "init.weights": (init.weights, "check the path"),
        "model.encoder.weights": (encoder_weights(config.model), "check the path"),
    }
    for key, (name, remedy) in files.items():
        if name and not Path(name).is_file():
            yield f"{key}={name}: no such file; {remedy}"


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
    found = {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream, skipinitialspace=True)
        rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
        if not {"id", "verb", "noun"} <= {*rows.fieldnames}:
            return {}
        for row in rows:
            values = [(row[name] or "").strip() for name in ("verb", "noun", "id")]
            # Names with a comma of their own shift what stands behind them.
            if None not in row and all(value.isdigit() for value in values):
                verb, noun, class_id = map(int, values)
                found[verb, noun] = class_id
    return found


@dataclass(frozen=True)
class Published:
    """A whole model with published weights.

    Args:
        source: File of the weights.
        model: The model, in evaluation mode.
        given: What was loaded, missing and unexpected.
        classes: In words, which classes of the checkpoint were moved and left out.
    """

    source: Path
    model: AnticipationModel
    given: Loading
    classes: str

    def lines(self) -> list[str]:
        """Return the summary in words, one line per part."""
        told = self.given.lines(str(self.source), missing_as="each has one right value", unexpected_as=_LEFT_OUT)
        return [*told, self.classes]


def published_model(path: Path, config: Any, taxonomy: Taxonomy | None, *, class_names: str) -> Published:
    """Build a whole model from a published checkpoint.

    Args:
        path: File of weights.
        config: The model wanted, with the sizes of the checkpoint.
        taxonomy: Our classes. None: those of the checkpoint, which nobody asks for.
        class_names: See `read_class_order`.

    Raises:
        RunError: If the file cannot be read as plain weights.
        ConfigError: If weights, sizes or classes do not fit; gives both sides.
    """
    stored = read_published(path, config)
    if not (num_stored := stored_actions(stored)):
        raise ConfigError(f"{path}: holds no classifier of actions; was it trained for verbs or nouns alone?")
    order = None if taxonomy is None else read_class_order(class_names, taxonomy, num_stored=num_stored)
    num_actions, classes = num_stored if order is None else len(order), ""
    if order is not None:
        num_moved = sum(class_id != row for row, class_id in enumerate(order))
        classes = f"classes: {num_actions} actions, {num_moved} of them at another place in the checkpoint"
        if num_stored > num_actions:
            classes += f", {num_stored - num_actions} classes of the checkpoint left out"
    try:
        model, conversion = build_published(stored, config, num_actions=num_actions, class_order=order)
    except ConfigError as err:
        raise ConfigError(f"{path}: {err}") from err
    if taxonomy is not None and config.name != "rulstm" and config.head.verb_noun:
        num_verbs, num_nouns = (len(stored[f"classifiers.{field}.bias"]) for field in ("verb", "noun"))
        if (num_verbs, num_nouns) != (len(taxonomy.verbs), len(taxonomy.nouns)):
            raise ConfigError(
                f"{path}: the checkpoint knows {num_verbs} verbs and {num_nouns} nouns, the data set "
                f"{len(taxonomy.verbs)} and {len(taxonomy.nouns)}; set model.head.verb_noun=false to sum them from the "
                "actions"
            )
    given = Loading(
        loaded=tuple(name for name in conversion.state if name not in conversion.filled),
        missing=conversion.filled,
        unexpected=conversion.left_out,
        notes=(conversion.assumed,) if conversion.assumed else (),
    )
    return Published(path, model, given, classes)


def start_from_weights(model: AnticipationModel, init: InitConfig, config: Any, taxonomy: Taxonomy) -> list[str]:
    """Copy the published checkpoint `init.weights`, or its blocks `init.blocks`, into a model.

    Returns:
        What was loaded, what keeps its own start values, and what of the checkpoint was not used; one line each.

    Raises:
        RunError: If the file cannot be read, or a block does not exist.
        ConfigError: If weights, sizes or classes do not fit; gives both sides.
    """
    blocks = init.blocks or block_names(model)
    if any(block in CLASS_BLOCKS for block in blocks):
        published = published_model(Path(init.weights), config, taxonomy, class_names=init.class_names)
    elif init.class_names:
        raise ConfigError(
            f"init.class_names={init.class_names} has no effect with init.blocks={list(init.blocks)}, which hold "
            "no classes; remove it"
        )
    else:
        bare = replace(config, head=replace(config.head, verb_noun=False))
        published = published_model(Path(init.weights), bare, None, class_names="")
    copied, given = copy_blocks(model, published.model, blocks), published.given
    told = Loading(
        loaded=tuple(name for name in copied.loaded if name in given.loaded),
        missing=(*(name for name in copied.loaded if name in given.missing), *copied.missing),
        unexpected=(*given.unexpected, *(name for name in copied.unexpected if name in given.loaded)),
        notes=given.notes,
    )
    classes = [published.classes] if published.classes else []
    return [*told.lines(init.weights, unexpected_as=_LEFT_OUT), *classes]
