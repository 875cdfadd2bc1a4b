from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sgear.datasets import Benchmark
from sgear.datasets.salads50 import TICK_US, load_salads50_raw
from sgear.datasets.salads50_labels import (
    action_runs,
    load_salads50_avt,
    load_salads50_tcn,
    read_fold,
    read_frame_labels,
    read_mapping,
    read_videos,
)
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

FIVE = ("rgb-01-1", "rgb-01-2", "rgb-02-1", "rgb-07-2", "rgb-27-1")
PHASES = ("core", "post", "prep")
MID = ("add_oil", "cut_cheese", "cut_tomato")
FIRST_US = 20_000_017
on_camera = partial(load_salads50_raw, clock="annotations")


def annotation(*rows: tuple[int, int, str]) -> str:
    """Rows of (first frame, last frame, label) as the official files have them: camera time, CRLF."""
    return "".join(
        f"{FIRST_US + round(start * TICK_US)} {FIRST_US + round(stop * TICK_US)} {label}\r\n"
        for start, stop, label in rows
    )


ROWS = annotation(
    (0, 400, "cut_and_mix_ingredients"),
    (60, 90, "cut_tomato_core"),
    (30, 60, "cut_tomato_prep"),
    (120, 150, "cut_cheese_prep"),
    (150, 180, "cut_cheese_core"),
    (210, 240, "cut_tomato_core"),
    (250, 300, "cut_tomato_post"),
    (300, 330, "add_oil_core"),
)


@pytest.fixture
def root(tmp_path) -> Path:
    """A miniature of the data set: users 01 and 02 train, user 03 tests; one video each."""
    for folder in ("activityAnnotations", "conversions", "splits_abu_farha", "groundTruth"):
        (tmp_path / folder).mkdir()
    low = [f"{name}_{phase}" for name in MID for phase in PHASES]
    (tmp_path / "low_level_actions.txt").write_text("\n".join(low))
    (tmp_path / "mid_level_actions.txt").write_text("\n".join(MID))
    (tmp_path / "eval_actions.txt").write_text("add_oil\ncut\n")
    of_level = {
        "mid": lambda name: name,
        "eval": lambda name: "cut" if name.startswith("cut") else name,
        "abstract": lambda name: "cut" if name.startswith("cut") else "null",
    }
    for level, to_class in of_level.items():
        text = "".join(f"{label} {to_class(label.rsplit('_', 1)[0])}\n" for label in low)
        (tmp_path / "conversions" / f"low_to_{level}.txt").write_text(text)
    (tmp_path / "splits_abu_farha" / "train.split1.bundle").write_text("rgb-01-1.txt\nrgb-02-1.txt\n")
    (tmp_path / "splits_abu_farha" / "test.split1.bundle").write_text("rgb-03-1.txt\n")
    names = ["cut_tomato", "cut_cheese", "add_oil", "action_start", "action_end"]
    (tmp_path / "mapping.txt").write_text("".join(f"{index} {name}\n" for index, name in enumerate(names)))
    for video in ("01-1", "02-1", "03-1"):
        write_annotation(tmp_path, ROWS, video)
    return tmp_path


def write_annotation(root: Path, text: str, video: str = "03-1") -> Path:
    path = root / "activityAnnotations" / f"{video}-activityAnnotation.txt"
    path.write_bytes(text.encode())
    return path


def write_labels(root: Path, video_id: str, *runs: tuple[str, int]) -> Path:
    path = root / "groundTruth" / f"{video_id}.txt"
    path.write_text("".join(f"{name}\n" * count for name, count in runs))
    return path


def spans(benchmark: Benchmark) -> list[tuple[str, float, float]]:
    """(name, first frame, frame after the last) of the test video, early segments included."""
    table = benchmark.timeline.of_video("rgb-03-1")
    names = benchmark.taxonomy.action_names
    return [(names[row.action_id], round(30 * row.start_s, 6), round(30 * row.stop_s, 6)) for row in table]


def test_phases_of_one_activity_become_one_segment_until_another_starts(root):
    assert spans(on_camera(root, split=1)) == [
        ("cut tomato", 30, 91),
        ("cut cheese", 120, 181),
        ("cut tomato", 210, 300),
        ("add oil", 300, 331),
    ]


