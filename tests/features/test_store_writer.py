import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from feature_examples import MADE_BY, random_rows

from sgear.errors import FeatureError
from sgear.features import FeatureStore, FeatureStoreWriter
from sgear.features.store_index import StoreDescription
from sgear.features.store_writer import shard_of

TIMES_S = np.arange(8) / 4
# Finishes one video, locks a second, begins its file, and then waits to be killed.
_KILLED_WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from sgear.features import FeatureStoreWriter, Provenance
made_by = Provenance(encoder="test", weights="0123", preprocessing="none", fps=4.0)
writer = FeatureStoreWriter(Path(sys.argv[1]), made_by, width=6)
rows = np.zeros((8, 6), dtype=np.float32)
with writer.take("a"):
    writer.write("a", np.arange(8) / 4, rows)
lock = writer.take("b")
(writer.root / "videos" / ".b.safetensors.0011.partial").write_bytes(b"half")
print("ready", flush=True)
time.sleep(60)
"""


def make_writer(root, **changes) -> FeatureStoreWriter:
    return FeatureStoreWriter(root, replace(MADE_BY, **changes), width=6)


def test_a_killed_worker_leaves_its_finished_videos_and_loses_the_other(tmp_path):
    worker = subprocess.Popen([sys.executable, "-c", _KILLED_WORKER, str(tmp_path)], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    writer = make_writer(tmp_path)
    assert writer.take("b") is None, "the worker is alive"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    finished = (tmp_path / "videos" / "a.safetensors").stat().st_mtime_ns

    assert writer.take("a") is None
    lock = writer.take("b")
    assert lock is not None
    with lock:
        writer.write("b", TIMES_S, random_rows(8))
    assert writer.finish().video_ids == ["a", "b"]
    assert (tmp_path / "videos" / "a.safetensors").stat().st_mtime_ns == finished
    assert sorted(os.listdir(tmp_path / "videos")) == ["a.safetensors", "b.safetensors"]
    assert not (tmp_path / "locks").exists()


def _work(root, video_ids, barrier, done) -> None:
    writer = make_writer(root)
    barrier.wait()
    for video_id in video_ids:
        if (lock := writer.take(video_id)) is not None:
            with lock:
                writer.write(video_id, TIMES_S, random_rows(8))
                done.put((os.getpid(), video_id))
    done.put(None)


def test_workers_never_do_the_same_video(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, done = context.Barrier(3), context.Queue()
    video_ids = [f"v{number:03d}" for number in range(60)]
    workers = [context.Process(target=_work, args=(tmp_path, video_ids, barrier, done)) for _ in range(3)]
    for worker in workers:
        worker.start()
    results = []
    while results.count(None) < 3:
        results.append(done.get(timeout=30))
    for worker in workers:
        worker.join()
    written = [result[1] for result in results if result is not None]
    assert sorted(written) == video_ids
    assert make_writer(tmp_path).finish().video_ids == video_ids


def test_a_damaged_file_is_done_again(tmp_path):
    writer = make_writer(tmp_path)
    writer.write("a", TIMES_S, random_rows(8))
    os.truncate(tmp_path / "videos" / "a.safetensors", 4100)
    lock = writer.take("a")
    assert lock is not None
    with lock:
        writer.write("a", TIMES_S, random_rows(8))
    assert writer.is_finished("a")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weights": "4567"}, "weights is '0123', not '4567'"),
        ({"fps": 2.0}, r"fps is 4\.0, not 2\.0"),
        ({"preprocessing": "cut"}, "preprocessing is 'none', not 'cut'"),
    ],
)
def test_features_made_otherwise_do_not_mix(tmp_path, changes, told):
    make_writer(tmp_path).write("a", TIMES_S, random_rows(8))
    with pytest.raises(FeatureError, match=f"made otherwise: {told}"):
        make_writer(tmp_path, **changes)
    make_writer(tmp_path)


def test_another_width_or_dtype_does_not_mix(tmp_path):
    make_writer(tmp_path)
    with pytest.raises(FeatureError, match="width is 6, not 7; dtype is 'float32', not 'float16'"):
        FeatureStoreWriter(tmp_path, MADE_BY, width=7, dtype="float16")


def test_rows_of_another_width_are_refused(tmp_path):
    with pytest.raises(FeatureError, match=r"video 'a' are 5 wide, but .* holds features of width 6"):
        make_writer(tmp_path).write("a", TIMES_S, random_rows(8, 5))


def test_nan_rows_are_refused(tmp_path):
    rows = random_rows(8)
    rows[[3, 5], 2] = np.nan
    with pytest.raises(FeatureError, match="video 'a': 2 rows are not finite, first row 3"):
        make_writer(tmp_path).write("a", TIMES_S, rows)


def test_values_too_large_for_half_precision_are_refused(tmp_path):
    writer = FeatureStoreWriter(tmp_path, MADE_BY, width=6, dtype="float16")
    with pytest.raises(FeatureError, match=r"values up to 1e\+05 do not fit float16"):
        writer.write("a", TIMES_S, np.full((8, 6), 1e5, dtype=np.float32))


def test_times_that_do_not_ascend_are_refused(tmp_path):
    with pytest.raises(FeatureError, match="times must ascend; row 2"):
        make_writer(tmp_path).write("a", np.array([0.0, 1.0, 2.0, 2.0]), random_rows(4))


@pytest.mark.parametrize("video_id", ["../a", "a/b", "", ".a", "a b"])
def test_ids_that_would_leave_the_folder_are_refused(tmp_path, video_id):
    with pytest.raises(FeatureError, match="cannot be a file name"):
        make_writer(tmp_path).take(video_id)


def test_shards_are_disjoint_and_complete():
    video_ids = [f"v{number}" for number in range(10)]
    shards = [shard_of(video_ids, (index, 3)) for index in range(3)]
    assert sorted(video_id for shard in shards for video_id in shard) == sorted(video_ids)
    with pytest.raises(ValueError, match="0 <= index < count"):
        shard_of(video_ids, (3, 3))


def test_a_store_can_be_read_while_it_is_filled(tmp_path):
    writer = make_writer(tmp_path)
    writer.write("a", TIMES_S, random_rows(8))
    assert FeatureStore(tmp_path).video_ids == ["a"]


def test_a_store_without_skipped_segments_is_described_as_before_there_were_any(tmp_path):
    writer = FeatureStoreWriter(tmp_path, MADE_BY, width=3)
    assert writer.description.digest == "0f7e5e24a0b8"
    assert "skipped" not in (tmp_path / "store.json").read_text()
    assert StoreDescription.load(tmp_path) == writer.description


def test_the_list_of_skipped_segments_is_kept_and_belongs_to_the_store(tmp_path):
    skipped = {"train": {"v_1": "torn video"}}
    FeatureStoreWriter(tmp_path, replace(MADE_BY, skipped=skipped), width=3)
    assert StoreDescription.load(tmp_path).skipped == skipped
    with pytest.raises(FeatureError, match=r"made otherwise: skipped is \{'train': \{'v_1': 'torn"):
        FeatureStoreWriter(tmp_path, MADE_BY, width=3)


@pytest.mark.parametrize("found", [[], {"train": ["v_1"]}, {"train": {"v_1": 3}}])
def test_a_damaged_list_of_skipped_segments_is_refused(found, tmp_path):
    FeatureStoreWriter(tmp_path, replace(MADE_BY, skipped={"train": {"v_1": "torn video"}}), width=3)
    path = tmp_path / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "skipped": found}))
    with pytest.raises(FeatureError, match=r"damaged description.*skipped segments by split and uid"):
        StoreDescription.load(tmp_path)
