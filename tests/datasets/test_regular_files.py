"""What is no file of bytes on a disk is refused by every reader of annotations and features: no reader ever waits."""

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from sgear.datasets import load_dataset, read_video_info
from sgear.datasets.own import check_own, import_own, load_own
from sgear.datasets.salads50_labels import load_salads50_tcn
from sgear.errors import FeatureError, SgearError
from sgear.features import FeatureStore, FeatureStoreWriter, LmdbFeatures, Provenance, open_features
from sgear.features.imports import read_arrays
from sgear.features.store_index import write_index
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.prototypes.original import read_class_names


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


KINDS = [pipe, endless, folder]


@contextmanager
def at_once():
    """Fail instead of waiting: whoever opens a pipe waits for a writer, and a device gives bytes for ever."""

    def stop(number, frame):
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def replace_each(root: Path, make: Callable[[Path], None], read: Callable[[], object]) -> list[str]:
    """Put something else in the place of each file below a folder in turn; return the files that are then refused."""
    refused = []
    for path in sorted(each for each in root.rglob("*") if each.is_file()):
        kept = path.with_name(f"{path.name}.kept")
        path.rename(kept)
        make(path)
        with at_once():
            try:
                read()
            except SgearError:
                refused.append(path.name)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        kept.rename(path)
    return refused


@pytest.mark.parametrize("make", KINDS)
def test_single_files(tmp_path, make):
    readers = {
        "own.csv": check_own,
        "a.npy": read_arrays,
        "a.npz": read_arrays,
        "a.mat": read_arrays,
        "rgb.lmdb": open_features,
        "data.mdb": lambda path: LmdbFeatures(path.parent) if make is not folder else open_features(path),
        "classes.txt": read_class_names,
    }
    for name, read in readers.items():
        make(tmp_path / name)
        with at_once(), pytest.raises(SgearError):
            read(tmp_path / name)


@pytest.mark.parametrize("make", KINDS)
def test_files_of_an_imported_folder(tmp_path, make):
    csv = tmp_path / "own.csv"
    csv.write_text("video,start,stop,label\na,2,3,cut\na,4,5,put\nb,2,3,cut\nb,4,5,put\n")
    import_own(csv, tmp_path / "own")
    refused = replace_each(tmp_path / "own", make, lambda: load_own(tmp_path / "own"))
    assert refused == ["segments.csv", "summary.json", "taxonomy.json"]


@pytest.mark.parametrize("make", KINDS)
def test_files_of_a_kitchen(tmp_path, make):
    config = KitchenConfig(
        num_train_videos=3, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=8
    )
    build_kitchen(tmp_path / "kitchen", config, num_processes=1, with_videos=False)
    root = tmp_path / "kitchen" / "annotations"
    refused = replace_each(root, make, lambda: (load_dataset("kitchen", root), read_video_info(root)))
    assert {path.name for path in root.iterdir()} - set(refused) == set()


def test_files_of_egtea(real_data, tmp_path):
    root = tmp_path / "egtea"
    root.mkdir()
    for path in (real_data / "egtea").glob("*.txt"):
        (root / path.name).symlink_to(path)
    refused = replace_each(root, pipe, lambda: load_dataset("egtea", root))
    assert {"action_idx.txt", "train_split1.txt", "test_split1.txt"} <= set(refused)


@pytest.mark.parametrize("make", KINDS)
def test_files_of_50_salads(real_data, tmp_path, make):
    root = tmp_path / "50salads"
    shutil.copytree(real_data / "50salads" / "splits", root / "splits")
    shutil.copy(real_data / "50salads" / "mid_level_actions.txt", root)
    refused = replace_each(root, make, lambda: load_salads50_tcn(root, split=1))
    assert {"train.txt", "mid_level_actions.txt"} <= set(refused)
    first = (root / "splits" / "split_1" / "train.txt").read_text().split()[0]
    features = root / "spatialcnn_mid" / "split_1"
    features.mkdir(parents=True)
    make(features / f"{first}.npz")
    with at_once(), pytest.raises(FeatureError, match=r"is no regular file|is a folder"):
        load_salads50_tcn(root, split=1)


@pytest.mark.parametrize("make", KINDS)
def test_files_of_a_feature_store(tmp_path, make):
    made_by = Provenance(encoder="e", weights="", preprocessing="p", fps=4.0)
    writer = FeatureStoreWriter(tmp_path / "store", made_by, width=4, dtype="float32")
    for name in "ab":
        writer.write(name, np.arange(8) / 4, np.ones((8, 4), np.float32))
    root = writer.finish().root

    def read() -> None:
        store = FeatureStore(root)
        for name in "ab":
            store[name].read(np.array([1.0]))

    refused = replace_each(root, make, read)
    assert {"store.json", "a.safetensors", "b.safetensors"} <= set(refused)
    (root / "videos" / "a.safetensors").unlink()
    make(root / "videos" / "a.safetensors")
    with at_once(), suppress(SgearError):
        write_index(root, FeatureStore(root).description)


def test_a_small_file_that_claims_to_hold_a_huge_array_is_damaged(tmp_path):
    header = str({"descr": "<f4", "fortran_order": False, "shape": (10**13, 4)}).encode()
    header += b" " * (117 - len(header)) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(FeatureError, match="damaged"):
        read_arrays(tmp_path / "a.npy")