def test_phases_stay_apart_at_the_low_level(root):
    low = spans(on_camera(root, split=1, granularity="low"))
    assert low[:3] == [("cut tomato prep", 30, 60), ("cut tomato core", 60, 91), ("cut cheese prep", 120, 150)]
    assert len(low) == 7


def test_coarser_levels_join_more_and_null_has_no_class(root):
    assert spans(on_camera(root, split=1, granularity="eval")) == [("cut", 30, 300), ("add oil", 300, 331)]
    assert spans(on_camera(root, split=1, granularity="abstract")) == [("cut", 30, 300)]


def test_times_count_from_the_first_annotated_instant_even_where_it_is_a_high_level_one(root):
    later = annotation((0, 30, "cut_tomato_core"), (90, 150, "add_oil_core"))
    write_annotation(root, later)
    assert spans(on_camera(root, split=1)) == [("cut tomato", 0, 31), ("add oil", 90, 151)]


def test_a_phase_of_one_instant_lasts_one_frame(root):
    write_annotation(root, annotation((0, 0, "cut_tomato_core"), (90, 90, "add_oil_core"), (120, 130, "add_oil_post")))
    low = spans(on_camera(root, split=1, granularity="low"))
    assert low[:2] == [("cut tomato core", 0, 1), ("add oil core", 90, 91)]


def test_activities_annotated_for_the_same_time_are_segments_of_their_own(root):
    rows = [(at, at + 30, f"{name}_{phase}") for at, phase in ((0, "prep"), (30, "core")) for name in MID[1:]]
    write_annotation(root, annotation(*rows, (90, 100, "add_oil_core")))
    assert spans(on_camera(root, split=1)) == [
        ("cut cheese", 0, 61),
        ("cut tomato", 0, 61),
        ("add oil", 90, 101),
    ]


LABELS = [("action_start", 100), ("cut_tomato", 86), ("cut_cheese", 90), ("cut_tomato", 90), ("add_oil", 31)]


def write_all_labels(root: Path, *runs: tuple[str, int]) -> None:
    for video_id in ("rgb-01-1", "rgb-02-1", "rgb-03-1"):
        write_labels(root, video_id, *runs, ("action_end", 20))


def test_each_action_starts_on_its_frame_of_the_ground_truth(root):
    # The video begins 70 frames before the first annotated instant and has lost 4 frames before the cheese.
    write_all_labels(root, *LABELS)
    assert spans(load_salads50_raw(root, split=1)) == [
        ("cut tomato", 100, 161),
        ("cut cheese", 186, 247),
        ("cut tomato", 276, 366),
        ("add oil", 366, 397),
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([("action_start", 100), ("add_oil", 80)], "do not follow in the order"),
        (LABELS[1:], r"rgb-01-1\.txt, line 1: expected action_start"),
        # Labels of every fourth frame, and a video that gained frames.
        ([(name, count // 4) for name, count in LABELS], r"span 65 frames .* its raw annotations 270"),
        ([*LABELS[:2], ("cut_cheese", 99), *LABELS[3:]], r"span 275 frames .* its raw annotations 270"),
    ],
)
def test_a_video_whose_clock_is_not_known_is_refused(root, labels, message):
    write_all_labels(root, *labels)
    with pytest.raises(AnnotationError, match=message):
        load_salads50_raw(root, split=1)


@pytest.mark.parametrize("load", [load_salads50_raw, load_salads50_avt])
def test_videos_without_labels_are_refused_with_the_file_that_is_missing(root, load):
    write_labels(root, "rgb-02-1", ("action_start", 1))
    with pytest.raises(AnnotationError, match=r"groundTruth: no .* labels of 2 of 3 videos, first rgb-01-1\.txt.*Put"):
        load(root, split=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS.replace("add_oil_core", "add_oil_cor"), r"line 8: label is 'add_oil_cor', expected an activity"),
        (annotation((60, 30, "add_oil_core")), "line 1: stop is .* at or after the start"),
        (annotation((30, 60, "add_oil_core")) * 2, "line 1: start is .*not occur twice"),
        ("1 2\n", "line 1: '1 2', expected start, stop and label"),
        ("-5 100 add_oil_core\n", "line 1: start is '-5', expected a whole number"),
        ("5 nan add_oil_core\n", "line 1: stop is 'nan', expected a whole number"),
        (annotation((0, 30, "add_oil_core")).replace("20000017", "20005017"), "camera's grid"),
        (annotation((0, 400, "serve_salad")), "no low-level activity"),
        ("", "the file is empty"),
    ],
)
def test_a_wrong_annotation_is_refused_with_file_and_line(root, text, message):
    path = write_annotation(root, text)
    with pytest.raises(AnnotationError, match=message) as raised:
        on_camera(root, split=1)
    assert str(path) in str(raised.value)


