"""Data sets by name: what each says of itself, where files are looked for, and what is said when they are not there."""

import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from sgear.datasets import DatasetSpec, TextRules, corpus_of, dataset_names, dataset_spec, load_dataset
from sgear.errors import AnnotationError, ConfigError
from sgear.kitchen import KitchenConfig, make_world, write_annotations

NAMES = dataset_names()
EGTEA = {
    "verb_idx.txt": "Open 1\n",
    "noun_idx.txt": "fridge 1\n",
    "action_idx.txt": "Open fridge 1\n",
    "train_split2.txt": "P01-R01-Salad-1000-2000-F000024-F000048 1 1 1\n",
    "test_split2.txt": "P02-R01-Salad-3000-4000-F000072-F000096 1 1 1\n",
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SGEAR_DATA", str(tmp_path))
    return tmp_path


def write_egtea(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, text in EGTEA.items():
        (folder / name).write_text(text)


def test_files_are_found_under_the_data_folder(data: Path) -> None:
    write_egtea(data / "egtea" / "action_annotation")
    assert len(load_dataset("egtea", split=2).train) == 1


def test_the_next_place_is_tried_where_the_first_holds_no_files(data: Path) -> None:
    (data / "egtea" / "action_annotation").mkdir(parents=True)
    for name, text in EGTEA.items():
        (data / "egtea" / name).write_text(text)
    assert load_dataset("egtea", split=2).train.origin == str(data / "egtea" / "train_split2.txt")


@pytest.mark.parametrize("inner", ["", "action_annotation"])
def test_an_explicit_folder_is_the_annotations_or_the_one_above(tmp_path: Path, inner: str) -> None:
    write_egtea(tmp_path / "mine" / inner)
    assert len(load_dataset("egtea", tmp_path / "mine", split=2).validation) == 1


def test_an_explicit_folder_wins_over_the_data_folder(data: Path, tmp_path: Path) -> None:
    write_egtea(data / "egtea")
    with pytest.raises(AnnotationError, match=r"egtea: no action_idx.txt in .*elsewhere"):
        load_dataset("egtea", tmp_path / "elsewhere", split=2)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "csv"])
def test_a_missing_data_set_names_the_places_and_the_source(data: Path, name: str) -> None:
    message = rf"{name}: no \S+ in {data}.*Get the files from .*SGEAR_DATA.*--root .*dataset\.root="
    with pytest.raises(AnnotationError, match=message):
        load_dataset(name)


def test_without_the_variable_the_folder_data_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGEAR_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    write_egtea(tmp_path / "data" / "egtea")
    assert len(load_dataset("egtea", split=2).train) == 1


def test_own_files_have_no_usual_place(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"'csv' has no usual place; name its folder with dataset\.root=FOLDER"):
        load_dataset("csv")


@pytest.mark.parametrize("inner", ["", "annotations"])
def test_a_kitchen_is_found_by_its_folder_or_its_annotations(tmp_path: Path, inner: str) -> None:
    world = make_world(KitchenConfig(num_train_videos=2, num_validation_videos=2))
    write_annotations(world, tmp_path / "annotations")
    benchmark = load_dataset("kitchen", tmp_path / inner)
    assert benchmark.name == "kitchen"
    assert len(benchmark.train.video_ids) == 2


