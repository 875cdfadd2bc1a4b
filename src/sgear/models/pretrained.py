"""A trained model on disk, with everything that makes its numbers repeatable.

Weights alone are not a model: the class vocabulary, the protocol, the preprocessing and the videos that they were
learnt from are saved beside them, and loading is strict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sgear.errors import RunError
from sgear.files import replacing, write_whole
from sgear.lineage import UNKNOWN, Lineage
from sgear.models.base import (
    AnticipationModel,
    build_model,
    list_models,
    model_class,
    without_starts,
)
from sgear.models.conversion import describe_mismatch
from sgear.taxonomy import Taxonomy
from sgear.timing import RecognitionProtocol, WindowProtocol, protocol_from_dict

FORMAT = "sgear-model-1"
WEIGHTS_FILE = "weights.safetensors"
DESCRIPTION_FILE = "model.json"


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a clip is made from a video or a feature table.

    Args:
        kind: `video`, `features`, or `annotations` (baselines).
        height: Frame height in pixels (video).
        width: Frame width in pixels (video).
        mean: Channel means after division by 255 (video).
        std: Channel standard deviations (video).
        crop_margin: Share by which a frame is larger than the crop that the model reads (video).
        reading_margin: The same of the frames that are read from the video: they leave room for the widest crop of
            training. At least `crop_margin` (video).
        frames_per_step: Number F of frames that the encoder reads at each step (video).
        step_frames_s: Seconds between two of these frames (video).
        pool_s: Features are averaged over this many seconds per step (features).
    """

    kind: str
    height: int = 0
    width: int = 0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    crop_margin: float = 0.0
    reading_margin: float = 0.0
    frames_per_step: int = 1
    step_frames_s: float = 0.0
    pool_s: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "reading_margin", max(self.reading_margin, self.crop_margin))


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model with its vocabulary, protocol, preprocessing and class prior.

    Args:
        model: The module, in evaluation mode.
        config: What the module was built from.
        taxonomy: Names of its classes.
        protocol: How its input was sampled in training.
        preprocessing: How a clip is made.
        log_prior: Logarithm of the smoothed class frequencies of the training set [A]; the forecast where nothing
            can be seen.
        lineage: Videos that the weights were learnt from.
    """

    model: AnticipationModel
    config: Any
    taxonomy: Taxonomy
    protocol: WindowProtocol | RecognitionProtocol
    preprocessing: Preprocessing
    log_prior: Float[Tensor, " A"]
    lineage: Lineage = UNKNOWN


def model_config_from_dict(values: dict[str, Any]) -> Any:
    """Rebuild the `Config` of a model from nested dicts.

    Descriptions written before each model had a `Config` of its own hold the settings of all models; those that the
    model does not read are left out.

    Raises:
        ConfigError: If no model has that name.
        TypeError: If a setting is unknown.
    """
    kind = model_class(values["name"]).Config
    # Settings of other models are dropped; one that no model knows is a misspelling, or of a later version.
    names = {item.name for item in fields(kind)}
    foreign = {item.name for name in list_models() for item in fields(model_class(name).Config)} - names
    return _from_dict(kind, {name: value for name, value in values.items() if name not in foreign})


def _from_dict(kind: type, values: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    return kind(
        **{
            name: _from_dict(hints[name], value) if is_dataclass(hints.get(name)) else value
            for name, value in values.items()
        }
    )


def save_model(trained: TrainedModel, folder: Path) -> None:
    """Write weights and description; the description comes last, so that a half-written folder is not a model.

    Raises:
        WriteError: If they cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.model.state_dict().items()}
    description = {
        "format": FORMAT,
        "config": asdict(trained.config),
        "taxonomy": trained.taxonomy.to_dict(),
        "protocol": trained.protocol.to_dict(),
        "preprocessing": asdict(trained.preprocessing),
        "lineage": trained.lineage.to_dict(),
    }
    with replacing(folder / WEIGHTS_FILE) as partial:
        save_file({**tensors, "log_prior": trained.log_prior.contiguous()}, partial)
    write_whole(folder / DESCRIPTION_FILE, json.dumps(description, indent=1).encode())


def load_model(folder: Path) -> TrainedModel:
    """Load a model written by `save_model`, strictly.

    Raises:
        RunError: If files are missing, damaged, or do not belong together.
    """
    description = _read_description(folder)
    try:
        lineage = Lineage.from_dict(description.get("lineage"), name=str(folder))
        tensors = load_file(folder / WEIGHTS_FILE)
        config = model_config_from_dict(description["config"])
        taxonomy = Taxonomy.from_dict(description["taxonomy"])
        stored: dict[str, Any] = dict(description["preprocessing"])
        stored["mean"], stored["std"] = tuple(stored["mean"]), tuple(stored["std"])
        preprocessing = Preprocessing(**stored)
        protocol = protocol_from_dict(description["protocol"])
        log_prior = tensors.pop("log_prior")
        # The saved weights replace any published ones, so nothing else is read or downloaded here.
        model = build_model(
            without_starts(config),
            num_actions=taxonomy.num_actions,
            num_verbs=len(taxonomy.verbs),
            num_nouns=len(taxonomy.nouns),
        )
        problem = describe_mismatch(model.state_dict(), tensors)
        if problem:
            raise RunError(
                f"{folder / WEIGHTS_FILE}: not the weights of the model that {DESCRIPTION_FILE} describes "
                f"({config.name}, width {config.width}, {taxonomy.num_actions} actions): {problem}; copy both files "
                "of one run again"
            )
        model.load_state_dict(tensors, strict=True)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as err:
        raise RunError(f"{folder}: the model cannot be loaded ({err}); train it again or copy it again") from err
    return TrainedModel(
        model=model.eval(),
        config=config,
        taxonomy=taxonomy,
        protocol=protocol,
        preprocessing=preprocessing,
        log_prior=log_prior,
        lineage=lineage,
    )


def read_lineage(folder: Path) -> Lineage:
    """Return which videos a model written by `save_model` was learnt from, without its weights.

    Raises:
        RunError: If there is no model, or its description is damaged.
    """
    description = _read_description(folder)
    with _damaged(folder):
        return Lineage.from_dict(description.get("lineage"), name=str(folder))


def read_protocol(folder: Path) -> dict[str, float | str]:
    """Return the protocol that a model written by `save_model` was trained under, without its weights.

    Raises:
        RunError: If there is no model, or its description is damaged.
    """
    description = _read_description(folder)
    with _damaged(folder):
        return protocol_from_dict(description["protocol"]).to_dict()


@contextmanager
def _damaged(folder: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as err:
        raise RunError(f"{folder / DESCRIPTION_FILE}: damaged ({err!r}); copy it again or train the run again") from err


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise RunError(f"{folder}: holds no trained model ({DESCRIPTION_FILE} is missing); train it with 'sgear train'")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise RunError(f"{path}: cannot be read ({err}); train the run again or copy it again") from err
    found = description.get("format") if isinstance(description, dict) else type(description).__name__
    if found != FORMAT:
        raise RunError(f"{path}: expected format {FORMAT}, got {found!r}")
    return description
