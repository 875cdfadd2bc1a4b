"""Loaders of published annotation files: EPIC-KITCHENS-100 and -55, EGTEA Gaze+, and RULSTM's files of all three."""

from pathlib import Path

import pytest

from sgear.datasets import Benchmark, load_dataset
from sgear.datasets.epic import load_epic100, published_order
from sgear.errors import AnnotationError

EPIC100 = {
    "EPIC_100_verb_classes.csv": "id,key,instances\n0,take,\"['take', 'get']\"\n1,turn-on,['turn-on']\n",
    "EPIC_100_noun_classes.csv": "id,key,instances,category\n0,tap:hot,['tap'],appliances\n1,knife,['knife'],cutlery\n",
    "EPIC_100_tail_verbs.csv": "verb\n1\n",
    "EPIC_100_tail_nouns.csv": "noun\n0\n",
    "EPIC_100_unseen_participant_ids_validation.csv": "participant_id\nP02\n",
    "EPIC_100_train.csv": (
        "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class,extra\n"
        "P01_01_0,P01,P01_01,00:00:00.10,00:01:01.60,0,1,x\n"
        "P01_01_1,P01,P01_01,01:00:00.00,01:00:02.25,1,0,\n"
    ),
    "EPIC_100_validation.csv": (
        "stop_timestamp,start_timestamp,narration_id,participant_id,video_id,noun_class,verb_class\n"
        "00:00:02.00,00:00:01.00,P02_01_0,P02,P02_01,0,0\n"
    ),
}
LABELS = (
    "uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,noun,"
    "noun_class,all_nouns,all_noun_classes\n"
)
TIMES = "uid,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
EPIC55 = {
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
EGTEA = {
    "verb_idx.txt": "Open 1\nTurn on 2\nSpread 3\n",
    "noun_idx.txt": "fridge 1\nbell_pepper 2\nbread 3\nfaucet 4\n",
    "action_idx.txt": "Open fridge 1\nSpread bell_pepper,bread 2\nTurn on faucet 3\nOpen bread 4\n",
    "train_split1.txt": (
        "OP01-R01-PastaSalad-62300-64600-F001490-F001556 3 2 4\n"
        "P02-R02-TurkeySandwich-1000-2500-F000024-F000060 2 3 2 3\n"
    ),
    "test_split1.txt": "P03-R01-PastaSalad-9500-10000-F000228-F000240 4 1 3\n",
}
# The same clips: no headers, verb before noun before action, frames at 30 fps, ':' for '_' in names.
RULSTM_EGTEA = {
    "actions.csv": "0, 0_0, Open_fridge\n1, 2_1, Spread_bell:pepper\n2, 1_2, Turn on_faucet\n3, 0_3, Open_bread\n",
    "training1.csv": "7,OP01-R01-PastaSalad,1869,1938,1,2,2\n2,P02-R02-TurkeySandwich,30,75,2,1,1\n",
    "validation1.csv": "19,P03-R01-PastaSalad,285,300,0,3,3\n",
}
RULSTM_55 = {
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
RULSTM_100 = {
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
FILES = {
    "epic100": EPIC100,
    "epic55": EPIC55,
    "egtea": EGTEA,
    "rulstm-ek55": RULSTM_55,
    "rulstm-ek100": RULSTM_100,
    "rulstm-egtea": RULSTM_EGTEA,
}


def read(name: str, root: Path) -> Benchmark:
    """Load a data set from the folder that `write` filled; epic55 finds RULSTM's split beside its annotations."""
    return load_dataset(name, root / "annotations" if name == "epic55" else root)


@pytest.fixture
def write(tmp_path: Path):
    def write_files(name: str) -> Path:
        for file, text in FILES[name].items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        return tmp_path / name

    return write_files


@pytest.fixture
def small(write):
    return lambda name: read(name, write(name))


# --- what is read --------------------------------------------------------------------------------------------------


def test_epic100_columns_are_found_by_name_and_actions_are_the_sorted_pairs_of_both_splits(small):
    benchmark = small("epic100")
    assert benchmark.train.column("start_s").tolist() == [0.1, 3600.0]
    assert benchmark.train.column("stop_s").tolist() == [61.6, 3602.25]
    assert benchmark.validation.uids == ["P02_01_0"]
    assert benchmark.taxonomy.action_pairs == ((0, 0), (0, 1), (1, 0))
    assert benchmark.taxonomy.nouns == ("tap:hot", "knife")
    assert benchmark.train.column("action_id").tolist() == [1, 2]
    assert benchmark.unseen_participants == {"P02"}
    assert benchmark.tail_action_mask.tolist() == [True, False, True]


def test_action_ids_follow_the_text_of_their_verb_and_noun_ids():
    pairs = {(1, 0), (10, 3), (0, 2), (0, 10), (0, 1)}
    assert published_order(pairs) == ((0, 1), (0, 10), (0, 2), (10, 3), (1, 0))


def test_test_segments_have_no_labels(write):
    root = write("epic100")
    row = "P03_01_0,P03,P03_01,00:00:05.10,00:00:06.00"
    header = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp"
    (root / "EPIC_100_test_timestamps.csv").write_text(f"{header}\n{row}\n")
    test = read("epic100", root).tests["test"]
    assert (test.uids, test.column("start_s").tolist(), test.column("action_id").tolist()) == (
        ["P03_01_0"],
        [5.1],
        [-1],
    )
    assert not test.is_labelled


def test_a_rebuilt_training_file_says_so(write):
    root = write("epic100")
    train = root / "EPIC_100_train.csv"
    (root / "EPIC_100_train_rebuilt.csv").write_bytes(train.read_bytes())
    assert read("epic100", root).train.origin.endswith("EPIC_100_train.csv")
    train.unlink()
    assert "EPIC_100_train_rebuilt.csv (rebuilt, not official)" in read("epic100", root).train.origin
    with pytest.raises(AnnotationError, match=r"mine.csv: no such file"):
        load_epic100(root, train_name="mine.csv")


def test_epic55_segments_are_split_by_their_videos_and_named_by_their_classes(small):
    benchmark = small("epic55")
    assert (benchmark.train.uids, benchmark.validation.uids) == (["7", "9"], ["0"])
    assert benchmark.train.column("start_s").tolist() == [604.37, 1.0]
    assert benchmark.taxonomy.action_names == ("take pan", "turn-on tap")
    assert benchmark.train.column("action_id").tolist() == [1, 0]
    assert {name: table.uids for name, table in benchmark.tests.items()} == {"seen": ["1924"], "unseen": ["15582"]}
    assert not any(table.is_labelled for table in benchmark.tests.values())
    # An action is many-shot if its verb or its noun is.
    many = {field: ids.tolist() for field, ids in benchmark.many_shot_ids.items()}
    assert many == {"verb": [0], "noun": [2], "action": [0, 1]}


def test_egtea_clip_names_give_uid_video_participant_and_times(small):
    benchmark = small("egtea")
    assert benchmark.train.column("start_s").tolist() == [62.3, 1.0]
    assert benchmark.train.column("stop_s").tolist() == [64.6, 2.5]
    first = next(iter(benchmark.train))
    assert first.uid == "OP01-R01-PastaSalad-62300-64600-F001490-F001556"
    assert (first.video_id, first.participant_id) == ("OP01-R01-PastaSalad", "OP01")
    # An action with several nouns counts under the first; nouns are numbered as the list of actions brings them up.
    assert benchmark.taxonomy.action_names == ("Open fridge", "Spread bell_pepper", "Turn on faucet", "Open bread")
    assert benchmark.taxonomy.nouns == ("fridge", "bell_pepper", "faucet", "bread")


def test_both_releases_of_egtea_give_the_same_vocabulary_and_labels(small):
    ours, theirs = small("egtea"), small("rulstm-egtea")
    assert ours.taxonomy == theirs.taxonomy
    for name in ("participant_id", "video_id", "start_s", "verb_id", "noun_id", "action_id"):
        assert ours.train.column(name).tolist() == theirs.train.column(name).tolist()


def test_rulstm_ek55_numbers_lose_their_padding_and_actions_are_read_by_the_names_of_their_columns(small):
    benchmark = small("rulstm-ek55")
    assert (benchmark.train.uids, benchmark.train.video_ids) == (["330"], ["P01_02"])
    assert (benchmark.validation.uids, benchmark.tests["seen"].uids) == (["0"], ["1924"])
    assert benchmark.taxonomy.action_pairs == ((0, 2), (1, 0))
    assert benchmark.taxonomy.action_names == ("get pan", "turn-on tap")
    assert (benchmark.many_shot_verb_ids, benchmark.many_shot_noun_ids) == ({1}, {2})
    assert benchmark.tests["unseen"].column("action_id").tolist() == [-1]
    assert benchmark.train.column("start_s").tolist() == [152 / 30]


def test_rulstm_ek100_actions_name_their_verbs_and_nouns_and_uid_lists_become_subsets(small):
    benchmark = small("rulstm-ek100")
    taxonomy = benchmark.taxonomy
    assert taxonomy.action_pairs == ((0, 0), (0, 2), (1, 0))
    assert (taxonomy.verbs, taxonomy.nouns) == (("take", "turn-on"), ("tap:hot", "noun 1", "pan"))
    assert benchmark.unseen_participants == {"P02"}
    assert (benchmark.tail_verb_ids, benchmark.tail_noun_ids) == ({1}, {2})
    assert benchmark.subset_masks["tail"]["action"].tolist() == [True, False, True]


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in FILES.items() for file in files])
def test_a_missing_file_is_named(write, name, file, monkeypatch):
    root = write(name)
    # No real data set of this machine may stand in for what is missing.
    monkeypatch.setenv("SGEAR_DATA", str(root))
    (root / file).unlink()
    # The file by which a folder is known is missed there.
    with pytest.raises(AnnotationError, match=rf"{Path(file).name}: no such file|no {Path(file).name} in"):
        read(name, root)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_pickle_is_never_opened_and_the_csv_is_named(write, part):
    path = write("epic100") / f"EPIC_100_{part}.csv"
    path.rename(path.with_suffix(".pkl"))
    with pytest.raises(AnnotationError, match=rf"EPIC_100_{part}\.csv: no such file.*pickles are never opened"):
        read("epic100", path.parent)


WRONG = {
    "epic100": [
        (
            "EPIC_100_train.csv",
            "start_timestamp",
            "begin",
            r"train.csv, line 1: columns \['start_timestamp'\] are missing",
        ),
        ("EPIC_100_train.csv", "01:00:02.25", "01:00:62.25", r"train.csv, line 3: stop_timestamp is '01:00:62.25'"),
        ("EPIC_100_train.csv", "01:00:02.25", "00:59:00.00", r"train.csv: row 3, uid 'P01_01_1' ends before it starts"),
        (
            "EPIC_100_train.csv",
            ",0,1,x",
            ",0,7,x",
            r"train.csv, line 2: noun_class is '7', expected a whole number in 0..1",
        ),
        ("EPIC_100_train.csv", "P01_01_1", "P01_01_0", r"row 2, uid 'P01_01_0' repeats a uid"),
        ("EPIC_100_train.csv", ",0,1,x", ",0,1", r"train.csv, line 2: 7 fields, expected 8"),
        ("EPIC_100_verb_classes.csv", "1,turn-on", "2,turn-on", r"verb_classes.csv, line 3: id is '2'"),
        ("EPIC_100_tail_nouns.csv", "0", "9", r"tail_nouns.csv, line 2: noun is '9'"),
    ],
    "epic55": [
        ("rulstm/training_videos.csv", "P02_01\n", "", r"labels.csv: video P02_01 is in no part of the split"),
        ("rulstm/training_videos.csv", "P02_01", "P01_01", r"video P01_01 is in both parts of the split"),
        ("rulstm/training_videos.csv", "P02_01", "P01_02", r"training_videos.csv, line 1: id is 'P01_02'"),
        ("rulstm/actions.csv", "1, turn-on_tap,1,2", "1, turn-on_pan,1,1", r"line 3: verb 1 with noun 2 is no action"),
        ("rulstm/actions.csv", "1, turn", "2, turn", r"actions.csv, line 3: id is '2'"),
        ("rulstm/actions.csv", "1,2", "1,9", r"actions.csv, line 3: noun is '9', expected a whole number in 0..2"),
        ("annotations/EPIC_train_action_labels.csv", "\n7,", "\nx7,", r"line 3: uid is 'x7', expected a whole number"),
        ("annotations/EPIC_many_shot_verbs.csv", "0,", "2,", r"line 2: verb_class is '2'"),
    ],
    "egtea": [
        ("train_split1.txt", "-F001490", "", r"train_split1.txt, line 1: .* expected <video>-<start ms>"),
        ("train_split1.txt", " 3 2 4", " 3 2", r"train_split1.txt, line 1"),
        ("train_split1.txt", " 3 2 4", " 3 1 4", r"line 1: action 3 with verb 1 and noun 4 is not in action_idx.txt"),
        ("train_split1.txt", " 3 2 4", " 9 2 4", r"line 1: action 9 with"),
        ("train_split1.txt", "1000-2500", "2500-1000", r"row 2, .* ends before it starts"),
        ("train_split1.txt", "P02-R02", "P02 R02", r"train_split1.txt, line 2"),
        ("action_idx.txt", "Open bread 4", "Close bread 4", r"action 4 is 'Close bread'"),
        ("action_idx.txt", "Open bread 4", "Open bread 5", r"action_idx.txt, line 4: .* the id 4"),
        ("verb_idx.txt", "Turn on 2", "Turn on2", r"verb_idx.txt, line 2"),
    ],
    "rulstm-egtea": [
        ("training1.csv", ",1,2,2\n", ",1,2,1\n", r"line 1: action is '1', expected the id of its verb with its noun"),
        ("training1.csv", ",1,2,2\n", ",0,2,2\n", r"line 1: verb 0 with noun 2 is no action class"),
        ("training1.csv", "OP01-R01", "R", r"line 1: video is 'R-PastaSalad'"),
        ("training1.csv", "1869", "18.9", r"line 1: start_frame is '18.9'"),
        ("actions.csv", "0_3", "0_4", r"actions.csv: the class ids \[0, 1, 2, 4\] have gaps"),
        ("actions.csv", "0_3", "2_3", r"action 3 calls verb 2 'Open', an earlier one 'Spread'"),
        ("actions.csv", "Open_bread", "Open bread", r"line 4: name is 'Open bread'"),
        ("actions.csv", "3, 0_3", "4, 0_3", r"line 4: id is '4'"),
    ],
    "rulstm-ek100": [
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
}


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"), [(name, *case) for name, cases in WRONG.items() for case in cases]
)
def test_wrong_content_is_refused_with_file_and_line(write, name, file, old, new, message):
    path = write(name) / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(AnnotationError, match=message):
        read(name, path.parents[len(Path(file).parts) - 1])
