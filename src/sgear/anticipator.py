"""A trained model as one object: forecasts all through a video, and of frames as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from sgear.errors import ConfigError, RunError
from sgear.forecast import Forecast, LaterStep, RawFrame, as_rgb
from sgear.lineage import Lineage
from sgear.models import AnticipationModel
from sgear.models.pretrained import DESCRIPTION_FILE, WEIGHTS_FILE, Preprocessing, TrainedModel, load_model
from sgear.models.stepwise import StepwiseModel, StreamState
from sgear.open_vocabulary import with_actions
from sgear.prototypes.language import OFFLINE_ENCODER
from sgear.taxonomy import Taxonomy
from sgear.timing import TIME_TOLERANCE_S, AnticipationProtocol, frames_of_steps, observable
from sgear.video.base import FrameConverter, Video, opening_s, orientation_of
from sgear.video.pool import ReadingSize, open_video
from sgear.video.transforms import ClipTransform, finish_clip

_WINDOWS_PER_BATCH = 16


def load(
    source: Path | str, *, device: str = "auto", actions: Sequence[str] = (), encoder: str = OFFLINE_ENCODER
) -> Anticipator:
    """Load a trained model.

    Args:
        source: Run folder, model folder, or one of the two files of a model folder.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        actions: Names in the place of those that the model was trained on; see `sgear.open_vocabulary.with_actions`.
        encoder: Sentence encoder of the model, for `actions`.

    Raises:
        RunError: If there is no trained model, or its files are damaged.
        ConfigError: If a GPU is asked for and there is none.
    """
    path = Path(source)
    if path.name in (WEIGHTS_FILE, DESCRIPTION_FILE) and path.is_file():
        path = path.parent
    if not (path / DESCRIPTION_FILE).is_file():
        if not path.exists():
            raise RunError(f"{path}: no such run or model; 'sgear train' makes one")
        path = path / "model"
    trained = load_model(path)
    if actions:
        trained = with_actions(trained, actions, encoder=encoder)
    return Anticipator(trained, device=choose_device(device))


def choose_device(name: str) -> str:
    """Return `cpu` or `cuda` for a name that may be `auto`.

    Raises:
        ConfigError: If the name is unknown, or a GPU is asked for and there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu or cuda, got {name!r}")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ConfigError("device cuda, but torch finds no GPU; use cpu, or see what 'sgear doctor' says")
    return name if name != "auto" else "cuda" if has_gpu else "cpu"


