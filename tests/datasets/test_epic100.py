"""The loader of the official EPIC-KITCHENS-100 files."""

import time
from pathlib import Path

import pytest

from sgear.datasets import Benchmark
from sgear.datasets.epic import load_epic100, published_order
from sgear.errors import AnnotationError

FILES = {
    "verb_classes": "id,key,instances,category\n0,take,\"['take', 'get']\",retrieve\n1,turn-on,['turn-on'],access\n",
    "noun_classes": "id,key,instances,category\n0,tap:hot,['tap'],appliances\n1,knife,['knife'],cutlery\n",
    "tail_verbs": "verb\n1\n",
    "tail_nouns": "noun\n0\n",
    "unseen_participant_ids_validation": "participant_id\nP02\n",
    "train": (
        "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class,extra\n"
        "P01_01_0,P01,P01_01,00:00:00.10,00:01:01.60,0,1,x\n"
        "P01_01_1,P01,P01_01,01:00:00.00,01:00:02.25,1,0,\n"
    ),
    "validation": (
        "stop_timestamp,start_timestamp,narration_id,participant_id,video_id,noun_class,verb_class\n"
        "00:00:02.00,00:00:01.00,P02_01_0,P02,P02_01,0,0\n"
    ),
}


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / f"EPIC_100_{name}.csv").write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def official(real_data: Path) -> Benchmark:
    return load_epic100(real_data / "epic-kitchens-100-annotations")


def test_columns_are_found_by_name_and_times_are_exact_seconds(annotations: Path) -> None:
    benchmark = load_epic100(annotations)
    assert benchmark.train.column("start_s").tolist() == [0.1, 3600.0]
    assert benchmark.train.column("stop_s").tolist() == [61.6, 3602.25]
    assert benchmark.validation.uids == ["P02_01_0"]


def test_actions_are_the_sorted_pairs_of_both_splits(annotations: Path) -> None:
    benchmark = load_epic100(annotations)
    assert benchmark.taxonomy.action_pairs == ((0, 0), (0, 1), (1, 0))
    assert benchmark.taxonomy.nouns == ("tap:hot", "knife")
    assert benchmark.train.column("action_id").tolist() == [1, 2]
    assert benchmark.validation.column("action_id").tolist() == [0]


def test_subsets_are_read(annotations: Path) -> None:
    benchmark = load_epic100(annotations)
    assert benchmark.unseen_participants == {"P02"}
    assert benchmark.tail_action_mask.tolist() == [True, False, True]


@pytest.mark.parametrize("name", list(FILES))
def test_missing_file_is_named(annotations: Path, name: str) -> None:
    (annotations / f"EPIC_100_{name}.csv").unlink()
    with pytest.raises(AnnotationError, match=f"EPIC_100_{name}.csv: no such file"):
        load_epic100(annotations)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("train", "start_timestamp", "begin", r"train.csv, line 1: columns \['start_timestamp'\] are missing"),
        ("train", "01:00:02.25", "01:00:62.25", r"train.csv, line 3: stop_timestamp is '01:00:62.25'"),
        ("train", "01:00:02.25", "00:59:00.00", r"train.csv: row 3, uid 'P01_01_1' ends before it starts"),
        ("train", ",0,1,x", ",0,7,x", r"train.csv, line 2: noun_class is '7', expected a whole number in 0..1"),
        ("train", "P01_01_1", "P01_01_0", r"row 2, uid 'P01_01_0' repeats a uid"),
        ("train", ",0,1,x", ",0,1", r"train.csv, line 2: 7 fields, expected 8"),
        ("verb_classes", "1,turn-on", "2,turn-on", r"verb_classes.csv, line 3: id is '2'"),
        ("tail_nouns", "0", "9", r"tail_nouns.csv, line 2: noun is '9'"),
    ],
)
def test_wrong_content_is_refused_with_file_and_line(
    annotations: Path, name: str, old: str, new: str, message: str
) -> None:
    path = annotations / f"EPIC_100_{name}.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(AnnotationError, match=message):
        load_epic100(annotations)


def test_action_ids_follow_the_text_of_their_verb_and_noun_ids() -> None:
    pairs = {(1, 0), (10, 3), (0, 2), (0, 10), (0, 1)}
    assert published_order(pairs) == ((0, 1), (0, 10), (0, 2), (10, 3), (1, 0))


def test_test_segments_have_no_labels(annotations: Path) -> None:
    (annotations / "EPIC_100_test_timestamps.csv").write_text(
        "narration_id,participant_id,video_id,start_timestamp,stop_timestamp\nP03_01_0,P03,P03_01,00:00:05.10,00:00:06.00\n"
    )
    test = load_epic100(annotations).tests["test"]
    assert (test.uids, test.column("start_s").tolist(), test.column("action_id").tolist()) == (
        ["P03_01_0"],
        [5.1],
        [-1],
    )
    assert not test.is_labelled


def test_a_rebuilt_training_file_says_so(annotations: Path) -> None:
    train = annotations / "EPIC_100_train.csv"
    (annotations / "EPIC_100_train_rebuilt.csv").write_bytes(train.read_bytes())
    assert load_epic100(annotations).train.origin.endswith("EPIC_100_train.csv")
    train.unlink()
    benchmark = load_epic100(annotations)
    assert "EPIC_100_train_rebuilt.csv (rebuilt, not official)" in benchmark.train.origin
    assert len(benchmark.train) == 2


def test_a_named_training_file_is_not_replaced_by_another(annotations: Path) -> None:
    with pytest.raises(AnnotationError, match=r"mine.csv: no such file"):
        load_epic100(annotations, train_name="mine.csv")


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_pickle_is_never_opened_and_the_csv_is_named(annotations: Path, name: str) -> None:
    path = annotations / f"EPIC_100_{name}.csv"
    path.rename(path.with_suffix(".pkl"))
    with pytest.raises(AnnotationError, match=rf"EPIC_100_{name}\.csv: no such file.*pickles are never opened"):
        load_epic100(annotations)


@pytest.mark.data
def test_official_files_have_the_published_sizes(official: Benchmark) -> None:
    assert (len(official.train), len(official.validation), len(official.tests["test"])) == (67217, 9668, 13092)
    taxonomy = official.taxonomy
    assert (len(taxonomy.verbs), len(taxonomy.nouns), taxonomy.num_actions) == (97, 300, 3806)
    assert official.unseen_participants == {"P18", "P32"}


@pytest.mark.data
def test_official_rows_keep_their_times_and_classes(official: Benchmark) -> None:
    first = next(iter(official.validation))
    assert (first.uid, first.start_s, first.stop_s, first.verb_id, first.noun_id) == ("P01_11_0", 0.0, 1.89, 0, 2)
    assert official.taxonomy.action_names[first.action_id] == "take plate"


@pytest.mark.data
def test_official_files_are_read_in_two_seconds(real_data: Path) -> None:
    start_s = time.process_time()
    load_epic100(real_data / "epic-kitchens-100-annotations")
    assert time.process_time() - start_s < 2
