"""What turns frames, or clips of frames, into tokens: the protocol of all video encoders, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.config import EncoderConfig
from sgear.plugins import load_plugins

GROUP = "sgear.encoders"


@dataclass(frozen=True, kw_only=True)
class FrameInput:
    """What an encoder reads at each step of a clip, known before it is built.

    Args:
        size: Height and width of the frames in pixels.
        mean: Mean of each color channel, of values in [0, 1].
        std: Standard deviation of each color channel.
        frames_per_step: Number F of frames that an encoder reads at each step; the last one is that of the step itself.
        step_frames_s: Seconds between two of these frames; 0 where F is 1.

    Raises:
        ConfigError: If a number is out of range.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    frames_per_step: int = 1
    step_frames_s: float = 0.0

    def __post_init__(self) -> None:
        # Frames of a step reach back from its instant: a negative distance would show the future.
        fits = self.step_frames_s > 0 if self.frames_per_step > 1 else self.step_frames_s == 0
        if min(self.size) < 1 or self.frames_per_step < 1 or not fits:
            raise ConfigError(
                f"an encoder reads at least 1 frame of at least 1 pixel per step, more than 1 at a distance above 0 s; "
                f"got {self}"
            )


class VideoEncoder(nn.Module, ABC):
    """Base of encoders of frames [B T 3 H W], or of clips of F frames per step [B T F 3 H W].

    Built from `EncoderConfig` and the width D of the tokens. A loader, the extraction of features and a live stream
    read from `frame_input` alone how to make its clips.

    Attributes:
        settings: What it was built from.
        loaded: What was loaded into it, missing and unexpected, in words; empty where it starts at random.
    """

    def __init__(self, config: EncoderConfig, *, width: int) -> None:
        super().__init__()
        self.settings = config
        self.loaded: list[str] = []

    @classmethod
    @abstractmethod
    def frame_input(cls, config: EncoderConfig) -> FrameInput:
        """Return what an encoder of these settings reads, without building it.

        Raises:
            ConfigError: If a setting is out of range.
        """

    @abstractmethod
    def forward(self, clip: Float[Tensor, "B T *F 3 H W"]) -> Float[Tensor, "B T N D"]:
        """Return the tokens of each step; the first one stands for the whole step."""


_ENCODERS: dict[str, Any] = {}
Encoder = TypeVar("Encoder", bound=type)


def register_encoder(name: str) -> Callable[[Encoder], Encoder]:
    """Return a class decorator that makes an encoder known as `model.encoder.name=name`.

    Raises:
        TypeError: If the class lacks what every encoder needs, or the name is taken; when its module is imported.
    """

    def register(cls: Encoder) -> Encoder:
        known: type[VideoEncoder] | None = _ENCODERS.get(name)
        for is_there, lack in (
            (issubclass(cls, VideoEncoder), "must be a subclass of VideoEncoder"),
            (not getattr(cls, "__abstractmethods__", ()), "lacks forward or frame_input"),
            (known is None or known.__qualname__ == cls.__qualname__, f"takes the name of {known}"),
        ):
            if not is_there:
                raise TypeError(f"encoder {name!r}: {cls.__module__}.{cls.__qualname__} {lack}")
        _ENCODERS[name] = cls
        return cls

    return register


def registered_encoder(name: str) -> type[VideoEncoder] | None:
    """Return the class of a registered encoder; None where there is none of that name, which may be one of timm's."""
    if name not in _ENCODERS:
        load_plugins(GROUP)
    return _ENCODERS.get(name)
