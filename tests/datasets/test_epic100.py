"""The loader of the official EPIC-KITCHENS-100 files."""

import os
from pathlib import Path

import numpy as np
import pytest

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.epic100 import load_epic100
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


def real_annotations() -> Path:
    root = Path(os.environ.get("SGEAR_DATA") or Path(__file__).parents[3] / "shared" / "data")
    folder = root / "epic-kitchens-100-annotations"
    if not folder.is_dir():
        pytest.skip(f"the EPIC-KITCHENS-100 annotations are not in {folder}; set SGEAR_DATA to their parent folder")
    return folder


def load_real() -> Benchmark:
    folder = real_annotations()
    names = [name for name in ("EPIC_100_train.csv", "EPIC_100_train_rebuilt.csv") if (folder / name).is_file()]
    if not names:
        pytest.skip(f"{folder} holds no training file")
    return load_epic100(folder, train_name=names[0])


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
    with pytest.raises(AnnotationError, match=f"EPIC_100_{name}.csv is missing"):
        load_epic100(annotations)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("train", "start_timestamp", "begin", r"train.csv: columns \['start_timestamp'\] are missing"),
        ("train", "01:00:02.25", "01:00:62.25", r"train.csv: row 3: stop_timestamp is '01:00:62.25'"),
        ("train", "01:00:02.25", "", r"train.csv: row 3: stop_timestamp is None"),
        ("train", "01:00:02.25", "00:59:00.00", r"train.csv: row 3, uid 'P01_01_1' ends before it starts"),
        ("train", ",0,1,x", ",0,7,x", r"train.csv: row 2: noun_class is '7', expected a class in 0..1"),
        ("train", ",0,1,x", ",take,1,x", r"train.csv: row 2: verb_class is 'take'"),
        ("train", "P01_01_1", "P01_01_0", r"row 2, uid 'P01_01_0' repeats a uid"),
        ("verb_classes", "1,turn-on", "2,turn-on", r"verb_classes.csv: row 3: id is '2'"),
        ("tail_nouns", "0", "9", r"tail_nouns.csv: row 2: noun is '9'"),
    ],
)
def test_wrong_content_is_refused_with_file_and_row(
    annotations: Path, name: str, old: str, new: str, message: str
) -> None:
    path = annotations / f"EPIC_100_{name}.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(AnnotationError, match=message):
        load_epic100(annotations)


@pytest.mark.data
def test_official_files_have_the_published_sizes() -> None:
    benchmark = load_real()
    assert (len(benchmark.train), len(benchmark.validation)) == (67217, 9668)
    taxonomy = benchmark.taxonomy
    assert (len(taxonomy.verbs), len(taxonomy.nouns), taxonomy.num_actions) == (97, 300, 3806)
    assert benchmark.unseen_participants == {"P18", "P32"}


@pytest.mark.data
def test_official_action_ids_agree_with_their_verbs_and_nouns() -> None:
    validation = load_real().validation
    actions = validation.column("action_id")
    np.testing.assert_array_equal(validation.taxonomy.verb_of_action[actions], validation.column("verb_id"))
    np.testing.assert_array_equal(validation.taxonomy.noun_of_action[actions], validation.column("noun_id"))
