"""RULSTM's split files: no headers, frames at 30 fps, columns in three orders."""

from pathlib import Path

import numpy as np
import pytest

from sgear.datasets import Benchmark
from sgear.datasets.epic import load_epic55, load_epic100
from sgear.datasets.rulstm import load_rulstm_ek55, load_rulstm_ek100
from sgear.errors import AnnotationError

EK55 = {
    # The action's name comes before its verb and noun; a name is one of the narrations.
    "actions.csv": "id,action,verb,noun\n0, get_pan,0,2\n1, turn-on_tap,1,0\n",
    "training.csv": "00330, P01_02, 0000000152, 0000000205, 000, 002, 0000\n",
    "validation.csv": "00000, P01_01, 0000000001, 0000000101, 001, 000, 0001\n",
    "training_videos.csv": "P01_02\n",
    "validation_videos.csv": "P01_01\n",
    "test_seen.csv": "01924, P01_11, 0000000001, 0000000056\n",
    "test_unseen.csv": "15582, P09_01, 0000000059, 0000000092\n",
    "EPIC_many_shot_verbs.csv": "verb_class,verb\n1,turn-on\n",
    "EPIC_many_shot_nouns.csv": "noun_class,noun\n2,pan\n",
}
EK100 = {
    # Verb and noun come before the name.
    "actions.csv": "id,verb,noun,action\n0,0,0,take tap:hot\n1,0,2,take pan\n2,1,0,turn-on tap:hot\n",
    "training.csv": "P01_01_0,P01_01,3,101,0,2,1\n",
    "validation.csv": "P01_11_0,P01_11,30,56,1,0,2\nP02_11_0,P02_11,45,90,0,0,0\nP02_11_1,P02_11,95,99,0,2,1\n",
    "training_videos.csv": "P01_01\n",
    "validation_videos.csv": "P01_11\nP02_11\n",
    "test_timestamps.csv": "P01_101_0,P01_101,85,116\n",
    "validation_unseen_participants_ids.csv": "P02_11_0\nP02_11_1\n",
    "validation_tail_verbs_ids.csv": "P01_11_0\n",
    "validation_tail_nouns_ids.csv": "P02_11_1\n",
    "validation_tail_actions_ids.csv": "P01_11_0\nP02_11_1\n",
}
LOADERS = {"ek55": load_rulstm_ek55, "ek100": load_rulstm_ek100}


@pytest.fixture
def ek55(tmp_path: Path) -> Path:
    return write(tmp_path, EK55)


@pytest.fixture
def ek100(tmp_path: Path) -> Path:
    return write(tmp_path, EK100)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_padded_numbers_and_blanks_are_removed(ek55: Path) -> None:
    benchmark = load_rulstm_ek55(ek55)
    assert (benchmark.train.uids, benchmark.train.video_ids) == (["330"], ["P01_02"])
    assert benchmark.validation.uids == ["0"]
    assert benchmark.tests["seen"].uids == ["1924"]


def test_actions_of_ek55_are_read_by_the_names_of_their_columns(ek55: Path) -> None:
    taxonomy = load_rulstm_ek55(ek55).taxonomy
    assert taxonomy.action_pairs == ((0, 2), (1, 0))
    assert taxonomy.action_names == ("get pan", "turn-on tap")


def test_actions_of_ek100_name_their_verbs_and_nouns(ek100: Path) -> None:
    taxonomy = load_rulstm_ek100(ek100).taxonomy
    assert taxonomy.action_pairs == ((0, 0), (0, 2), (1, 0))
    assert (taxonomy.verbs, taxonomy.nouns) == (("take", "turn-on"), ("tap:hot", "noun 1", "pan"))


def test_uid_lists_become_subsets(ek100: Path) -> None:
    benchmark = load_rulstm_ek100(ek100)
    assert benchmark.unseen_participants == {"P02"}
    assert (benchmark.tail_verb_ids, benchmark.tail_noun_ids) == ({1}, {2})
    assert benchmark.subset_masks["tail"]["action"].tolist() == [True, False, True]


def test_many_shot_classes_of_ek55_are_read(ek55: Path) -> None:
    benchmark = load_rulstm_ek55(ek55)
    assert (benchmark.many_shot_verb_ids, benchmark.many_shot_noun_ids) == ({1}, {2})
    assert benchmark.tests["unseen"].column("action_id").tolist() == [-1]
    assert benchmark.train.column("start_s").tolist() == [152 / 30]


