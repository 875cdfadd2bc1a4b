"""Lengths of videos, and the rate at which their published images were numbered."""

import numpy as np
import pytest

from sgear.datasets import numbering_rates, read_video_info
from sgear.datasets.csv_table import read_csv
from sgear.errors import AnnotationError

HEAD = "video_id,duration,fps,resolution\n"


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "num_videos", "total_h"),
    [("epic-kitchens-100-annotations", 700, 100.03), ("epic-kitchens-55-annotations", 432, 54.35)],
)
def test_the_official_files_are_read(real_data, folder, num_videos, total_h):
    info = read_video_info(real_data / folder)
    assert len(info) == num_videos
    assert sum(video.duration_s for video in info.values()) / 3600 == pytest.approx(total_h, abs=0.01)
    assert info["P01_01"].fps == pytest.approx(59.94, abs=1e-3)


@pytest.mark.data
def test_published_images_are_numbered_as_the_frame_numbers_of_the_annotations(real_data):
    folder = real_data / "epic-kitchens-100-annotations"
    table = read_csv(folder / "EPIC_100_validation.csv", ["video_id", "start_timestamp", "start_frame"])
    video_ids = table.frame["video_id"].to_list()
    rates = numbering_rates("epic100", video_ids, read_video_info(folder))
    expected = table.timestamps("start_timestamp").to_numpy() * [rates[video_id] for video_id in video_ids]
    assert np.abs(expected - table.integers("start_frame").to_numpy()).max() <= 1


def test_the_rate_of_the_camera_does_not_number_the_images_of_epic_kitchens(tmp_path):
    rows = "P09_08,126.46,29.97,1920x1080\nP01_101,10,59.94,1920x1080\nother,5,24,64x64\n"
    (tmp_path / "EPIC_100_video_info.csv").write_text(HEAD + rows)
    rates = numbering_rates("epic100", ["P09_08", "P01_101", "other"], read_video_info(tmp_path))
    assert rates == {"P09_08": 60.0, "P01_101": 50.0, "other": 24.0}


def test_images_of_another_data_set_are_numbered_at_the_rate_of_its_csv(tmp_path):
    (tmp_path / "EPIC_100_video_info.csv").write_text(f"{HEAD}P01_01,10,12,64x64\n")
    assert numbering_rates("kitchen", ["P01_01", "P01_02"], read_video_info(tmp_path)) == {"P01_01": 12.0}


def test_a_folder_without_the_csv_says_nothing(tmp_path):
    assert read_video_info(tmp_path) == {}


@pytest.mark.parametrize(
    "rows", ["P01_01,0,60,1x1\n", "P01_01,10,-60,1x1\n", "P01_01,1,60,1x1\n" * 2, "P01_01,x,60,1\n"]
)
def test_a_damaged_csv_is_refused(tmp_path, rows):
    (tmp_path / "EPIC_100_video_info.csv").write_text(HEAD + rows)
    with pytest.raises(AnnotationError, match=r"EPIC_100_video_info\.csv"):
        read_video_info(tmp_path)
