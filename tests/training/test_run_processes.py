"""Folders of runs: one run writes into one, killed runs go on, several processes share one; nothing else is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment
from sgear.experiment.schema import InitConfig
from sgear.experiment.train import inherited_skips, open_run
from sgear.training.checkpoints import list_checkpoints
from sgear.training.run import RunDirectory, read_json, write_json


def enter(root: Path, name: str):
    config = compose_experiment(["experiment=kitchen/avt", f"output_root={root}", f"name={name}"])
    with open_run(config) as run:
        return run


# --- folders --------------------------------------------------------------------------------------------------------


def test_a_run_stays_below_its_output_root(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    for name in ("''", "'  '", ".", "../other", "/elsewhere/run"):
        with pytest.raises(ConfigError, match="must be the name of a folder under output_root"):
            enter(tmp_path, name)
    assert (tmp_path / "kept").is_dir()


def test_a_folder_that_is_no_run_is_not_touched(tmp_path: Path):
    (tmp_path / "videos" / "P01").mkdir(parents=True)
    with pytest.raises(RunError, match=r"not a run directory \(it holds P01\)"):
        enter(tmp_path, "videos")
    assert (tmp_path / "videos" / "P01").is_dir()


def test_what_a_run_left_before_its_first_checkpoint_is_removed(tmp_path: Path):
    (tmp_path / "died" / "tensorboard").mkdir(parents=True)
    (tmp_path / "died" / "config.yaml").write_text("")
    assert enter(tmp_path, "died").path == tmp_path / "died"
    assert not (tmp_path / "died").exists()


def test_skipped_segments_of_all_branches_are_inherited_where_branches_have_one_name(tmp_path: Path):
    skips = {"rgb": {"train": {"uid1": "lost"}}, "flow": {}, "obj": {"validation": {"uid2": "torn"}}}
    for parent, skipped in skips.items():
        (tmp_path / parent / "seed0").mkdir(parents=True)
        write_json(tmp_path / parent / "seed0" / "run.json", {"skipped": skipped} if skipped else {})
    init = InitConfig(branches=[str(tmp_path / parent / "seed0") for parent in skips])
    assert inherited_skips(init) == {"start from seed0": {"uid1": "lost", "uid2": "torn"}}


# --- one process at a time; whoever died, here or on another machine, holds nothing up ------------------------------

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
    (tmp_path / "run" / "tensorboard").mkdir(parents=True)
    with RunDirectory(tmp_path / "run").held():
        with pytest.raises(RunError, match="is written by"):
            enter(tmp_path, "run")
        assert (tmp_path / "run" / "tensorboard").is_dir()


# --- a run that is killed and resumed ends with the bits of one that never stopped ----------------------------------

TIMEOUT_S = 180


def start(root: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "sgear.cli.main", "train", "experiment=smoke/kitchen", "runtime.device=cpu"]
    command += [f"dataset.root={root / 'kitchen'}", "optim.epochs=12", "runtime.checkpoint_every=5", *overrides]
    return subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    return output


def train_lines(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


@pytest.fixture(scope="module")
def whole_run(root: Path) -> Path:
    finish(start(root, f"output_root={root}"))
    return root


@pytest.mark.parametrize("num_steps_before_kill", [8, 27])
def test_sigkill_and_resume_give_the_same_bits(whole_run: Path, tmp_path: Path, num_steps_before_kill: int):
    process = start(whole_run, f"output_root={tmp_path}")
    run = tmp_path / "smoke-kitchen"
    log = run / "metrics.jsonl"

    def is_there() -> bool:
        has_steps = log.is_file() and log.read_text().count("\n") >= num_steps_before_kill
        return has_steps and bool(list_checkpoints(run / "checkpoints"))

    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline_s, "training did not get that far"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "smoke-kitchen" / "model").exists()

    finish(start(whole_run, f"output_root={tmp_path}", "runtime.resume=true"))

    expected, resumed = whole_run / "smoke-kitchen", tmp_path / "smoke-kitchen"
    weights = Path("model") / "weights.safetensors"
    assert (resumed / weights).read_bytes() == (expected / weights).read_bytes()
    assert train_lines(resumed) == train_lines(expected)
    assert json.loads((resumed / "report.json").read_text()) == json.loads((expected / "report.json").read_text())


def test_a_second_run_of_the_same_name_and_resuming_with_other_settings_are_refused(whole_run: Path):
    resume = "cannot resume with other settings: optim.lr was 0.002 and is now 0.5; give the same"
    for changes, message in (
        ([], "a run of this name exists"),
        (["runtime.resume=true", "optim.lr=0.5"], resume),
    ):
        process = start(whole_run, f"output_root={whole_run}", *changes)
        output, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 2
        assert message in " ".join(output.split())


# --- several processes train one run: it is written once ------------------------------------------------------------


def train_with_two(root: Path, out: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "sgear.cli.main", "train", f"dataset.root={root / 'kitchen'}", f"output_root={out}"]
    command += ["optim.epochs=2", "runtime.device=cpu", *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_a_part_of_the_model_that_the_stage_does_not_use_stops_nobody(root: Path, tmp_path: Path):
    small = ["model.width=96", "model.decoder.width=64", "model.decoder.num_layers=1", "model.encoder.feature_dim=64"]
    data = ["experiment=own/recognition_features", "dataset.name=kitchen", "source.features=oracle"]
    train_with_two(root, tmp_path, *data, *small)
    report = read_json(tmp_path / "own-recognition-features" / "report.json")
    assert report["num_evaluated"] == report["num_asked"] > 0


@pytest.mark.slow
def test_two_processes_leave_one_whole_run(root: Path, tmp_path: Path):
    done = train_with_two(root, tmp_path, "experiment=smoke/kitchen", "runtime.evaluate_every=1")
    assert done.stdout.count("run directory: ") == done.stdout.count("training clips") == 1
    run = tmp_path / "smoke-kitchen"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    # 60 clips, 16 of each process in a step.
    assert steps == [1, 2, 3, 4]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [2, 4]
    report = read_json(run / "report.json")
    assert report["num_evaluated"] == report["num_asked"] == 24
