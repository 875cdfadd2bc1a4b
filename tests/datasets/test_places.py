"""The tree of the original README is found as it stands, under SGEAR_DATA or a data set's own folder."""

from pathlib import Path

import pytest

from sgear.datasets import annotation_folder, dataset_folder, feature_places, video_places
from sgear.errors import ConfigError
from sgear.features.opening import find_features
from sgear.video.find import find_videos

VIDEOS = [
    ("epic100", "videos/EpicKitchens/videos_ht256px/train/P01/P01_01.MP4"),
    ("epic100", "videos/EpicKitchens/videos_ht256px/test/P01/P01_11.MP4"),
    ("epic100", "videos/EpicKitchens100/videos_extension_ht256px/P01/P01_101.MP4"),
    ("epic55", "videos/EpicKitchens/videos_ht256px/train/P01/P01_01.MP4"),
    ("epic55", "videos/EpicKitchens/videos_ht256px/test/P01/P01_11.MP4"),
    ("egtea", "videos/EGTEA/101020/videos/OP01-R01-PastaSalad.mp4"),
    ("salads50", "videos/50Salads/rgb/rgb-01-1.avi"),
    ("salads50-avt", "videos/50Salads/rgb/rgb-01-1.avi"),
]
FEATURES = [
    *[("epic100", f"external/rulstm/RULSTM/ek100_data_full/{name}") for name in ("rgb", "flow", "obj")],
    ("epic100", "extracted_features/ek100/igm"),
    *[("epic55", f"external/rulstm/RULSTM/data_full/{name}") for name in ("rgb", "flow", "obj")],
    ("epic55", "extracted_features/ek55/igm"),
    ("epic100", "epic100/features/rgb"),
    ("egtea", "egtea/features/rgb"),
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SGEAR_DATA", str(tmp_path / "DATA"))
    return tmp_path / "DATA"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(("name", "place"), VIDEOS)
def test_videos_of_the_original_tree_are_found_also_in_a_given_folder(data, tmp_path, name, place):
    video = put(data / place)
    assert find_videos([video.stem], video_places(name)) == {video.stem: video}
    given = put(tmp_path / "given" / place)
    assert find_videos([given.stem], video_places(name, str(tmp_path / "given"))) == {given.stem: given}


@pytest.mark.parametrize("name", ["kitchen", "epic100", "epic55", "egtea", "salads50", "csv"])
def test_videos_in_the_folder_of_a_data_set_come_before_those_of_the_tree(data, name):
    own = put(dataset_folder(name) / "videos" / "deep" / "v.mp4")
    for place in {place for of, place in VIDEOS if of == name}:
        put((data / place).with_name("v.mp4"))
    assert find_videos(["v"], video_places(name)) == {"v": own}


@pytest.mark.parametrize(("name", "place"), FEATURES)
def test_features_of_the_original_tree_are_found(data, name, place):
    path = data / place
    put(path / "data.mdb")
    assert find_features(path.name, feature_places(name)) == path


def test_a_folder_of_50_salads_is_named_after_its_number(data):
    names = ("salads50", "salads50-avt", "salads50-tcn")
    assert {dataset_folder(name) for name in names} == {data / "50salads"}


@pytest.mark.parametrize("places", [video_places, feature_places])
def test_no_place_is_searched_twice(data, places):
    for name in ("epic100", "epic55", "egtea", "salads50", "kitchen"):
        found = places(name, str(data))
        assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["ek55", "ek100", "egtea"])
def test_the_csv_files_of_rulstm_are_found_in_its_repository(data, name):
    file = put(data / "external" / "rulstm" / "RULSTM" / "data" / name / "actions.csv")
    assert annotation_folder(f"rulstm-{name}") == file.parent


def test_own_data_have_annotations_in_their_folder_alone(tmp_path):
    assert annotation_folder("csv", tmp_path) == tmp_path
    with pytest.raises(ConfigError, match=r"'csv' has no usual place; name its folder with dataset\.root"):
        annotation_folder("csv")