@pytest.mark.parametrize("name", ["ek55", "ek100"])
def test_missing_file_is_named(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    for file in {"ek55": EK55, "ek100": EK100}[name]:
        path = folder / file
        text = path.read_text()
        path.unlink()
        with pytest.raises(AnnotationError, match=f"{file}: no such file"):
            LOADERS[name](folder)
        path.write_text(text)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("training.csv", ",0,2,1\n", ",2,0,1\n", r"training.csv, line 1: verb is '2', expected .* in 0..1"),
        ("training.csv", ",0,2,1\n", ",0,2,0\n", r"line 1: action is '0', expected the id of its verb with its noun"),
        ("training.csv", ",0,2,1\n", ",0,1,1\n", r"line 1: verb 0 with noun 1 is no action class"),
        ("training.csv", ",0,2,1\n", ",0,2\n", r"training.csv, line 1: 6 fields, expected 7"),
        ("training.csv", "3,101", "101,3", r"row 1, uid 'P01_01_0' ends before it starts"),
        ("training_videos.csv", "P01_01", "P01_03", r"video P01_01 is not in training_videos.csv"),
        ("validation_tail_verbs_ids.csv", "P01_11_0", "P09_11_0", r"uid 'P09_11_0' is not in validation.csv"),
        ("validation_tail_verbs_ids.csv", "P01_11_0", "P02_11_0", r"validation_tail_verbs_ids.csv: 1 uids"),
        (
            "validation_unseen_participants_ids.csv",
            "\nP02_11_1",
            "",
            r"unseen_participants_ids.csv: 1 uids.*'P02_11_1'",
        ),
        ("actions.csv", "1,0,2,take pan", "1,0,2,put pan", r"action 1 calls verb 0 'put', an earlier one 'take'"),
        ("actions.csv", "1,0,2,take pan", "1,0,2,take", r"action 1 calls noun 2 ''"),
        ("actions.csv", "id,verb,noun,action\n", "", r"actions.csv, line 1: columns .* are missing"),
    ],
)
def test_wrong_content_is_refused(ek100: Path, file: str, old: str, new: str, message: str) -> None:
    path = ek100 / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(AnnotationError, match=message):
        load_rulstm_ek100(ek100)


@pytest.fixture(scope="module")
def official100(real_data: Path) -> Benchmark:
    return load_epic100(real_data / "epic-kitchens-100-annotations")


@pytest.fixture(scope="module")
def real100(real_data: Path) -> Benchmark:
    return load_rulstm_ek100(real_data / "rulstm" / "ek100")


@pytest.mark.data
def test_real_ek100_action_ids_are_those_of_the_official_loader(official100: Benchmark, real100: Benchmark) -> None:
    assert official100.taxonomy.action_pairs == real100.taxonomy.action_pairs
    assert official100.taxonomy.action_names == real100.taxonomy.action_names


@pytest.mark.data
def test_real_ek100_uid_lists_are_the_masks_of_the_official_classes(official100: Benchmark, real100: Benchmark) -> None:
    for subset, masks in official100.subset_masks.items():
        for field, mask in masks.items():
            ours = np.array(official100.validation.uids)[mask]
            theirs = np.array(real100.validation.uids)[real100.subset_masks[subset][field]]
            assert set(ours) == set(theirs)


def assert_same_segments(official: Benchmark, rulstm: Benchmark, *, late_s: float) -> None:
    """Compare row by row; a frame may be `late_s` late, and the first frame of a video by itself."""
    for name in ("train", "validation", *official.tests):
        ours, theirs = (each.tests.get(name) or getattr(each, name) for each in (official, rulstm))
        both = ours.frame.join(theirs.frame, on="uid", validate="1:1", suffix="_frame")
        assert len(both) == len(ours) == len(theirs)
        for column in ("video_id", "participant_id", "verb_id", "noun_id", "action_id"):
            assert both[column].equals(both[f"{column}_frame"])
        for column in ("start_s", "stop_s"):
            frame_s = both[f"{column}_frame"].to_numpy()
            early_s = both[column].to_numpy() - frame_s
            assert early_s.max() < 1 / 30 + 1e-9
            assert early_s[frame_s > 1 / 30].min() > -late_s - 1e-9
            assert early_s.min() > -1 / 30 - 1e-9


@pytest.mark.data
def test_real_ek100_frames_are_at_most_a_frame_early(official100: Benchmark, real100: Benchmark) -> None:
    # Times of the rebuilt training file that came from frames are rounded to hundredths.
    is_rebuilt = "rebuilt" in official100.train.origin
    assert_same_segments(official100, real100, late_s=0.005 if is_rebuilt else 0)


@pytest.mark.data
def test_real_ek55_frames_are_at_most_a_frame_early(real_data: Path) -> None:
    official = load_epic55(real_data / "epic-kitchens-55-annotations", real_data / "rulstm" / "ek55")
    assert_same_segments(official, load_rulstm_ek55(real_data / "rulstm" / "ek55"), late_s=0)


@pytest.mark.data
def test_real_ek55_has_the_published_sizes(real_data: Path) -> None:
    benchmark = load_rulstm_ek55(real_data / "rulstm" / "ek55")
    assert (len(benchmark.train), len(benchmark.validation), benchmark.taxonomy.num_actions) == (23493, 4979, 2513)
    assert {field: len(ids) for field, ids in benchmark.many_shot_ids.items() if field != "action"} == {
        "verb": 26,
        "noun": 71,
    }