class Anticipator:
    """A trained model with its vocabulary, protocol and preprocessing.

    Attributes:
        model: The network, in evaluation mode.
        config: What the network was built from.
        taxonomy: Its classes.
        protocol: How its input was sampled in training.
        preprocessing: How frames become its input.
        lineage: Videos that the weights were learnt from.
        device: Where it runs.
    """

    def __init__(self, trained: TrainedModel, *, device: str = "cpu") -> None:
        self.model: AnticipationModel = trained.model.to(device)
        self.config = trained.config
        self.taxonomy: Taxonomy = trained.taxonomy
        self.protocol = trained.protocol
        self.preprocessing: Preprocessing = trained.preprocessing
        self.lineage: Lineage = trained.lineage
        self.device = device

    def __repr__(self) -> str:
        actions = f"{self.taxonomy.num_actions} actions"
        return f"Anticipator({self.config.name}, {actions}, {self.preprocessing.kind}, {self.protocol})"

    def anticipate(
        self,
        video: Path | str | Video,
        *,
        every_s: float = 1.0,
        top_k: int = 5,
        frame_fps: float | None = None,
        steps_ahead: int = 1,
    ) -> Iterator[Forecast]:
        """Forecast the next action at regular instants of a video, each from the past alone.

        Args:
            video: Any video file, or folder or tar file of images, see `sgear.video.open_video`; or one that is open,
                which is then read at another size.
            every_s: Seconds between two forecasts.
            top_k: Number of actions in a forecast.
            frame_fps: Rate at which images were numbered; needed for a video that is made of them.
            steps_ahead: Number of predicted steps: the next action, and by roll-out what comes 1 / fps, 2 / fps, ...
                seconds after it, fps being that of the model's protocol.

        Yields:
            One forecast at 0, every_s, 2 every_s, ... seconds, from the first frame until the last has been shown.

        Raises:
            RunError: If the model reads stored features, was trained for recognition, or is to look several steps
                ahead and cannot be rolled out.
            VideoError: If the video cannot be read.
            ValueError: If `every_s` is not positive, or `steps_ahead` below 1.
        """
        if not every_s > 0:
            raise ValueError(f"every_s must be positive, got {every_s}")
        if steps_ahead < 1:
            raise ValueError(f"steps_ahead must be at least 1, got {steps_ahead}")
        protocol, transform = self._pixel_protocol(), self._transform()
        if steps_ahead > 1 and not isinstance(self.model, StepwiseModel):
            raise RunError("this model predicts one step; to look further ahead, choose a run of S-GEAR or AVT")
        with nullcontext(video) if isinstance(video, Video) else open_video(video, frame_fps=frame_fps) as reader:
            reader.resize(self._reading_size())
            first_s = opening_s(reader)
            nows_s = np.arange(0.0, reader.end_s - TIME_TOLERANCE_S, every_s)
            nows_s = nows_s[observable(nows_s, first_s)]
            seen = _SeenFrames(reader, transform)
            for begin in range(0, len(nows_s), _WINDOWS_PER_BATCH):
                chunk_s = nows_s[begin : begin + _WINDOWS_PER_BATCH]
                # The window that ends at `now` is the window before an action that would start at now + tau_a.
                # Rounding to microseconds lets windows share the frames they have in common.
                windows_s = np.stack([protocol.timestamps(now_s + protocol.tau_a_s).round(6) for now_s in chunk_s])
                if protocol.short_history == "repeat":
                    windows_s = np.maximum(windows_s, first_s)
                mask = observable(windows_s, first_s)
                frames_s = self._frames_of(np.maximum(windows_s, first_s), first_s)
                seen.load(frames_s[mask])
                clips = torch.zeros(*frames_s.shape, 3, transform.height, transform.width, dtype=torch.uint8)
                for row, (window_s, real) in enumerate(zip(frames_s, mask, strict=True)):
                    clips[row, torch.from_numpy(real)] = seen.clip(window_s[real])
                logits = self._run(clips, torch.from_numpy(mask), steps_ahead)
                for now_s, (top, *later) in zip(chunk_s, self._most_likely(logits, top_k), strict=True):
                    following = tuple(
                        LaterStep(protocol.tau_a_s + step / protocol.fps, actions)
                        for step, actions in enumerate(later, start=1)
                    )
                    yield Forecast(now_s=float(now_s), tau_a_s=protocol.tau_a_s, top=top, later=following)

    def stream(self, *, top_k: int = 5) -> ForecastStream:
        """Return a stream that is given frames as they come.

        Args:
            top_k: Number of actions in a forecast.

        Raises:
            RunError: If the model reads stored features, or was trained for recognition.
        """
        return ForecastStream(self, self._pixel_protocol(), top_k)

    def _pixel_protocol(self) -> AnticipationProtocol:
        if self.preprocessing.kind != "video":
            raise RunError(
                "this model reads stored features, not videos; choose a run that was trained with source.kind=video"
            )
        if not isinstance(self.protocol, AnticipationProtocol):
            raise RunError(f"this run was trained for {self.protocol.kind}; choose an anticipation run")
        return self.protocol

    def _transform(self) -> ClipTransform:
        settings = self.preprocessing
        return ClipTransform(
            settings.height,
            settings.width,
            settings.mean,
            settings.std,
            crop_margin=settings.crop_margin,
            flip=False,
            brightness=0.0,
            contrast=0.0,
        )

    def _frames_of(self, instants_s: NDArray[np.float64], first_s: float) -> NDArray[np.float64]:
        """Return the instants that each step shows: [... F] of an encoder of clips, else those given."""
        settings = self.preprocessing
        if settings.frames_per_step == 1:
            return instants_s
        return frames_of_steps(
            instants_s,
            frames_per_step=settings.frames_per_step,
            step_frames_s=settings.step_frames_s,
            first_s=first_s,
        ).round(6)

    def _reading_size(self) -> ReadingSize:
        settings = self.preprocessing
        return ReadingSize(settings.height, settings.width, settings.reading_margin)

    def _finish(self, clips: UInt8[Tensor, "B T *F 3 h w"], mask: Tensor | None) -> Float[Tensor, "B T *F 3 h w"]:
        colour = self._transform().colour.to(self.device).expand(len(clips), -1, -1)
        return finish_clip(clips.to(self.device), colour, mask)

    @torch.inference_mode()
    def _run(self, clips: UInt8[Tensor, "B T *F 3 h w"], mask: Tensor, steps_ahead: int = 1) -> Float[Tensor, "B S A"]:
        """Return the scores of the next action and, by roll-out, of those that follow."""
        real = mask.to(self.device)
        output = self.model(self._finish(clips, real), real)
        steps = output.logits[:, None]
        if steps_ahead > 1:
            assert isinstance(self.model, StepwiseModel)
            # The first step is the one that `forward` gave, to the bit.
            further = self.model.rollout(output.observed, steps_ahead, real).logits[:, 1:]
            steps = torch.cat([steps, further], dim=1)
        return steps

    def _most_likely(self, logits: Float[Tensor, "B S A"], top_k: int) -> list[list[tuple[tuple[str, float], ...]]]:
        """Return the (name, probability) pairs of each step of each window, most likely first."""
        names: Sequence[str] = self.taxonomy.action_names
        best = logits.float().softmax(dim=-1).cpu().topk(min(top_k, logits.shape[-1]))

        def named(window: int, step: int) -> tuple[tuple[str, float], ...]:
            pairs = zip(best.indices[window, step], best.values[window, step], strict=True)
            return tuple((names[int(action)], float(value)) for action, value in pairs)

        num_windows, num_steps = logits.shape[:2]
        return [[named(window, step) for step in range(num_steps)] for window in range(num_windows)]


