"""Videos are found by name, in roots searched in order, as video files, folders of images and tar files of them."""

import io
import os
import tarfile
import unicodedata
from pathlib import Path

import pytest

from sgear.errors import VideoError
from sgear.video import find
from sgear.video.find import PassedOver, find_videos, is_frame_folder, list_videos, needs_rate, scan_videos

_SCANDIR = os.scandir


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def images(folder: Path, num: int = 3) -> Path:
    for number in range(1, num + 1):
        touch(folder / f"frame_{number:010d}.jpg")
    return folder


def tar_of(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


ENDINGS = (
    *(".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".ts", ".mts"),
    *(".m2ts", ".mpg", ".mpeg", ".vob", ".wmv", ".flv", ".3gp", ".tar"),
)


@pytest.mark.parametrize("name", [*(f"v{ending}" for ending in ENDINGS), "v.MP4", "v.Mkv", "v.MTS", "v.TAR"])
def test_a_video_is_found_at_any_depth_whatever_the_case_of_its_ending(tmp_path, name):
    video = touch(tmp_path / "a" / "b" / name)
    assert find_videos(["v"], [tmp_path]) == {"v": video}
    assert needs_rate(video) == name.lower().endswith(".tar")


def test_a_folder_of_numbered_images_is_a_video_of_its_name(tmp_path):
    video = images(tmp_path / "P01" / "rgb_frames" / "P01_01")
    assert find_videos(["P01_01"], [tmp_path]) == {"P01_01": video}
    assert needs_rate(video)


def test_the_first_root_that_holds_a_video_wins(tmp_path):
    for root in ("one", "two"):
        touch(tmp_path / root / "a.mp4")
    only = touch(tmp_path / "two" / "b.mp4")
    roots = [tmp_path / "one", tmp_path / "two"]
    assert find_videos(["a", "b"], roots) == {"a": roots[0] / "a.mp4", "b": only}
    assert find_videos(["a", "b"], roots[::-1]) == {"a": roots[1] / "a.mp4", "b": only}


def test_videos_come_in_the_order_they_were_asked_for(tmp_path):
    for name in "abc":
        touch(tmp_path / f"{name}.mp4")
    assert list(find_videos(["c", "a", "b"], [tmp_path])) == ["c", "a", "b"]


@pytest.mark.parametrize("other", ["deep/v.avi", "v.tar", "deep/v/frame_1.jpg"])
def test_two_videos_of_one_id_under_one_root_are_refused_by_name(tmp_path, other):
    touch(tmp_path / "v.mp4")
    found = touch(tmp_path / other)
    with pytest.raises(VideoError, match="both of video 'v'") as error:
        find_videos(["v"], [tmp_path], remedy="set the roots")
    second = found.parent if found.suffix == ".jpg" else found
    assert str(tmp_path / "v.mp4") in str(error.value)
    assert str(second) in str(error.value)
    assert "set the roots" in str(error.value)


def test_a_second_video_of_an_id_that_is_not_asked_for_does_not_matter(tmp_path):
    for name in ("v.mp4", "w.mp4", "deep/w.mp4"):
        touch(tmp_path / name)
    assert list(find_videos(["v"], [tmp_path])) == ["v"]


def test_a_second_video_under_a_later_root_does_not_matter(tmp_path):
    first = touch(tmp_path / "one" / "v.mp4")
    for name in ("v.mp4", "deep/v.mp4"):
        touch(tmp_path / "two" / name)
    assert find_videos(["v"], [tmp_path / "one", tmp_path / "two"]) == {"v": first}


def test_linked_folders_are_followed_and_links_to_one_file_count_once(tmp_path):
    video = touch(tmp_path / "disk" / "v.mp4")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "disk")
    (tmp_path / "root" / "v.mp4").symlink_to(video)
    assert find_videos(["v"], [tmp_path / "root"])["v"].resolve() == video


def test_a_folder_that_is_linked_into_itself_ends_the_search(tmp_path):
    touch(tmp_path / "v.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list(scan_videos(tmp_path)) == ["v"]


def test_flow_hidden_and_unfinished_files_are_no_videos(tmp_path):
    video = images(tmp_path / "P01" / "rgb_frames" / "P01_01")
    images(tmp_path / "P01" / "flow_frames" / "P01_01")
    touch(tmp_path / ".P01_01.mp4")
    touch(tmp_path / ".trash" / "P01_01.mp4")
    assert find_videos(["P01_01"], [tmp_path]) == {"P01_01": video}


def test_stills_beside_the_videos_are_no_frames(tmp_path):
    for person in ("P01", "P02"):
        touch(tmp_path / "videos" / f"{person}_01.jpg")
    video = touch(tmp_path / "videos" / "P01" / "P01_01.mp4")
    assert scan_videos(tmp_path) == {"P01_01": [video]}


def test_missing_videos_are_counted_and_named_with_all_roots_and_the_remedy(tmp_path):
    touch(tmp_path / "one" / "v0.mp4")
    roots = [tmp_path / "one", tmp_path / "none"]
    with pytest.raises(VideoError) as error:
        find_videos([f"v{number}" for number in range(9)], roots, remedy="set dataset.video_roots")
    text = str(error.value)
    assert text.startswith("8 of 9 annotated videos are missing: 'v1', 'v2', 'v3', 'v4', 'v5' and 3 more.")
    assert text.endswith(f"Searched, in this order:\n  {roots[0]}\n  {roots[1]} (no such folder)")
    assert "set dataset.video_roots" in text


def test_what_helps_where_some_videos_are_there_is_not_offered_where_all_are_missing(tmp_path):
    touch(tmp_path / "v0.mp4")
    with pytest.raises(VideoError, match="or skip them"):
        find_videos(["v0", "v1"], [tmp_path], remedy_for_some="skip them")
    with pytest.raises(VideoError) as error:
        find_videos(["v1", "v2"], [tmp_path], remedy_for_some="skip them")
    assert "skip them" not in str(error.value)


def test_case_of_an_id_counts(tmp_path):
    touch(tmp_path / "p01_01.mp4")
    with pytest.raises(VideoError, match="missing: 'P01_01'"):
        find_videos(["P01_01"], [tmp_path])


def test_images_that_are_links_are_not_followed_one_by_one(tmp_path, monkeypatch):
    video = tmp_path / "video"
    video.mkdir()
    for image in images(tmp_path / ".disk", 300).iterdir():
        (video / image.name).symlink_to(image)
    follow, followed = find._leads_to_folder, []
    monkeypatch.setattr(find, "_leads_to_folder", lambda entry: followed.append(entry) or follow(entry))
    assert find_videos(["video"], [tmp_path]) == {"video": video}
    assert 0 < len(followed) < 50


class Sorted:
    """A listing in the order of names, which that of a disk need not be."""

    def __init__(self, path):
        with _SCANDIR(path) as entries:
            self.entries = sorted(entries, key=lambda entry: entry.name)

    def __enter__(self):
        return iter(self.entries)

    def __exit__(self, *error):
        return None


@pytest.mark.parametrize("name", ["z/P01_01.mp4", "z.MP4", "z.tar"])
def test_many_stills_before_a_video_do_not_hide_it(tmp_path, monkeypatch, name):
    folder = images(tmp_path / "videos", 200)
    video = touch(folder / name)
    monkeypatch.setattr(os, "scandir", Sorted)
    assert find_videos([video.stem], [tmp_path]) == {video.stem: video}
    assert list_videos([folder]) == {video.stem: video}
    assert list(scan_videos(tmp_path)) == [video.stem]


def _denied(path):
    raise PermissionError(13, "Permission denied", str(path))


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "v.mp4")
    closed = tmp_path / "closed"
    closed.mkdir()
    monkeypatch.setattr(os, "scandir", lambda path: _denied(path) if Path(path) == closed else _SCANDIR(path))
    for search in (scan_videos, is_frame_folder):
        with pytest.raises(VideoError, match=rf"{closed}: cannot be looked into \(Permission denied\)"):
            search(tmp_path if search is scan_videos else closed)


def test_the_lost_and_found_of_a_disk_is_passed_over(tmp_path, monkeypatch):
    video = touch(tmp_path / "v.mp4")
    lost = tmp_path / "lost+found"
    lost.mkdir()
    monkeypatch.setattr(os, "scandir", lambda path: _denied(path) if Path(path) == lost else _SCANDIR(path))
    assert scan_videos(tmp_path) == {"v": [video]}


def test_a_path_below_a_closed_folder_is_a_video_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_dir", _denied)
    for ask in (scan_videos, needs_rate, lambda path: list_videos([path]), lambda path: find_videos(["v"], [path])):
        with pytest.raises(VideoError, match="cannot be looked into"):
            ask(tmp_path / "video")


def test_a_video_that_is_a_link_to_itself_is_found_beside_another_one(tmp_path):
    video = touch(tmp_path / "v.avi")
    loop = tmp_path / "v.mp4"
    for link in (loop, tmp_path / "loop"):
        link.symlink_to(link)
    assert scan_videos(tmp_path) == {"v": [video, loop]}


def test_videos_are_listed_from_folders_and_by_name(tmp_path):
    named = touch(tmp_path / "x.mp4")
    inside = touch(tmp_path / "folder" / "P01" / "y.MP4")
    frames = images(tmp_path / "z")
    archive = tar_of(tmp_path / "folder" / "w.tar", "./frame_0000000001.jpg")
    tar_of(tmp_path / "folder" / "annotations.tar", "readme.txt")
    found = list_videos([named, tmp_path / "folder", frames])
    assert found == {"x": named, "w": archive, "y": inside, "z": frames}


def test_places_that_cannot_be_listed_are_an_error(tmp_path):
    for name in ("a/x.mp4", "b/x.avi"):
        touch(tmp_path / name)
    with pytest.raises(VideoError, match="both of video 'x'; give only one"):
        list_videos([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="no videos"):
        list_videos([tmp_path / "empty"])
    with pytest.raises(VideoError, match="no such video or folder"):
        list_videos([tmp_path / "none"])


def test_a_scan_counts_what_it_passes_over_by_ending_and_counts_no_image_of_a_video(tmp_path):
    for name in ("a.mp4", "b.LRV", "c.LRV", "notes.txt", "README", "sub/d.txt", ".hidden"):
        touch(tmp_path / name)
    images(tmp_path / "video", 40)
    # Stills beside a video are no frames of one.
    images(tmp_path / "stills", 40)
    touch(tmp_path / "stills" / "zz.mp4")
    passed_over = PassedOver()
    assert set(scan_videos(tmp_path, passed_over=passed_over)) == {"a", "video", "zz"}
    assert passed_over.endings == {".LRV": 2, ".txt": 2, "": 1, ".jpg": 40}
    assert (str(PassedOver()), str(PassedOver(num_image_videos=1))) == ("", "1 video made of images")
    assert str(passed_over) == "45 files (.jpg 40, .LRV 2, .txt 2, without ending 1)"


@pytest.mark.parametrize(("asked", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("kind", ["file", "folder", "tar"])
def test_a_name_is_found_however_its_accents_are_spelled(tmp_path, asked, stored, kind):
    asked, stored = (unicodedata.normalize(form, "pré_01") for form in (asked, stored))
    make = {
        "file": lambda: touch(tmp_path / f"{stored}.mp4"),
        "folder": lambda: images(tmp_path / stored),
        "tar": lambda: tar_of(tmp_path / f"{stored}.tar", "frame_1.jpg"),
    }
    video = make[kind]()
    assert find_videos([asked], [tmp_path]) == {asked: video}
    assert scan_videos(tmp_path, [asked]) == {asked: [video]}
    assert list_videos([tmp_path]) == {unicodedata.normalize("NFC", "pré_01"): video}


@pytest.mark.parametrize("stored", ["my\u00a0cup_01", "my \u200bcup_01", " my cup_01"])
def test_a_name_with_characters_that_cannot_be_seen_is_found_as_a_csv_spells_it(tmp_path, stored):
    video = touch(tmp_path / f"{stored}.mp4")
    assert find_videos(["my cup_01"], [tmp_path]) == {"my cup_01": video}
    assert find_videos([stored], [tmp_path]) == {stored: video}


def test_two_spellings_of_one_name_are_two_videos_of_one_video(tmp_path):
    for form in ("NFC", "NFD"):
        touch(tmp_path / f"{unicodedata.normalize(form, 'pré')}.mp4")
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this file system takes both for one name")
    with pytest.raises(VideoError, match="are both of video"):
        find_videos(["pré"], [tmp_path])
