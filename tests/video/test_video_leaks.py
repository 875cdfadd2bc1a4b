"""Reading clips for hours holds no more memory than reading for a minute."""

import ctypes
import gc
from pathlib import Path

import numpy as np
import pytest
from coded_videos import make_video, steady
from numbered_files import make_folder, make_tar

from sgear.video.pool import VideoPool

_STATM = Path("/proc/self/statm")
_MIB = 1 << 20


def _resident_bytes() -> int:
    gc.collect()
    # What the allocator keeps for later is not a leak.
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    page_bytes = 4096 if not hasattr(ctypes.CDLL(None), "getpagesize") else ctypes.CDLL(None).getpagesize()
    return int(_STATM.read_text().split()[1]) * page_bytes


def _videos(root: Path) -> dict[str, Path]:
    videos = {f"v{idx}": make_video(root / f"v{idx}.mp4", steady(20), size=(96, 128), noise=20) for idx in range(5)}
    videos["rot"] = make_video(root / "rot.mkv", steady(20), rotation=90, num_b=2)
    videos["folder"] = make_folder(root / "folder", range(1, 21))
    videos["tar"] = make_tar(root / "video.tar", range(1, 21))
    return videos


def _growth_mib(videos: dict[str, Path], num_clips: int) -> float:
    """Read clips at random, most of them from videos that must be opened; return the growth after a warm-up."""
    rng = np.random.default_rng(0)
    video_ids = list(videos)
    after_warm_up = 0
    with VideoPool(videos, size=(48, 64), frame_fps=30.0, max_open=3) as pool:
        for idx in range(num_clips):
            if idx == num_clips // 5:
                after_warm_up = _resident_bytes()
            video_id = video_ids[int(rng.integers(len(video_ids)))]
            assert len(pool.frames_played_at(video_id, rng.uniform(0, 0.6, 3))) == 3
        return (_resident_bytes() - after_warm_up) / _MIB


needs_statm = pytest.mark.skipif(not _STATM.is_file(), reason="needs /proc to measure memory")


@needs_statm
def test_five_hundred_clips_leave_memory_where_it_was(tmp_path):
    # A leaked decoder of these videos is at least 0.3 MiB, and 250 are opened after the warm-up.
    assert _growth_mib(_videos(tmp_path), 500) < 12


@needs_statm
@pytest.mark.slow
def test_ten_thousand_clips_leave_memory_where_it_was(tmp_path):
    assert _growth_mib(_videos(tmp_path), 10_000) < 24
