"""What every anticipation model is and returns, and the registry of models: name -> class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar, TypeVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.plugins import load_plugins

GROUP = "sgear.models"
SOURCES = ("video", "features", "annotations")
"""What a clip can be made of; see `AnticipationModel.sources`."""


@dataclass(frozen=True)
class AnticipationOutput:
    """Named tensors of one forward pass; B clips, T steps, D width, A actions.

    Args:
        observed: Feature of each step as the decoder reads it [B T D].
        predicted: Decoder output [B T D]; step t predicts the feature of step t + 1, the last step the action
            `tau_a` later.
        logits: Scores of the next action [B A].
        next_logits: Scores of the action that follows each step [B T A]; the last step's are `logits`.
        aggregated: Input of the classifier for the next action [B D]; its class means are visual prototypes.
        past_logits: Scores of the action of each observed step [B T A], made from the feature that was predicted
            for it (from its own feature where nothing precedes it); None where a model does not recognise.
        horizon_logits: Scores of the next action as seen from each of the last S steps [B S A]; the last step's are
            `logits`. None where a model does not look ahead from earlier steps.
        prototype_similarity: Cosine of the anticipated feature to each visual prototype [B A]; None without
            prototypes.
        past_similarity: The same of the features behind `past_logits`, or of the class tokens of the observed frames
            (`head.past_similarity`) [B T A]; None without prototypes.
        prototypes: Visual prototypes [A D]; None without prototypes.
        verb_logits: Scores of the verb of the next action [B V]; None without a verb classifier.
        noun_logits: Scores of the noun of the next action [B N]; None without a noun classifier.
    """

    observed: Float[Tensor, "B T D"]
    predicted: Float[Tensor, "B T D"]
    logits: Float[Tensor, "B A"]
    next_logits: Float[Tensor, "B T A"]
    aggregated: Float[Tensor, "B D"]
    past_logits: Float[Tensor, "B T A"] | None = None
    horizon_logits: Float[Tensor, "B S A"] | None = None
    prototype_similarity: Float[Tensor, "B A"] | None = None
    past_similarity: Float[Tensor, "B T A"] | None = None
    prototypes: Float[Tensor, "A D"] | None = None
    verb_logits: Float[Tensor, "B V"] | None = None
    noun_logits: Float[Tensor, "B N"] | None = None


class AnticipationModel(nn.Module, ABC):
    """Base of all models: built from one dataclass and the sizes of a vocabulary.

    Attributes:
        Config: Dataclass of the settings, with `name` and `max_steps`; it stands beside the class.
        sources: Of what its clips can be made: one or several of `SOURCES`.
        config: The settings it was built from.
    """

    Config: ClassVar[type]
    sources: ClassVar[tuple[str, ...]]
    config: Any

    def __init__(self, config: Any, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, clip: Tensor, mask: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate.

        Args:
            clip: Frames [B T 3 H W], clips of F frames [B T F 3 H W], or stored features [B T F], in order of time.
            mask: Which steps are real [B T]. Default: all.
        """


_MODELS: dict[str, type[AnticipationModel]] = {}
Model = TypeVar("Model", bound=type)


def register_model(name: str) -> Callable[[Model], Model]:
    """Return a class decorator that makes a model known as `model.name=name`.

    Raises:
        TypeError: If the class lacks what every model needs, or the name is taken; when its module is imported.
    """

    def register(cls: Model) -> Model:
        config = getattr(cls, "Config", None)
        # Checked when the module is imported: a third party's mistake is named there, not in the midst of a training.
        settings = {item.name for item in fields(config)} if config is not None and is_dataclass(config) else set()
        sources = getattr(cls, "sources", ())
        for is_there, lack in (
            (issubclass(cls, AnticipationModel), "must be a subclass of AnticipationModel"),
            (not getattr(cls, "__abstractmethods__", ()), "lacks forward or another abstract method"),
            ({"name", "max_steps"} <= settings, "needs Config, a dataclass with name and max_steps"),
            (sources and set(sources) <= set(SOURCES), f"needs sources, one or several of {', '.join(SOURCES)}"),
            (_MODELS.get(name, cls).__qualname__ == cls.__qualname__, f"takes the name of {_MODELS.get(name)}"),
        ):
            if not is_there:
                raise TypeError(f"model {name!r}: {cls.__module__}.{cls.__qualname__} {lack}")
        _MODELS[name] = cls
        return cls

    return register