def test_a_list_of_actions_that_contradicts_the_conversion_is_refused(root):
    (root / "mid_level_actions.txt").write_text("add_oil\ncut_cheese\n")
    with pytest.raises(AnnotationError, match=r"not the classes of the conversion files.*cut_tomato"):
        on_camera(root, split=1)


def test_a_user_on_both_sides_of_a_split_is_refused(root):
    (root / "splits_abu_farha" / "test.split1.bundle").write_text("rgb-02-2.txt\n")
    with pytest.raises(AnnotationError, match=r"users \['02'\] are in train and in test"):
        on_camera(root, split=1)


def test_split_files_may_hold_paths_or_plain_ids(tmp_path):
    path = tmp_path / "train.bundle"
    path.write_text("./data/groundTruth/rgb-01-1.txt\nrgb-01-2\n")
    assert read_videos(path) == ["rgb-01-1", "rgb-01-2"]
    path.write_text("rgb-01-1.txt\nrgb-1-1.txt\n")
    with pytest.raises(AnnotationError, match=r"line 2: 'rgb-1-1\.txt', expected a video"):
        read_videos(path)
    path.write_text("rgb-01-1.txt\nrgb-01-1\n")
    with pytest.raises(AnnotationError, match="line 2: rgb-01-1 stands on line 1 already"):
        read_videos(path)


def test_avt_asks_for_the_end_and_the_first_action_but_never_for_the_start(root):
    write_all_labels(root, ("action_start", 60), ("cut_tomato", 60), ("add_oil", 45), ("cut_tomato", 3))
    benchmark = load_salads50_avt(root, split=1)
    expected = [("cut tomato", 60, 120), ("add oil", 120, 165), ("cut tomato", 165, 168), ("action end", 168, 188)]
    assert spans(benchmark) == expected
    assert benchmark.taxonomy.action_names == ("cut tomato", "cut cheese", "add oil", "action start", "action end")
    assert (len(benchmark.train), len(benchmark.validation)) == (8, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("action_start\nchop\n", "line 2: 'chop' is not in mapping.txt"),
        ("action_start\n\nadd_oil\n", "line 2: a blank line"),
    ],
)
def test_a_wrong_frame_label_is_refused_with_its_line(root, text, message):
    (root / "groundTruth" / "rgb-01-1.txt").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_frame_labels(root, "rgb-01-1", read_mapping(root))


@pytest.mark.parametrize("text", ["0 cut\n0 add\n", "0 cut\n1 cut\n", "zero cut\n", "0 cut\n1 action_start\n", "0\n"])
def test_a_wrong_mapping_is_refused(root, text):
    (root / "mapping.txt").write_text(text)
    with pytest.raises(AnnotationError, match=r"mapping\.txt"):
        read_mapping(root)


def painted(table: SegmentTable, num_frames: int, offset: int, names: list[str]) -> list[str]:
    """The label of each frame: a segment shows from its start until the next one starts, the last until its stop."""
    starts = [round(30 * start_s) + offset for start_s in table.column("start_s")]
    last = round(30 * table.column("stop_s").max()) + offset
    labels = ["action_start"] * starts[0]
    for start, stop, action in zip(starts, [*starts[1:], last], table.column("action_id"), strict=True):
        labels += [names[action]] * (stop - start)
    return [*labels, *["action_end"] * (num_frames - last)][:num_frames]


