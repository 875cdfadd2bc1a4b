import shutil
from pathlib import Path

import numpy as np
import pytest

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.salads50 import load_salads50
from sgear.datasets.salads50_framewise import (
    action_runs,
    load_salads50_framewise,
    read_fold,
    read_frame_labels,
    read_mapping,
    read_videos,
)
from sgear.datasets.salads50_raw import TICK_US, load_salads50_raw
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

FILMS = ("rgb-01-1", "rgb-01-2", "rgb-02-1", "rgb-07-2", "rgb-27-1")
PHASES = ("core", "post", "prep")
MID = ("add_oil", "cut_cheese", "cut_tomato")
FIRST_US = 20_000_017


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
    assert spans(load_salads50_raw(root, split=1)) == [
        ("cut tomato", 30, 91),
        ("cut cheese", 120, 181),
        ("cut tomato", 210, 300),
        ("add oil", 300, 331),
    ]


def test_phases_stay_apart_at_the_low_level(root):
    low = spans(load_salads50_raw(root, split=1, granularity="low"))
    assert low[:3] == [("cut tomato prep", 30, 60), ("cut tomato core", 60, 91), ("cut cheese prep", 120, 150)]
    assert len(low) == 7


def test_coarser_levels_join_more_and_null_has_no_class(root):
    assert spans(load_salads50_raw(root, split=1, granularity="eval")) == [("cut", 30, 300), ("add oil", 300, 331)]
    assert spans(load_salads50_raw(root, split=1, granularity="abstract")) == [("cut", 30, 300)]


def test_times_count_from_the_first_annotated_instant_even_where_it_is_a_high_level_one(root):
    later = annotation((0, 30, "cut_tomato_core"), (90, 150, "add_oil_core"))
    write_annotation(root, later)
    assert spans(load_salads50_raw(root, split=1)) == [("cut tomato", 0, 31), ("add oil", 90, 151)]


def test_a_phase_of_one_instant_lasts_one_frame(root):
    write_annotation(root, annotation((0, 0, "cut_tomato_core"), (90, 90, "add_oil_core"), (120, 130, "add_oil_post")))
    low = spans(load_salads50_raw(root, split=1, granularity="low"))
    assert low[:2] == [("cut tomato core", 0, 1), ("add oil core", 90, 91)]


def test_activities_annotated_for_the_same_time_are_segments_of_their_own(root):
    rows = [(at, at + 30, f"{name}_{phase}") for at, phase in ((0, "prep"), (30, "core")) for name in MID[1:]]
    write_annotation(root, annotation(*rows, (90, 100, "add_oil_core")))
    assert spans(load_salads50_raw(root, split=1)) == [
        ("cut cheese", 0, 61),
        ("cut tomato", 0, 61),
        ("add oil", 90, 101),
    ]


def test_segments_of_the_first_two_seconds_are_past_only(root):
    benchmark = load_salads50_raw(root, split=1)
    assert benchmark.unscored is not None
    assert benchmark.validation.column("start_s").tolist() == [4.0, 7.0, 10.0]
    assert benchmark.unscored.column("start_s").tolist() == [1.0] * 3


def test_the_film_clock_starts_each_action_on_its_frame_of_the_ground_truth(root):
    # The film begins 70 frames before the first annotated instant and has lost 4 frames before the cheese.
    labels = [("action_start", 100), ("cut_tomato", 86), ("cut_cheese", 90), ("cut_tomato", 90), ("add_oil", 31)]
    for video_id in ("rgb-01-1", "rgb-02-1", "rgb-03-1"):
        write_labels(root, video_id, *labels, ("action_end", 20))
    assert spans(load_salads50_raw(root, split=1, clock="film")) == [
        ("cut tomato", 100, 161),
        ("cut cheese", 186, 247),
        ("cut tomato", 276, 366),
        ("add oil", 366, 397),
    ]


def test_the_film_clock_refuses_labels_in_another_order(root):
    for video_id in ("rgb-01-1", "rgb-02-1", "rgb-03-1"):
        write_labels(root, video_id, ("action_start", 100), ("add_oil", 80), ("action_end", 20))
    with pytest.raises(AnnotationError, match="do not follow in the order"):
        load_salads50_raw(root, split=1, clock="film")


def test_the_film_clock_names_the_videos_without_labels(root):
    write_labels(root, "rgb-02-1", ("action_start", 1))
    with pytest.raises(AnnotationError, match=r"labels of 2 videos.*: rgb-01-1, rgb-03-1"):
        load_salads50_raw(root, split=1, clock="film")


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
        load_salads50_raw(root, split=1)
    assert str(path) in str(raised.value)


def test_a_missing_annotation_is_named(root):
    (root / "activityAnnotations" / "02-1-activityAnnotation.txt").unlink()
    with pytest.raises(AnnotationError, match=r"02-1-activityAnnotation\.txt: no such file"):
        load_salads50_raw(root, split=1)


def test_a_list_of_actions_that_contradicts_the_conversion_is_refused(root):
    (root / "mid_level_actions.txt").write_text("add_oil\ncut_cheese\n")
    with pytest.raises(AnnotationError, match=r"not the classes of the conversion files.*cut_tomato"):
        load_salads50_raw(root, split=1)


def test_the_order_of_the_list_gives_the_ids(root):
    (root / "mid_level_actions.txt").write_text("cut_tomato\nadd_oil\ncut_cheese\n")
    assert load_salads50_raw(root, split=1).taxonomy.action_names == ("cut tomato", "add oil", "cut cheese")


def test_unknown_arguments_are_errors(root):
    with pytest.raises(ValueError, match="folds"):
        load_salads50_raw(root, split=6)
    with pytest.raises(ValueError, match="splits 1 and 2"):
        load_salads50_raw(root, split=3, folds="lea")


