"""The loaders of EGTEA Gaze+: official clip lists and RULSTM's files agree."""

from pathlib import Path

import numpy as np
import pytest

from sgear.datasets import Benchmark
from sgear.datasets.egtea import load_egtea
from sgear.datasets.rulstm import load_rulstm_egtea
from sgear.errors import AnnotationError

OFFICIAL = {
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
RULSTM = {
    "actions.csv": "0, 0_0, Open_fridge\n1, 2_1, Spread_bell:pepper\n2, 1_2, Turn on_faucet\n3, 0_3, Open_bread\n",
    "training1.csv": "7,OP01-R01-PastaSalad,1869,1938,1,2,2\n2,P02-R02-TurkeySandwich,30,75,2,1,1\n",
    "validation1.csv": "19,P03-R01-PastaSalad,285,300,0,3,3\n",
}
SIZES = {1: (8299, 2022), 2: (8299, 2022), 3: (8300, 2021)}


@pytest.fixture
def official(tmp_path: Path) -> Path:
    for name, text in OFFICIAL.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def rulstm(tmp_path: Path) -> Path:
    for name, text in RULSTM.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_times_are_the_milliseconds_of_the_clip_name(official: Path) -> None:
    train = load_egtea(official, split=1).train
    assert train.column("start_s").tolist() == [62.3, 1.0]
    assert train.column("stop_s").tolist() == [64.6, 2.5]


def test_the_clip_name_gives_uid_video_and_participant(official: Path) -> None:
    first = next(iter(load_egtea(official, split=1).train))
    assert first.uid == "OP01-R01-PastaSalad-62300-64600-F001490-F001556"
    assert (first.video_id, first.participant_id) == ("OP01-R01-PastaSalad", "OP01")


def test_an_action_with_several_nouns_counts_under_the_first(official: Path) -> None:
    taxonomy = load_egtea(official, split=1).taxonomy
    assert taxonomy.action_names == ("Open fridge", "Spread bell_pepper", "Turn on faucet", "Open bread")
    # Nouns are numbered as the list of actions brings them up first.
    assert taxonomy.nouns == ("fridge", "bell_pepper", "faucet", "bread")


def test_both_loaders_give_the_same_vocabulary_and_labels(official: Path, rulstm: Path) -> None:
    ours, theirs = load_egtea(official, split=1), load_rulstm_egtea(rulstm, split=1)
    assert ours.taxonomy == theirs.taxonomy
    for name in ("participant_id", "video_id", "start_s", "verb_id", "noun_id", "action_id"):
        assert ours.train.column(name).tolist() == theirs.train.column(name).tolist()


@pytest.mark.parametrize("name", list(OFFICIAL))
def test_missing_official_file_is_named(official: Path, name: str) -> None:
    (official / name).unlink()
    with pytest.raises(AnnotationError, match=f"{name}: no such file"):
        load_egtea(official, split=1)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
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
)
def test_wrong_official_lines_are_refused(official: Path, name: str, old: str, new: str, message: str) -> None:
    replace_text(official / name, old, new)
    with pytest.raises(AnnotationError, match=message):
        load_egtea(official, split=1)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("training1.csv", ",1,2,2\n", ",1,2,1\n", r"line 1: action is '1', expected the id of its verb with its noun"),
        ("training1.csv", ",1,2,2\n", ",0,2,2\n", r"line 1: verb 0 with noun 2 is no action class"),
        ("training1.csv", "OP01-R01", "R", r"line 1: video is 'R-PastaSalad'"),
        ("training1.csv", "1869", "18.9", r"line 1: start_frame is '18.9'"),
        ("actions.csv", "0_3", "0_4", r"actions.csv: the class ids \[0, 1, 2, 4\] have gaps"),
        ("actions.csv", "0_3", "2_3", r"action 3 calls verb 2 'Open', an earlier one 'Spread'"),
        ("actions.csv", "Open_bread", "Open bread", r"line 4: name is 'Open bread'"),
        ("actions.csv", "3, 0_3", "4, 0_3", r"line 4: id is '4'"),
    ],
)
def test_wrong_rulstm_lines_are_refused(rulstm: Path, name: str, old: str, new: str, message: str) -> None:
    replace_text(rulstm / name, old, new)
    with pytest.raises(AnnotationError, match=message):
        load_rulstm_egtea(rulstm, split=1)


def load_both(real_data: Path, split: int) -> tuple[Benchmark, Benchmark]:
    official = load_egtea(real_data / "egtea", split=split)
    return official, load_rulstm_egtea(real_data / "rulstm" / "egtea", split=split)


@pytest.mark.data
@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_splits_have_the_published_sizes(real_data: Path, split: int) -> None:
    for benchmark in load_both(real_data, split):
        assert (len(benchmark.train), len(benchmark.validation)) == SIZES[split]
        assert benchmark.taxonomy.num_actions == 106
        assert len(set(benchmark.train.uids) | set(benchmark.validation.uids)) == sum(SIZES[split])


@pytest.mark.data
@pytest.mark.parametrize("split", [1, 2, 3])
def test_real_files_of_both_releases_agree_to_a_frame(real_data: Path, split: int) -> None:
    official, rulstm = load_both(real_data, split)
    assert official.taxonomy == rulstm.taxonomy
    for part in ("train", "validation"):
        # Two pairs of clips of one action begin in the same frame, so each end is sorted for itself.
        for time in ("start_s", "stop_s"):
            keys = ["video_id", "action_id", time]
            ours, theirs = (getattr(each, part).frame.sort(keys) for each in (official, rulstm))
            assert ours.select(keys[:2]).equals(theirs.select(keys[:2]))
            early_s = ours[time].to_numpy() - theirs[time].to_numpy()
            assert early_s.min() > -1e-9
            assert early_s.max() < 1 / 30 + 1e-9


@pytest.mark.data
def test_real_videos_are_of_32_participants(real_data: Path) -> None:
    official, _ = load_both(real_data, 1)
    both = np.concatenate([official.train.column("participant_id"), official.validation.column("participant_id")])
    assert len(np.unique(both.astype(str))) == 32