@pytest.mark.data
def test_merged_phases_are_the_frame_wise_labels_of_all_50_videos(salads):
    root = salads / "50salads"
    names = (root / "mid_level_actions.txt").read_text().split()
    on_video, camera = load_salads50_raw(root, split=1).timeline, on_camera(root, split=1).timeline
    wrong, share = {}, {}
    for video_id in on_video.video_ids:
        truth = (root / "groundTruth" / f"{video_id}.txt").read_text().split()
        shown = painted(on_video.of_video(video_id), len(truth), 0, names)
        wrong[video_id] = sum(a != b for a, b in zip(shown, truth, strict=True))
        table = camera.of_video(video_id)
        first = next(index for index, name in enumerate(truth) if name != "action_start")
        shifted = painted(table, len(truth), first - round(30 * table.column("start_s")[0]), names)
        share[video_id] = np.mean([a == b for a, b in zip(shifted, truth, strict=True)])
    assert len(wrong) == 50
    # Of ingredients placed at once, the frame-wise labels chop up two.
    assert {video_id: count for video_id, count in wrong.items() if count} == {"rgb-21-1": 35, "rgb-21-2": 164}
    # Shifted as a whole, the annotations drift by the frames that the video lost: 23, 4, 1, 1 and 0 in these five.
    assert [round(share[video_id], 4) for video_id in FIVE] == [0.9818, 0.9975, 0.999, 0.9994, 1.0]
    assert min(share.values()) == share["rgb-02-2"] == pytest.approx(0.8760, abs=5e-4)


@pytest.mark.data
def test_the_clock_of_the_camera_and_that_of_the_video_differ_by_a_start_and_by_lost_frames_alone(salads):
    """By hand from the files: starts of labels in frames, against starts of activities in camera time."""
    root = salads / "50salads"
    offsets = {}
    for path in sorted((root / "groundTruth").glob("*.txt")):
        names = path.read_text().split()
        shown = [index for index in range(1, len(names)) if names[index] != names[index - 1]]
        raw = root / "activityAnnotations" / f"{path.stem.removeprefix('rgb-')}-activityAnnotation.txt"
        rows = sorted((int(start), label) for start, _, label in map(str.split, raw.read_text().splitlines()))
        camera = {start: label.rsplit("_", 1)[0] for start, label in rows if label.endswith(PHASES)}
        begun = [start for start, old in zip(camera, [None, *camera.values()], strict=False) if camera[start] != old]
        assert len(begun) == len(shown) - (names[-1] == "action_end")
        offsets[path.stem] = np.array(shown[: len(begun)]) - np.array(begun) / TICK_US
    steps = np.concatenate([np.diff(each) for each in offsets.values()])
    # In frames. Nothing is ever gained; what is lost is lost in whole frames, 87 of one video at most.
    assert steps.max() < 0.01
    assert max(np.ptp(each) for each in offsets.values()) == pytest.approx(87, abs=0.01)
    assert sum(np.ptp(each) < 0.5 for each in offsets.values()) == 24


@pytest.mark.data
def test_avt_asks_for_949_segments_of_19_classes_those_of_the_raw_annotations_among_them(salads):
    root = salads / "50salads"
    avt, raw = load_salads50_avt(root, split=1), load_salads50_raw(root, split=1)
    names = [name.replace(" ", "_") for name in avt.taxonomy.action_names]
    assert names == [line.split()[1] for line in (root / "mapping.txt").read_text().splitlines()]
    asked = []
    for path in sorted((root / "groundTruth").glob("*.txt")):
        frames = path.read_text().splitlines()
        starts = [index for index in range(len(frames)) if index == 0 or frames[index] != frames[index - 1]]
        # AVT keeps what ends at least a frame after the start of the video when it is moved back by tau_a.
        asked += [(path.stem, index, names.index(frames[index])) for index in starts if index / 30 - 1 >= 1 / 30]
    found = [(row.video_id, round(30 * row.start_s), row.action_id) for row in avt.timeline]
    assert sorted(found) == sorted(asked)
    assert len(asked) == 949
    assert sum(video_id in FIVE for video_id, *_ in asked) == 93
    tested = [read_fold(root, split)["test"] for split in (1, 2, 3, 4, 5)]
    assert [sum(video_id in fold for video_id, *_ in asked) for fold in tested] == [199, 186, 191, 191, 182]
    of_raw = {(row.video_id, row.start_s, raw.taxonomy.action_names[row.action_id]) for row in raw.timeline}
    of_avt = {(row.video_id, row.start_s, avt.taxonomy.action_names[row.action_id]) for row in avt.timeline}
    # Ingredients placed at once are segments of their own in the raw annotations; frame-wise labels show one of them.
    assert sum(name == "action end" for *_, name in of_avt - of_raw) == 50
    assert (len(of_avt - of_raw), len(of_raw - of_avt)) == (52, 13)


