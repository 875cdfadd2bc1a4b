"""Nothing in a run folder is ever unpickled, and what is damaged there is one message, whichever command reads it."""

import io
import os
import pickle
import shutil
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from whole_command import run_here

from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.training.checkpoints import list_checkpoints

KITCHEN = KitchenConfig(
    num_train_videos=4, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=8
)
# Names under which Accelerate, torch, numpy and other code keep what they pickle.
OLD_CHECKPOINT = ("random_states_0.pkl", "optimizer.bin", "scheduler.bin", "sampler.bin", "scaler.pt", "model.bin")
OLD_CHECKPOINT += ("custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl", "pytorch_model.bin", "dl_state_dict.bin")
BESIDE = ("checkpoint.pt", "model.pth", "model/weights.bin", "model/weights.pt", "model/pytorch_model.bin")
BESIDE += ("predictions/validation.npz", "predictions/validation.npy", "predictions/validation.pkl", "prototypes.pkl")
BESIDE += ("predictions/validation.pt", "model/prototypes.npz", "checkpoints/latest.pkl", "config.pkl")


class Canary:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def plain_pickle(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Canary(mark)))


def torch_file(path: Path, mark: Path) -> None:
    torch.save({"canary": Canary(mark)}, path)


def array_of_objects(path: Path, mark: Path) -> None:
    content = io.BytesIO()
    np.savez(content, canary=np.array([Canary(mark)], dtype=object))
    path.write_bytes(content.getvalue())


ATTACKS = cycle((plain_pickle, torch_file, array_of_objects))


def train(root: Path, output_root: Path, *overrides: str) -> tuple[str, ...]:
    settings = (f"dataset.root={root / 'kitchen'}", f"output_root={output_root}", "name=run", "runtime.device=cpu")
    return "train", "experiment=smoke/kitchen", "optim.epochs=2", *settings, *overrides


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    build_kitchen(folder / "kitchen", KITCHEN, num_processes=1, with_videos=False)
    done = run_here(*train(folder, folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "run", tmp_path / "run"))


def commands(root: Path, run: Path) -> list[tuple[object, ...]]:
    """Every command that reads a run of features; those of a recognition run read the same files."""
    again = train(root, run.parent)
    return [
        (*again, "runtime.resume=true"),
        (*again[:-2], "name=child", "runtime.device=cpu", f"init.run={run}", "init.blocks=[decoder]"),
        again,
        ("evaluate", run),
        ("evaluate", run, "--tau-a", "1.0"),
        ("evaluate", run, "--split", "train"),
        ("report", run),
        ("fuse", run, run, "--out", run.parent / "fused.safetensors"),
        ("compare", run, run),
        ("prototypes", "inspect", run / "model" / "weights.safetensors", "--run", run),
        ("prototypes", "visual", run, "--out", run.parent / "visual.safetensors"),
        ("features", "extract", root, "--encoder", run, "--fps", "1", "--out", run.parent / "store"),
        ("anticipate", root / "kitchen" / "kitchen.json", "--model", run),
    ]


def assert_refused_or_done(done, mark: Path) -> None:
    assert not mark.exists(), done.args
    assert done.returncode == 0 or (done.returncode == 2 and done.stderr.startswith("error: ")), (
        done.args,
        done.stderr,
    )


def test_pickles_beside_the_files_of_a_run_are_never_opened(root: Path, run: Path):
    mark = run.parent / "executed"
    for checkpoint in list_checkpoints(run / "checkpoints"):
        for name in OLD_CHECKPOINT:
            next(ATTACKS)(checkpoint / name, mark)
    for name in BESIDE:
        next(ATTACKS)(run / name, mark)
    for command in commands(root, run):
        assert_refused_or_done(run_here(*command), mark)


def names_of(run: Path) -> list[Path]:
    paths = (path.relative_to(run) for path in run.rglob("*") if path.is_file())
    return sorted(path for path in paths if path.parts[0] != "tensorboard")


def test_pickles_in_place_of_the_files_of_a_run_are_refused(root: Path, run: Path):
    mark = run.parent / "executed"
    readers = {"checkpoints": "train", "model": "evaluate", "predictions": "fuse"}
    for name in names_of(run):
        whole = (run / name).read_bytes()
        next(ATTACKS)(run / name, mark)
        command = next(words for words in commands(root, run) if words[0] == readers.get(name.parts[0], "report"))
        done = run_here(*command)
        assert_refused_or_done(done, mark)
        # Of a checkpoint, the one before it is taken.
        assert done.returncode == 2 or name.parts[0] == "checkpoints", (name, done.stdout)
        (run / name).write_bytes(whole)


@pytest.mark.slow
def test_no_command_unpickles_any_file_of_a_run(root: Path, run: Path):
    mark = run.parent / "executed"
    for name in names_of(run):
        whole = (run / name).read_bytes()
        for command in commands(root, run):
            next(ATTACKS)(run / name, mark)
            assert_refused_or_done(run_here(*command), mark)
        (run / name).write_bytes(whole)


def test_a_pickled_checkpoint_of_an_earlier_version_is_refused_unread(root: Path, run: Path):
    mark = run.parent / "executed"
    for checkpoint in list_checkpoints(run / "checkpoints"):
        shutil.rmtree(checkpoint)
        checkpoint.mkdir()
        for name in OLD_CHECKPOINT:
            plain_pickle(checkpoint / name, mark)
        (checkpoint / "progress.json").write_text('{"epoch": 1, "batch": 0, "step": 2, "skipped": {}}')
    done = run_here(*train(root, run.parent, "runtime.resume=true"))
    assert not mark.exists()
    assert done.returncode == 2
    assert "earlier version with pickle, which could execute anything and is never read" in done.stderr
    assert run_here("evaluate", run).returncode == 0


BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n"
    for before, name in zip("abcdefghijklmnopqrstuv", "bcdefghijklmnopqrstuvw", strict=True)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it is empty"),
        ("- a\n", "it holds a list"),
        (BOMB, "it holds an alias"),
        ("name: ${oc.env:HOME}\n", "a run stores values"),
        ("name: [\n", "while parsing"),
        ("[" * 900, "recursion"),
        ("[" * 60_000, "more brackets than any has"),
        ("- " * 30_000, "recursion"),
        ("name: run\nunheard_of: 1\n", "unheard_of"),
        ("optim:\n  epochs: many\n", "epochs"),
        ("x" * 2_000_000, "more than any has"),
        ("name: \x07\n", "special characters"),
    ],
)
def test_a_damaged_configuration_is_one_message_at_once(run: Path, root: Path, content: str, words: str):
    (run / "config.yaml").write_text(content)
    begin_s = time.process_time()
    for command in (("report", run), (*train(root, run.parent), "runtime.resume=true")):
        done = run_here(*command)
        assert done.returncode == 2, (command, done.stderr)
        assert f"{run / 'config.yaml'}: cannot be read as a run's configuration" in done.stderr
        assert words in done.stderr
        assert len(done.stderr) < 1000
    assert time.process_time() - begin_s < 10


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"[" * 100_000, b"\xff\xfe\x00", b'{"scores": 1}', b"{}"])
@pytest.mark.parametrize("name", ["report.json", "run.json", "metrics.jsonl", "model/model.json"])
def test_damaged_json_is_one_message(run: Path, name: str, content: bytes):
    (run / name).write_bytes(content + b"\n" * (name == "metrics.jsonl"))
    done = run_here("report", run)
    is_plain = name == "run.json" and content in (b"{}", b'{"scores": 1}')
    assert done.returncode == (0 if is_plain else 2), done.stderr
    assert is_plain or str(run / name) in done.stderr or name.startswith("model")
