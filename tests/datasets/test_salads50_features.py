from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sgear.data import StepLabels
from sgear.datasets import dataset_spec, participant_folds
from sgear.datasets.salads50_labels import label_runs, load_salads50_tcn
from sgear.errors import AnnotationError, FeatureError

# Split 1 of the miniature: users 01 and 02 train, user 03 tests.
VIDEOS = {"rgb-01-1": "train", "rgb-02-1": "train", "rgb-02-2": "train", "rgb-03-1": "test"}
LABELS = np.repeat([0, 1, 0, 2, 3, 0], [3, 9, 2, 6, 12, 4])


def write_video(root: Path, video_id: str, labels=LABELS, num_rows: int | None = None) -> None:
    num_rows = len(labels) if num_rows is None else num_rows
    values = np.arange(num_rows, dtype=np.float32)[:, None] * np.ones((1, 4), dtype=np.float32)
    np.savez(root / "spatialcnn_mid" / "split_1" / f"{video_id}.npz", features=values, labels=labels)
    np.savez(root / "accelerometer" / f"{video_id}.npz", features=values[:, :2])


@pytest.fixture
def root(tmp_path) -> Path:
    for folder in ("splits/split_1", "spatialcnn_mid/split_1", "accelerometer"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "mid_level_actions.txt").write_text("add_oil\ncut_cheese\ncut_tomato\n")
    for part in ("train", "test"):
        names = [video_id for video_id, of_part in VIDEOS.items() if of_part == part]
        (tmp_path / "splits" / "split_1" / f"{part}.txt").write_text("\n".join(names) + "\n")
    for video_id in VIDEOS:
        write_video(tmp_path, video_id)
    return tmp_path


def test_a_segment_is_a_maximal_run_of_one_label_without_gaps():
    assert label_runs(np.array([0, 0, 1, 1, 2, 0, 2])) == [(2, 4, 1), (4, 5, 2), (6, 7, 2)]
    assert label_runs(np.array([3])) == [(0, 1, 3)]
    assert label_runs(np.zeros(4, dtype=int)) == []


def test_early_segments_are_past_only(root):
    benchmark = load_salads50_tcn(root, split=1).benchmark
    # The first run starts at row 3, that is 1 s; the others at rows 14 and 20.
    assert benchmark.validation.column("start_s").tolist() == pytest.approx([14 / 3, 20 / 3])
    assert benchmark.validation.column("action_id").tolist() == [1, 2]
    assert benchmark.unscored is not None
    assert set(benchmark.unscored.column("start_s").tolist()) == {1.0}
    assert len(benchmark.timeline) == 3 * len(VIDEOS)


def test_row_labels_come_back_from_the_timeline(root):
    loaded = load_salads50_tcn(root, split=1)
    video = loaded.features["rgb-01-1"]
    actions = StepLabels(loaded.benchmark.timeline).at("rgb-01-1", video.times_s)
    assert np.array_equal(actions, LABELS - 1)


def test_any_split_that_is_there_is_taken_and_a_missing_one_named_with_those_that_are(root):
    for folder in ("splits", "spatialcnn_mid"):
        (root / folder / "split_4").symlink_to(root / folder / "split_1")
    spec = dataset_spec("salads50-tcn")
    assert len(spec.load(root, 4, "mid").validation) == 2
    with pytest.raises(AnnotationError, match=r"split_3: no such split .* there: 1, 4\."):
        spec.load(root, 3, "mid")


def test_the_accelerometer_has_the_same_segments(root):
    camera, hand = (load_salads50_tcn(root, split=1, modality=name) for name in ("spatialcnn", "accelerometer"))
    assert camera.benchmark.validation.uids == hand.benchmark.validation.uids
    assert (camera.features.width, hand.features.width) == (4, 2)


def test_a_truncated_feature_file_is_named(root):
    path = root / "accelerometer" / "rgb-03-1.npz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FeatureError, match=r"rgb-03-1\.npz: cannot read"):
        load_salads50_tcn(root, split=1, modality="accelerometer")


def test_an_unknown_label_is_refused(root):
    write_video(root, "rgb-02-2", labels=np.array([0, 1, 4, 4]))
    with pytest.raises(AnnotationError, match="label 4 is unknown; the action list has 3"):
        load_salads50_tcn(root, split=1)


def test_features_and_labels_of_different_length_are_refused(root):
    write_video(root, "rgb-02-2", num_rows=len(LABELS) - 2)
    with pytest.raises(FeatureError, match=r"34 rows, but 36 labels"):
        load_salads50_tcn(root, split=1)


def test_a_missing_list_says_where_to_point(root):
    (root / "splits" / "split_1" / "test.txt").unlink()
    with pytest.raises(AnnotationError, match="SGEAR_DATA"):
        load_salads50_tcn(root, split=1)


def test_folds_hold_out_each_training_participant_once_and_no_test_video(root):
    benchmark = load_salads50_tcn(root, split=1).benchmark
    folds = participant_folds(benchmark, num_folds=2, seed=0)
    held_out = [set(fold.validation.column("participant_id")) for fold in folds]
    assert sorted(held_out, key=sorted) == [{"01"}, {"02"}]
    for fold in folds:
        assert not set(fold.train.video_ids) & set(fold.validation.video_ids)
        assert "rgb-03-1" not in fold.timeline.video_ids
    with pytest.raises(ValueError, match="num_folds"):
        participant_folds(benchmark, num_folds=3)


@pytest.mark.data
@pytest.mark.parametrize(("split", "num_asked"), [(1, 170), (2, 157)])
def test_the_real_splits_have_the_known_instances(real_data, split, num_asked):
    loaded = load_salads50_tcn(real_data / "50salads", split=split)
    benchmark = loaded.benchmark
    assert len(benchmark.validation) == num_asked
    assert benchmark.taxonomy.num_actions == 17
    assert loaded.features.width == 128
    assert len(loaded.features.video_ids) == 50
    users = [set(table.column("participant_id")) for table in (benchmark.train, benchmark.validation)]
    assert not users[0] & users[1]
    # Neighbouring segments of one video never overlap.
    for video_id in benchmark.timeline.video_ids[:5]:
        rows = benchmark.timeline.of_video(video_id)
        stops, starts = rows.column("stop_s"), rows.column("start_s")
        assert all(stop <= start + 1e-9 for (stop, _), (_, start) in pairwise(zip(stops, starts, strict=True)))