@pytest.mark.parametrize(
    ("name", "split", "granularity", "message"),
    [
        ("epic", 1, "mid", r"data set 'epic' is unknown; choose kitchen, epic100"),
        ("epic100", 2, "mid", r"epic100 has the split 1 only, got split 2"),
        ("egtea", 0, "mid", r"egtea has the splits 1 to 3, got split 0"),
        ("salads50", 6, "mid", r"salads50 has the splits 1 to 5, got split 6"),
        ("salads50-avt", 1, "low", r"granularity='low' has no effect on salads50-avt"),
        ("epic55", 1, "low", r"granularity='low' has no effect on epic55"),
        ("salads50", 1, "fine", r"granularity must be one of low, mid, eval, abstract, got 'fine'"),
    ],
)
def test_settings_that_a_data_set_does_not_have_are_refused(
    data: Path, name: str, split: int, granularity: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataset(name, split=split, granularity=granularity)


def test_the_split_of_epic55_is_asked_for(data: Path) -> None:
    folder = data / "epic55" / "annotations"
    folder.mkdir(parents=True)
    (folder / "EPIC_verb_classes.csv").write_text("verb_id,class_key\n0,take\n")
    with pytest.raises(
        AnnotationError, match=r"the split of epic55: no training_videos.csv in .*rulstm/ek55.*fpv-iplab"
    ):
        load_dataset("epic55")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("epic100", (67217, 9668)),
        ("epic55", (23493, 4979)),
        ("egtea", (8299, 2022)),
        ("rulstm-ek55", (23493, 4979)),
        ("rulstm-ek100", (67217, 9668)),
        ("rulstm-egtea", (8299, 2022)),
    ],
)
def test_real_data_sets_load_by_name(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, sizes: tuple[int, int]
) -> None:
    monkeypatch.setenv("SGEAR_DATA", str(real_data))
    benchmark = load_dataset(name)
    assert (len(benchmark.train), len(benchmark.validation)) == sizes


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "granularity", "num_classes"),
    [("salads50", "low", 51), ("salads50", "mid", 17), ("salads50", "eval", 9), ("salads50-avt", "mid", 19)],
)
def test_real_50_salads_loads_at_each_level_on_the_clock_of_the_video(
    salads: Path, monkeypatch: pytest.MonkeyPatch, name: str, granularity: str, num_classes: int
) -> None:
    monkeypatch.setenv("SGEAR_DATA", str(salads))
    benchmark = load_dataset(name, split=5, granularity=granularity)
    assert benchmark.taxonomy.num_actions == num_classes
    first = benchmark.train.of_video("rgb-01-1").column("start_s")[0]
    assert first == pytest.approx(20.13, abs=0.01)


def test_each_data_set_says_how_models_are_ranked_and_how_its_names_are_written() -> None:
    known = {name: (spec.headline, spec.usual_tau_a_s, spec.corpus) for name in NAMES for spec in [dataset_spec(name)]}
    assert known == {
        "kitchen": ("recall5", 1.0, None),
        "epic100": ("recall5", 1.0, "epic-kitchens"),
        "epic55": ("top5", 1.0, "epic-kitchens"),
        "csv": ("recall5", 1.0, None),
        "egtea": ("class_mean_top1", 0.5, "egtea"),
        "rulstm-ek55": ("top5", 1.0, "epic-kitchens"),
        "rulstm-ek100": ("recall5", 1.0, "epic-kitchens"),
        "rulstm-egtea": ("class_mean_top1", 0.5, "egtea"),
        "salads50": ("top1", 1.0, "50salads"),
        "salads50-avt": ("top1", 1.0, "50salads"),
        "salads50-tcn": ("recall5", 1.0, "50salads"),
    }
    for name in NAMES:
        is_epic, is_salads = corpus_of(name) == "epic-kitchens", corpus_of(name) == "50salads"
        assert dataset_spec(name).text_rules == TextRules(head_first=is_epic, drops_phases=is_salads)
    assert corpus_of("never-installed") is None


def test_what_a_data_set_must_say_has_no_default() -> None:
    required = {each.name for each in fields(DatasetSpec) if each.default is each.default_factory is MISSING}
    assert required == {"name", "load", "places", "corpus", "whole_videos", "text_rules", "headline"}
    with pytest.raises(TypeError, match=r"missing.*'corpus'"):
        DatasetSpec(name="new", load=lambda *_: None, places=dataset_spec("epic100").places)  # type: ignore[call-arg]


def test_a_data_set_is_imported_without_the_others() -> None:
    code = "import sys; from sgear.datasets import dataset_spec; dataset_spec('epic100'); print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = [name for name in loaded if name.startswith("sgear")]
    assert not [name for name in ours if name.startswith(("sgear.kitchen", "sgear.features", "sgear.datasets.sal"))]
    assert len(ours) < 20