class _SeenFrames:
    """Frames of the video that a window may still need, cut and resized once each."""

    def __init__(self, reader: Video, transform: ClipTransform) -> None:
        self._reader = reader
        self._transform = transform
        self._frames: dict[float, Tensor] = {}

    def clip(self, timestamps_s: NDArray[np.float64]) -> Tensor:
        """Return the uint8 frames played at the instants [... 3 h w]."""
        frames = torch.stack([self._frames[t_s] for t_s in timestamps_s.reshape(-1).tolist()])
        return frames.reshape(*timestamps_s.shape, *frames.shape[1:])

    def load(self, timestamps_s: NDArray[np.float64]) -> None:
        """Read what is not there yet and forget what is older than the first instant."""
        wanted = sorted(set(timestamps_s.reshape(-1).tolist()))
        self._frames = {t_s: frame for t_s, frame in self._frames.items() if t_s >= wanted[0]}
        new = [t_s for t_s in wanted if t_s not in self._frames]
        if new:
            batch = self._reader.frames_played_at(new)
            self._frames |= dict(zip(new, self._transform.evaluate(batch.frames), strict=True))


class ForecastStream:
    """Forecasts of one stream of frames; made by `Anticipator.stream`.

    The model observes the stream at its own step (1 / fps of its protocol), counted from the first frame. What it sees
    at an instant is the newest frame that began at or before it, as in a video that is read from disk. A forecast
    comes with the first frame at or after each instant. Where frames are missing for longer than the model's window,
    it starts anew with the frame that comes then.

    Models whose state goes on without end (AVT; S-GEAR without TCA or with TCA in mode `decay`) read each frame once;
    the others read their window of frames again at each instant. Up to a full window both equal the forecast of
    `Anticipator.anticipate`; after that the former may also know of older frames.
    """

    def __init__(self, owner: Anticipator, protocol: AnticipationProtocol, top_k: int) -> None:
        self._owner, self._protocol, self._top_k = owner, protocol, top_k
        self._transform = owner._transform()
        self._converter: FrameConverter | None = None
        self._size: tuple[int, int] | None = None
        model = owner.model
        # A longer decoder would read steps that no window of training had.
        fits = owner.config.max_steps == protocol.num_steps
        self._model = model if isinstance(model, StepwiseModel) and model.streams_endlessly and fits else None
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one starts a new stream."""
        self._start_s: float | None = None
        self._num_steps = 0
        self._held: deque[_HeldFrame] = deque()
        self._state: StreamState | None = None
        self._window: deque[tuple[Tensor, bool]] = deque(maxlen=self._protocol.num_steps)

    def push(self, frame: RawFrame, t_s: float) -> Forecast | None:
        """Give the next frame.

        Args:
            frame: RGB, upright, of any size.
            t_s: When it began, in seconds of any clock.

        Returns:
            A forecast where the model's next instant has come, about `tau_a_s` after it.

        Raises:
            ValueError: If the time is not finite, or lies before that of the frame before (`reset` starts anew), or the
                frame is no RGB image.
        """
        if not np.isfinite(t_s):
            raise ValueError(f"t_s must be a finite number of seconds, got {t_s}")
        newest_s = self._held[-1].t_s if self._held else t_s
        if t_s < newest_s:
            raise ValueError(
                f"a frame of {t_s:.3f} s comes after one of {newest_s:.3f} s; give frames in order of time, or "
                "call reset() where the clock starts anew"
            )
        # A copy: the frame may be shown at a later instant, and callers read their next one into the same memory.
        frame = frame if isinstance(frame, av.VideoFrame) else as_rgb(frame).copy()
        step_s, window_s = 1 / self._protocol.fps, self._protocol.num_steps / self._protocol.fps
        if t_s - newest_s > window_s:
            self.reset()
        if self._start_s is None:
            self._start_s = t_s
        logits, now_s = None, t_s
        self._held.append(_HeldFrame(frame, t_s))
        while (due_s := self._start_s + self._num_steps * step_s) <= t_s + TIME_TOLERANCE_S:
            frames_s = self._owner._frames_of(np.array(due_s), self._start_s)
            images = [self._shown(each_s) for each_s in frames_s.reshape(-1).tolist()]
            logits, now_s = self._step(torch.stack(images).reshape(*frames_s.shape, *images[0].shape)), due_s
        settings = self._owner.preprocessing
        reach_s = (settings.frames_per_step - 1) * settings.step_frames_s
        # A later step shows nothing older than the newest frame at `t_s - reach_s`.
        while len(self._held) > 1 and self._held[1].t_s <= t_s - reach_s:
            self._held.popleft()
        if logits is None:
            return None
        [[top]] = self._owner._most_likely(logits, self._top_k)
        return Forecast(now_s=now_s, tau_a_s=self._protocol.tau_a_s, top=top)

    def _shown(self, instant_s: float) -> UInt8[Tensor, "3 h w"]:
        """Return the newest frame that began at or before an instant; before the stream, its first one."""
        held = [each for each in self._held if each.t_s <= instant_s + TIME_TOLERANCE_S] or [self._held[0]]
        if held[-1].image is None:
            held[-1].image = self._cut(held[-1].frame)
        return held[-1].image

    @torch.inference_mode()
    def _step(self, image: UInt8[Tensor, "*F 3 h w"]) -> Float[Tensor, "1 1 A"]:
        if self._num_steps == 0:
            # As in a window that begins before its video: absent steps, or the first frame again and again.
            stands_in = self._protocol.short_history == "repeat"
            for _ in range(self._protocol.num_steps - 1):
                self._observe(image if stands_in else torch.zeros_like(image), is_real=stands_in)
        self._num_steps += 1
        return self._observe(image, is_real=True)

    def _observe(self, image: UInt8[Tensor, "*F 3 h w"], *, is_real: bool) -> Float[Tensor, "1 1 A"]:
        if self._model is not None:
            mask = torch.tensor([is_real], device=self._owner.device)
            clip = self._owner._finish(image[None, None], mask[None])
            output, self._state = self._model.step(clip[:, 0], self._state, mask)
            return output.logits[:, None]
        self._window.append((image, is_real))
        if len(self._window) < self._protocol.num_steps:
            return torch.empty(1, 1, self._owner.taxonomy.num_actions)
        images, mask = zip(*self._window, strict=True)
        return self._owner._run(torch.stack(images)[None], torch.tensor([mask]))

    def _cut(self, frame: np.ndarray | av.VideoFrame) -> UInt8[Tensor, "3 h w"]:
        is_coded = isinstance(frame, av.VideoFrame)
        size = orientation_of(frame).size(frame.height, frame.width) if is_coded else (frame.shape[0], frame.shape[1])
        if self._converter is None or size != self._size:
            self._size, self._converter = size, FrameConverter(*self._owner._reading_size()(size))
        if is_coded:
            image = self._converter(frame)
        else:
            is_of_size = size == (self._converter.height, self._converter.width)
            image = frame if is_of_size else self._converter.resize(frame)
        return self._transform.evaluate(torch.from_numpy(image).permute(2, 0, 1)[None])[0]


@dataclass
class _HeldFrame:
    """A frame of a stream that a step may still show, cut when it first is."""

    frame: np.ndarray | av.VideoFrame
    t_s: float
    image: Tensor | None = None