@pytest.mark.data
def test_row_0_of_the_stored_features_is_the_first_annotated_instant(real_data):
    root = real_data / "50salads"
    timeline = on_camera(root, split=1, granularity="low").timeline
    mid = Taxonomy.from_labels((root / "mid_level_actions.txt").read_text().split()).action_names
    low = [mid.index(name.rsplit(" ", 1)[0]) + 1 for name in timeline.taxonomy.action_names]
    hits, rows = [], []
    for video_id in timeline.video_ids:
        with np.load(root / "spatialcnn_mid" / "split_1" / f"{video_id}.npz") as file:
            labels = file["labels"]
        times_s, expected = np.arange(len(labels)) / 3, np.zeros(len(labels), dtype=int)
        for row in timeline.of_video(video_id):
            expected[(times_s >= row.start_s) & (times_s < row.stop_s)] = low[row.action_id]
        hits.append(int((expected == labels).sum()))
        rows.append(len(labels))
    assert len(rows) == 50
    assert sum(hits) / sum(rows) == pytest.approx(0.9766, abs=5e-4)
    assert np.median(np.array(hits) / np.array(rows)) == pytest.approx(0.9937, abs=5e-4)


@pytest.mark.data
@pytest.mark.parametrize(
    ("granularity", "num_classes", "num_segments"),
    [("low", 51, 2594), ("mid", 17, 910), ("eval", 9, 751), ("abstract", 5, 658)],
)
def test_the_real_annotations_have_the_known_counts(salads, granularity, num_classes, num_segments):
    benchmark = load_salads50_raw(salads / "50salads", split=1, granularity=granularity)
    assert benchmark.taxonomy.num_actions == num_classes
    assert len(benchmark.timeline) == num_segments
    assert len(set(benchmark.timeline.column("participant_id"))) == 25


@pytest.mark.data
def test_ids_are_those_of_the_features_loader(real_data):
    raw = on_camera(real_data / "50salads", split=1)
    stored = load_salads50_tcn(real_data / "50salads", split=1).benchmark
    assert raw.taxonomy.digest == stored.taxonomy.digest
    assert set(raw.timeline.video_ids) == set(stored.timeline.video_ids)


@pytest.mark.data
def test_the_five_folds_test_each_video_once_and_are_not_the_two_splits_of_the_features(real_data):
    root = real_data / "50salads"
    folds = [read_fold(root, split) for split in (1, 2, 3, 4, 5)]
    tested = [video_id for fold in folds for video_id in fold["test"]]
    assert len(tested) == len(set(tested)) == 50
    users = [sorted({video_id.split("-")[1] for video_id in fold["test"]}) for fold in folds]
    assert [(each[0], each[-1]) for each in users] == [
        ("01", "05"),
        ("06", "11"),
        ("13", "17"),
        ("18", "22"),
        ("23", "27"),
    ]
    lea = [set(read_videos(root / "splits" / f"split_{split}" / "test.txt")) for split in (1, 2)]
    assert not any(set(fold["test"]) == each for fold in folds for each in lea)
    annotated = {path.name[:2] for path in (root / "activityAnnotations").glob("*.txt")}
    assert annotated - {user for each in users for user in each} == {"08", "12"}


@pytest.mark.data
def test_frame_labels_give_runs_of_all_19_classes(real_data):
    root = real_data / "50salads"
    mapping = read_mapping(root)
    labels = read_frame_labels(root, "rgb-27-1", mapping)
    assert len(mapping) == 19
    assert (len(labels), labels[0], labels[-1]) == (11859, mapping["action_start"], mapping["action_end"])
    assert action_runs(labels, mapping)[0] == (771, 1399, "peel_cucumber")