def list_models() -> list[str]:
    """Return the names that `model.name` takes, those of plug-ins included, in order of the alphabet."""
    load_plugins(GROUP)
    return sorted(_MODELS)


def model_class(name: str) -> type[AnticipationModel]:
    """Return the class of a model.

    Raises:
        ConfigError: If no model has that name; lists those there are.
    """
    if name not in _MODELS:
        load_plugins(GROUP)
    if name not in _MODELS:
        raise ConfigError(f"model.name={name!r} is unknown; choose {', '.join(sorted(_MODELS))}")
    return _MODELS[name]


def model_config(name: str = "sgear", **settings: Any) -> Any:
    """Return the settings of a model, with their defaults where they are not given.

    Args:
        name: One of `list_models()`.
        settings: Fields of its `Config`, e.g. `width=256, max_steps=20`.

    Raises:
        ConfigError: If no model has that name, or it has no such setting.
    """
    kind = model_class(name).Config
    try:
        return kind(name=name, **settings)
    except TypeError as err:
        known = ", ".join(item.name for item in fields(kind))
        raise ConfigError(f"model {name!r}: {err}; it has {known}") from err


def build_model(config: Any, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> AnticipationModel:
    """Build the model that `config.name` asks for.

    Args:
        config: Its `Config`.
        num_actions: Number of action classes A.
        num_verbs: Number of verbs V; needed for `head.verb_noun`.
        num_nouns: Number of nouns N; needed for `head.verb_noun`.

    Raises:
        ConfigError: If a name or mode is unknown, or a setting does not fit another one.
    """
    cls = model_class(config.name)
    return cls(config, num_actions=num_actions, num_verbs=num_verbs, num_nouns=num_nouns)


def without_starts(config: Any) -> Any:
    """Return the settings of a model without other weights that its encoder would start from."""
    if not hasattr(config, "encoder"):
        return config
    return replace(config, encoder=replace(config.encoder, pretrained=False, weights=""))


NO_STREAM = "mode=original reads a clip as a whole, later frames included; choose another mode for streams"
"""What to say where TCA or prototype attention in the form of the released code is asked for single steps."""


def check_num_steps(num_steps: int, max_steps: int, *, what: str = "clip", remedy: str = "") -> None:
    """Raise if a clip or a stream needs more steps than the model has.

    Args:
        num_steps: Steps needed.
        max_steps: Steps there are.
        what: What is too long.
        remedy: What to do. Default: what helps with a clip.

    Raises:
        ValueError: Gives both numbers and the remedy.
    """
    if num_steps > max_steps:
        raise ValueError(
            f"{what} of {num_steps} steps, but this model was built for at most {max_steps}; "
            + (remedy or "shorten tau_o_s * fps or train with a larger model.max_steps")
        )


def require_whole_clip(num_steps: int, expected: int, mask: Bool[Tensor, "_ T"] | None) -> None:
    """Raise unless a clip has the one length that the released code takes, and all its steps are real.

    Raises:
        ValueError: Says what is asked for.
    """
    num_real = num_steps if mask is None else int(mask.sum(dim=1).min())
    if num_steps != expected or num_real != expected:
        raise ValueError(
            f"mode=original reads clips of exactly {expected} real steps, got {num_steps}, of them {num_real} real; "
            "set model.max_steps to the number of steps of a clip, and protocol.short_history=repeat"
        )


def hide_absent(clip: Tensor, mask: Bool[Tensor, "B T"] | None) -> Tensor:
    """Return a clip [B T ...] with zeros where steps do not exist, so that nothing that stands there is ever read.

    A mask on attention alone would not do: it hides numbers, but a NaN times a weight of 0 is a NaN.
    """
    if mask is None:
        return clip
    return clip.masked_fill(~mask.reshape(*mask.shape, *(1,) * (clip.ndim - 2)), 0.0)
