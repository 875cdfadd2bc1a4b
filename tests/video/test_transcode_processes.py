import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from coded_videos import decode_all, make_video, steady

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
from pathlib import Path
from sgear.video.training_copy import CopySettings
from sgear.video.transcode import plan_copies, transcode
if __name__ == "__main__":
    videos, out, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    result = transcode(plan_copies([videos], out), out, CopySettings(short_side=64), num_workers=workers)
    print(json.dumps({name: len(getattr(result, name)) for name in ("done", "kept", "elsewhere", "failures")}))
"""


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    first = make_video(tmp_path / "videos" / "video0.mp4", steady(300), size=(240, 320))
    for number in range(1, 6):
        shutil.copy(first, tmp_path / "videos" / f"video{number}.mp4")
    return tmp_path / "videos"


@pytest.fixture
def start(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    running = []

    def begin(videos, out, workers):
        command = [sys.executable, str(script), str(videos), str(out), str(workers)]
        # A session of its own, so that a signal reaches the workers as Ctrl-C in a terminal does.
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        return running[-1]

    yield begin
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def _wait_for_a_partial(out):
    end_s = time.monotonic() + 60
    while not list(out.glob(".video*.partial")):
        assert time.monotonic() < end_s, "no copy was begun"
        time.sleep(0.01)


def _copies(out):
    return sorted(path.name for path in out.iterdir()) if out.is_dir() else []


def test_two_runs_at_once_do_each_video_once(videos, start, tmp_path):
    both = [start(videos, tmp_path / "out", workers) for workers in (1, 2)]
    counts = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert sum(count["done"] for count in counts) == 6
    assert all(count["done"] + count["kept"] + count["elsewhere"] == 6 for count in counts)
    assert _copies(tmp_path / "out") == [f"video{number}.mp4" for number in range(6)]


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_nothing_half_written(videos, start, tmp_path, workers):
    process = start(videos, tmp_path / "out", workers)
    _wait_for_a_partial(tmp_path / "out")
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    assert process.returncode != 0
    assert not [name for name in _copies(tmp_path / "out") if name.startswith(".")]


def test_run_after_a_kill_finishes_what_is_missing(videos, start, tmp_path):
    out = tmp_path / "out"
    killed = start(videos, out, 2)
    _wait_for_a_partial(out)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    finished = [name for name in _copies(out) if not name.startswith(".")]
    assert len(finished) < 6
    counts = json.loads(start(videos, out, 1).communicate(timeout=120)[0])
    assert counts == {"done": 6 - len(finished), "kept": len(finished), "elsewhere": 0, "failures": 0}
    assert _copies(out) == [f"video{number}.mp4" for number in range(6)]
    assert all(len(decode_all(path)) == 300 for path in out.iterdir())