def test_a_user_on_both_sides_of_a_split_is_refused(root):
    (root / "splits_abu_farha" / "test.split1.bundle").write_text("rgb-02-2.txt\n")
    with pytest.raises(AnnotationError, match=r"users \['02'\] are in train and in test"):
        load_salads50_raw(root, split=1)


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


def test_frame_wise_runs_become_segments_of_the_film_without_start_and_end(root):
    labels = [("action_start", 60), ("cut_tomato", 60), ("add_oil", 45), ("cut_tomato", 3), ("action_end", 9)]
    for video_id in ("rgb-01-1", "rgb-02-1", "rgb-03-1"):
        write_labels(root, video_id, *labels)
    benchmark = load_salads50_framewise(root, split=1)
    assert spans(benchmark) == [("cut tomato", 60, 120), ("add oil", 120, 165), ("cut tomato", 165, 168)]
    assert benchmark.taxonomy.action_names == ("add oil", "cut cheese", "cut tomato")
    assert (len(benchmark.train), len(benchmark.validation)) == (6, 3)


def test_missing_frame_labels_are_named_unless_only_the_present_are_asked_for(root):
    write_labels(root, "rgb-01-1", ("action_start", 90), ("cut_tomato", 60), ("action_end", 1))
    write_labels(root, "rgb-03-1", ("action_start", 90), ("add_oil", 60), ("action_end", 1))
    with pytest.raises(AnnotationError, match="no labels of 1 videos: rgb-02-1"):
        load_salads50_framewise(root, split=1)
    benchmark = load_salads50_framewise(root, split=1, only_present=True)
    assert benchmark.train.video_ids == ["rgb-01-1"]


def test_a_fold_without_any_present_test_video_has_no_test_segments(root):
    write_labels(root, "rgb-01-1", ("action_start", 90), ("cut_tomato", 60), ("action_end", 1))
    assert len(load_salads50_framewise(root, split=1, only_present=True).validation) == 0


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


def five_films(source: Path, target: Path) -> Path:
    """A copy of the annotations whose first fold holds the five films with frame-wise labels."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.npz"))
    for part, videos in (("train", FILMS[:3]), ("test", FILMS[3:])):
        (target / "splits_abu_farha" / f"{part}.split1.bundle").write_text("\n".join(videos))
    return target


def painted(table: SegmentTable, num_frames: int, offset: int, names: list[str]) -> list[str]:
    """The label of each frame: a segment shows from its start until the next one starts, the last until its stop."""
    starts = [round(30 * start_s) + offset for start_s in table.column("start_s")]
    last = round(30 * table.column("stop_s").max()) + offset
    labels = ["action_start"] * starts[0]
    for start, stop, action in zip(starts, [*starts[1:], last], table.column("action_id"), strict=True):
        labels += [names[action]] * (stop - start)
    return [*labels, *["action_end"] * (num_frames - last)][:num_frames]


@pytest.mark.data
def test_merged_phases_are_the_frame_wise_labels_of_all_five_films(real_data, tmp_path):
    root = five_films(real_data / "50salads", tmp_path / "50salads")
    names = (root / "mid_level_actions.txt").read_text().split()
    on_film, on_camera = (load_salads50_raw(root, split=1, clock=clock).timeline for clock in ("film", "annotations"))
    share = []
    for video_id in FILMS:
        truth = (root / "groundTruth" / f"{video_id}.txt").read_text().split()
        assert painted(on_film.of_video(video_id), len(truth), 0, names) == truth
        camera = on_camera.of_video(video_id)
        first = next(index for index, name in enumerate(truth) if name != "action_start")
        shifted = painted(camera, len(truth), first - round(30 * camera.column("start_s")[0]), names)
        share.append(np.mean([a == b for a, b in zip(shifted, truth, strict=True)]))
    # Shifted as a whole, the annotations drift by the frames that the film lost: 23, 4, 1, 1 and 0.
    assert np.round(share, 4).tolist() == [0.9818, 0.9975, 0.999, 0.9994, 1.0]


@pytest.mark.data
def test_raw_and_frame_wise_loaders_ask_for_the_same_actions_at_the_same_times(real_data, tmp_path):
    root = five_films(real_data / "50salads", tmp_path / "50salads")
    raw, frames = load_salads50_raw(root, split=1, clock="film"), load_salads50_framewise(root, split=1)
    assert raw.taxonomy.digest == frames.taxonomy.digest
    for name in ("train", "validation"):
        first, second = getattr(raw, name), getattr(frames, name)
        for column in ("uid", "start_s", "action_id", "verb_id", "noun_id"):
            assert np.array_equal(first.column(column), second.column(column)), column


@pytest.mark.data
def test_row_0_of_the_stored_features_is_the_first_annotated_instant(real_data):
    root = real_data / "50salads"
    timeline = load_salads50_raw(root, split=1, granularity="low").timeline
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
def test_the_real_annotations_have_the_known_counts(real_data, granularity, num_classes, num_segments):
    benchmark = load_salads50_raw(real_data / "50salads", split=1, granularity=granularity)
    assert benchmark.taxonomy.num_actions == num_classes
    assert len(benchmark.timeline) == num_segments
    assert len(set(benchmark.timeline.column("participant_id"))) == 25


@pytest.mark.data
def test_ids_are_those_of_the_features_loader(real_data):
    raw = load_salads50_raw(real_data / "50salads", split=1, folds="lea")
    stored = load_salads50(real_data / "50salads", split=1).benchmark
    assert raw.taxonomy.digest == stored.taxonomy.digest
    assert set(raw.validation.video_ids) == set(stored.validation.video_ids)


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
