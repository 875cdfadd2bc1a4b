"""One process writes a run at a time; whoever died, here or on another machine, holds nothing up."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sgear.errors import RunError
from sgear.experiment import compose_experiment
from sgear.experiment.train import open_run
from sgear.training.run import RunDirectory

# Holds a run until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from sgear.training.run import RunDirectory
with RunDirectory(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(600)
"""


def lock_of(run: Path) -> Path:
    (path,) = run.parent.glob("*.lock")
    return path


def pretend_elsewhere(lock: Path, *, silent_s: float) -> None:
    """Let a lock be that of a process on another machine, which gave its last sign of life some time ago."""
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"host": "elsewhere pid:[1] boot"}))
    last_s = time.time() - silent_s
    os.utime(lock, (last_s, last_s))


@pytest.mark.parametrize("name", ["run", "a [b]*? ü"])
def test_a_run_is_held_until_its_process_is_dead(tmp_path: Path, name: str):
    path = tmp_path / name
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):
            with (
                pytest.raises(RunError, match=rf"is written by process {holder.pid} on .* now"),
                RunDirectory(path).held(),
            ):
                pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with RunDirectory(path).held() as held:
        held.require_held()
        with pytest.raises(RunError, match=f"is written by process {os.getpid()} on"), RunDirectory(path).held():
            pass
    assert list(tmp_path.iterdir()) == []


def test_the_run_of_another_machine_is_taken_over_when_it_gives_no_sign_of_life(tmp_path: Path):
    run = RunDirectory(tmp_path / "run")
    with run.held() as held:
        pretend_elsewhere(lock_of(run.path), silent_s=100)
        with pytest.raises(RunError, match=r"is written by process .* on elsewhere now"), run.held():
            pass
        pretend_elsewhere(lock_of(run.path), silent_s=1000)
        with run.held() as ours:
            ours.require_held()
            with pytest.raises(RunError, match=r"another process goes on with this run.*nothing more is written"):
                held.require_held()


def test_a_wrong_clock_takes_nobody_for_dead(tmp_path: Path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    with run.held():
        pretend_elsewhere(lock_of(run.path), silent_s=100)
        for wrong_s in (-1e7, 1e7):
            now_s = time.time() + wrong_s
            monkeypatch.setattr(time, "time", lambda now_s=now_s: now_s)
            with pytest.raises(RunError, match="is written by"), run.held():
                pass
            monkeypatch.undo()


@pytest.mark.parametrize("content", ["", "[]", '{"host": 1}', "\x00"])
def test_a_damaged_lock_counts_as_one_of_another_machine(tmp_path: Path, content: str):
    lock = tmp_path / ".run.0.lock"
    lock.write_text(content)
    with pytest.raises(RunError, match="is written by another process now"), RunDirectory(tmp_path / "run").held():
        pass
    os.utime(lock, (0, 0))
    with RunDirectory(tmp_path / "run").held():
        pass
    assert not lock.exists()


def test_without_hard_links_there_is_a_lock_too(tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run = RunDirectory(tmp_path / "run")
    with run.held(), pytest.raises(RunError, match="is written by"), run.held():
        pass
    with run.held():
        pass


def test_what_another_process_has_begun_is_not_touched(tmp_path: Path):
    config = compose_experiment(["experiment=kitchen/avt", f"output_root={tmp_path}", "name=run"])
    (tmp_path / "run" / "tensorboard").mkdir(parents=True)
    with RunDirectory(tmp_path / "run").held():
        with pytest.raises(RunError, match="is written by"), open_run(config):
            pass
        assert (tmp_path / "run" / "tensorboard").is_dir()
