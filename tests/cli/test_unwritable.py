"""A place that cannot be written is one message and exit code 2, said before the work is done that it would lose."""

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from whole_command import run_here

import sgear as package
from sgear.cli.main import main
from sgear.cli.terminal import file_message
from sgear.datasets import load_dataset
from sgear.kitchen import KitchenConfig, make_world, write_annotations
from sgear.predictions import Predictions


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a kitchen, predictions of it, a file, and a csv of own annotations."""
    root = tmp_path_factory.mktemp("unwritable")
    write_annotations(
        make_world(KitchenConfig(num_train_videos=3, num_validation_videos=2)), root / "k" / "annotations"
    )
    benchmark = load_dataset("kitchen", root / "k")
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        Predictions(
            uids=tuple(benchmark.validation.uids),
            logits=rng.normal(size=(len(benchmark.validation), benchmark.taxonomy.num_actions)).astype(np.float32),
            targets=benchmark.validation.column("action_id"),
            taxonomy=benchmark.taxonomy,
            protocol={"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 10.0, "fps": 1.0},
        ).save(root / f"p{seed}.safetensors")
    (root / "file").write_text("")
    (root / "folder.html").mkdir()
    (root / "own.csv").write_text("video,start,stop,label\na,2,3,take\na,4,5,put\nb,2,3,take\nb,4,5,put\n")
    return root


COMMANDS = [
    ("fuse", "p0.safetensors", "p1.safetensors", "--out", "file/x.safetensors"),
    ("fuse", "p0.safetensors", "p1.safetensors", "--out", "/proc/x/y.safetensors"),
    ("compare", "p0.safetensors", "p1.safetensors", "--out", "file/x.html"),
    ("compare", "p0.safetensors", "p1.safetensors", "--out", "folder.html"),
    ("compare", "p0.safetensors", "p1.safetensors", "--out", "x.pdf"),
    ("evaluate", "p0.safetensors", "--dataset", "kitchen", "--root", "k", "--out", "file/x.json"),
    ("evaluate", "p0.safetensors", "--dataset", "kitchen", "--root", "k", "--out", "folder.html"),
    ("submit", "p0.safetensors", "--dataset", "epic100", "--sls", "1 3 3", "--out", "file/x.zip"),
    ("train", "experiment=smoke/kitchen", "dataset.root=k", "output_root=file"),
    ("train", "experiment=smoke/kitchen", "dataset.root=k", "output_root=/proc/x"),
    ("data", "kitchen", "file", "--features-only"),
    ("data", "kitchen", "/proc/x", "--features-only"),
    ("data", "import", "own.csv", "file/x"),
    ("prototypes", "language", "--dataset", "kitchen", "--root", "k", "--out", "file/x.safetensors"),
    ("features", "import", "k", "--fps", "3", "--out", "file/x"),
    ("quickstart", "--out", "file/x"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_place_that_cannot_be_written_is_one_message(place: Path, command: tuple[str, ...], monkeypatch):
    monkeypatch.chdir(place)
    before = sorted(path.relative_to(place) for path in place.rglob("*"))
    done = run_here(*command)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.relative_to(place) for path in place.rglob("*")) == before


def test_an_error_that_is_no_users_keeps_its_traceback(place: Path, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise OSError("a library says so")

    monkeypatch.chdir(place)
    monkeypatch.setattr("sgear.cli.compare.load_predictions", fails)
    monkeypatch.setattr(sys, "argv", ["sgear", "compare", "p0.safetensors", "p1.safetensors"])
    with pytest.raises(OSError, match="a library says so"):
        main()


def test_a_negative_seed_is_refused():
    for command in (["quickstart"], ["data", "import", "x.csv", "out"]):
        done = run_here(*command, "--seed", "-1")
        assert done.returncode == 2
        assert "--seed" in done.stderr


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOENT, "no such file"),
        (errno.EACCES, "may not read or write"),
        (errno.EISDIR, "is a folder"),
        (errno.ENOTDIR, "is a file and no folder"),
        (errno.EROFS, "read-only"),
    ],
)
def test_an_error_about_a_file_names_it_its_reason_and_a_remedy(number: int, reason: str):
    message = file_message(OSError(number, os.strerror(number), "runs/x"))
    assert message is not None
    assert message.startswith("runs/x: ")
    assert reason in message
    assert "; " in message


def test_of_a_rename_the_file_that_was_asked_for_is_named_and_a_full_disk_needs_none():
    assert str(file_message(OSError(errno.EISDIR, "Is a directory", "out.part", None, "out"))).startswith("out: is a")
    assert "no space left" in str(file_message(OSError(errno.ENOSPC, "No space left on device")))


@pytest.mark.parametrize(
    "err",
    [
        OSError("a library says so"),
        ConnectionError(errno.ECONNREFUSED, "Connection refused"),
        FileNotFoundError(
            errno.ENOENT, "No such file", str(Path(package.__file__).parent / "experiment" / "conf" / "x.yaml")
        ),
        FileNotFoundError(errno.ENOENT, "No such file", np.__file__),
        OSError(errno.EBADF, "Bad file descriptor", 7),
    ],
)
def test_errors_that_are_no_users_keep_their_traceback(err: OSError):
    assert file_message(err) is None
