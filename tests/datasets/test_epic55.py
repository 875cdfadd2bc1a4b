"""The loader of EPIC-KITCHENS-55: official labels and times, RULSTM's split."""

from pathlib import Path

import numpy as np
import pytest

from sgear.datasets import Benchmark
from sgear.datasets.epic import load_epic55
from sgear.errors import AnnotationError

LABELS = (
    "uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,noun,"
    "noun_class,all_nouns,all_noun_classes\n"
)
TIMES = "uid,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
FILES = {
    "annotations/EPIC_verb_classes.csv": "verb_id,class_key,verbs\r\n0,take,\"['take', 'get']\"\r\n1,turn-on,[]\r\n",
    "annotations/EPIC_noun_classes.csv": "noun_id,class_key,nouns\r\n0,Nothing,[]\r\n1,pan,[]\r\n2,tap,['tap']\r\n",
    "annotations/EPIC_many_shot_verbs.csv": "verb_class,verb\n0,take\n",
    "annotations/EPIC_many_shot_nouns.csv": "noun_class,noun\n2,tap\n",
    "annotations/EPIC_train_action_labels.csv": LABELS
    + "0,P01,P01_01,take pan,00:00:00.14,00:00:03.37,8,202,take,0,pan,1,['pan'],[1]\n"
    + "7,P01,P01_02,turn on tap,00:10:04.37,00:10:06.17,262,370,turn-on,1,tap,2,\"['tap', 'hand']\",\"[2, 11]\"\n"
    + "9,P02,P02_01,get pan,00:00:01.00,00:00:02.00,60,120,get,0,pan,1,['pan'],[1]\n",
    "annotations/EPIC_test_s1_timestamps.csv": TIMES + "1924,P01,P01_11,00:00:00.00,00:00:01.89,1,113\n",
    "annotations/EPIC_test_s2_timestamps.csv": TIMES + "15582,P09,P09_01,00:00:01.97,00:00:03.09,118,185\n",
    # Leading blanks, and the action's name before its verb and noun.
    "rulstm/actions.csv": "id,action,verb,noun\n0, get_pan,0,1\n1, turn-on_tap,1,2\n",
    "rulstm/training_videos.csv": "P01_02\nP02_01\n",
    "rulstm/validation_videos.csv": "P01_01\n",
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path / "annotations", tmp_path / "rulstm"


@pytest.fixture(scope="module")
def official(real_data: Path) -> Benchmark:
    return load_epic55(real_data / "epic-kitchens-55-annotations", real_data / "rulstm" / "ek55")


def test_segments_are_split_by_their_videos(folders: tuple[Path, Path]) -> None:
    benchmark = load_epic55(*folders)
    assert (benchmark.train.uids, benchmark.validation.uids) == (["7", "9"], ["0"])
    assert benchmark.train.column("start_s").tolist() == [604.37, 1.0]


def test_actions_have_the_ids_of_the_list_and_the_names_of_their_classes(folders: tuple[Path, Path]) -> None:
    benchmark = load_epic55(*folders)
    assert benchmark.taxonomy.action_names == ("take pan", "turn-on tap")
    assert benchmark.train.column("action_id").tolist() == [1, 0]


def test_both_test_splits_are_read_without_labels(folders: tuple[Path, Path]) -> None:
    tests = load_epic55(*folders).tests
    assert {name: table.uids for name, table in tests.items()} == {"seen": ["1924"], "unseen": ["15582"]}
    assert not any(table.is_labelled for table in tests.values())


def test_an_action_is_many_shot_if_its_verb_or_its_noun_is(folders: tuple[Path, Path]) -> None:
    ids = load_epic55(*folders).many_shot_ids
    assert {field: values.tolist() for field, values in ids.items()} == {"verb": [0], "noun": [2], "action": [0, 1]}


@pytest.mark.parametrize("name", list(FILES))
def test_missing_file_is_named(folders: tuple[Path, Path], name: str) -> None:
    (folders[0].parent / name).unlink()
    with pytest.raises(AnnotationError, match=f"{Path(name).name}: no such file"):
        load_epic55(*folders)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("rulstm/training_videos.csv", "P02_01\n", "", r"labels.csv: video P02_01 is in no part of the split"),
        ("rulstm/training_videos.csv", "P02_01", "P01_01", r"video P01_01 is in both parts of the split"),
        ("rulstm/training_videos.csv", "P02_01", "P01_02", r"training_videos.csv, line 1: id is 'P01_02'"),
        ("rulstm/actions.csv", "1, turn-on_tap,1,2", "1, turn-on_pan,1,1", r"line 3: verb 1 with noun 2 is no action"),
        ("rulstm/actions.csv", "1, turn", "2, turn", r"actions.csv, line 3: id is '2'"),
        ("rulstm/actions.csv", "1,2", "1,9", r"actions.csv, line 3: noun is '9', expected a whole number in 0..2"),
        ("annotations/EPIC_train_action_labels.csv", "\n7,", "\nx7,", r"line 3: uid is 'x7', expected a whole number"),
        ("annotations/EPIC_many_shot_verbs.csv", "0,", "2,", r"line 2: verb_class is '2'"),
    ],
)
def test_wrong_content_is_refused_with_file_and_line(
    folders: tuple[Path, Path], name: str, old: str, new: str, message: str
) -> None:
    path = folders[0].parent / name
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(AnnotationError, match=message):
        load_epic55(*folders)


@pytest.mark.data
def test_official_files_have_the_published_sizes(official: Benchmark) -> None:
    assert (len(official.train), len(official.validation)) == (23493, 4979)
    assert {name: len(table) for name, table in official.tests.items()} == {"seen": 8047, "unseen": 2929}
    assert (official.train.num_videos, official.validation.num_videos) == (232, 40)


@pytest.mark.data
def test_official_classes_have_the_published_sizes(official: Benchmark) -> None:
    taxonomy = official.taxonomy
    assert (len(taxonomy.verbs), len(taxonomy.nouns), taxonomy.num_actions) == (125, 352, 2513)
    used = [len(np.unique(ids)) for ids in (taxonomy.verb_of_action, taxonomy.noun_of_action)]
    assert used == [119, 321]
    assert (len(official.many_shot_verb_ids), len(official.many_shot_noun_ids)) == (26, 71)


@pytest.mark.data
def test_no_official_label_is_dropped_by_the_split(official: Benchmark, real_data: Path) -> None:
    path = real_data / "epic-kitchens-55-annotations" / "EPIC_train_action_labels.csv"
    uids = {line.split(",")[0] for line in path.read_text().splitlines()[1:]}
    assert {*official.train.uids, *official.validation.uids} == uids


@pytest.mark.data
def test_the_official_list_of_many_shot_actions_asks_for_verb_and_noun(official: Benchmark, real_data: Path) -> None:
    lines = (real_data / "epic-kitchens-55-annotations" / "EPIC_many_shot_actions.csv").read_text().splitlines()[1:]
    listed = {(int(line.split(",")[5]), int(line.split(",")[3])) for line in lines}
    verbs, nouns = official.many_shot_verb_ids, official.many_shot_noun_ids
    both = {(verb, noun) for verb, noun in official.taxonomy.action_pairs if verb in verbs and noun in nouns}
    assert (listed, len(listed), len(official.many_shot_ids["action"])) == (both, 819, 2265)
