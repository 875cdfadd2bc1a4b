"""Own csv files as people have them: of other formats, of spreadsheets, in any Unicode form, longer than videos."""

import json
import subprocess
import time
import unicodedata
from pathlib import Path

import pytest
from test_own import HEADER, ROWS, found, make_video, only, write

from sgear.datasets.own import check_own, import_own, load_own
from sgear.errors import AnnotationError, ConfigError

# --- formats of others ---------------------------------------------------------------------------------------------


def test_the_header_of_epic_is_named_with_its_renames(real_data, tmp_path):
    case = real_data / "cases" / "11_epic_header_ego4d_json" / "15_epic_header.csv"
    own_file = next((real_data / "epic-kitchens-100-annotations").glob("EPIC_100_validation.csv"))
    for path in (case, own_file):
        text = only(check_own(path), "error")
        assert "columns 'video', 'start', 'stop' are missing. Rename video_id to video, start_timestamp" in text
        assert "header of EPIC-KITCHENS" in text
    text = case.read_text()
    for theirs, ours in (("video_id", "video"), ("start_timestamp", "start"), ("stop_timestamp", "stop")):
        text = text.replace(theirs, ours, 1)
    (tmp_path / "renamed.csv").write_text(text)
    assert [each for each in found(check_own(tmp_path / "renamed.csv"), "error") if "all rows belong" not in each] == []


def test_other_annotations_are_named_with_what_to_do(real_data, tmp_path):
    cases = real_data / "cases" / "11_epic_header_ego4d_json"
    egtea = next((real_data / "egtea").rglob("train_split1.txt"))
    rulstm = next((real_data / "rulstm").rglob("ek55/training.csv"))
    (tmp_path / "other.json").write_text('[{"video": "a", "start": 1}]')
    for path, words in [
        (cases / "16_mmaction.txt", "a list of mmaction2.*a row for each action of a whole video"),
        (
            cases / "17_ego4d.json",
            "JSON of Ego4D's long-term anticipation.*clip_uid as video, action_clip_start_sec",
        ),
        (tmp_path / "other.json", r"is JSON, expected csv\. Write a csv with the columns video,start,stop"),
        (egtea, "a list of EGTEA.*data set egtea"),
        (rulstm, "a csv of RULSTM.*data set rulstm-ek100 or rulstm-ek55"),
    ]:
        with pytest.raises(AnnotationError, match=words):
            check_own(path)


def test_renames_say_what_is_missing_beside_them(tmp_path):
    path = write(tmp_path / "own.csv", header="id,who,video_id,split,start_sec,end_sec,action,thing")
    text = only(check_own(path), "error")
    assert "Rename video_id to video, start_sec to start, end_sec to stop, and add verb, noun." in text


def test_rows_without_a_value_are_skipped(real_data, tmp_path):
    case = real_data / "cases" / "09_excel_blank_rows" / "04_excel_blank_rows.csv"
    assert check_own(case).is_accepted
    blank = ["," * 7, *ROWS[:3], " , ,,,,,,", *ROWS[3:], "," * 7]
    assert check_own(write(tmp_path / "own.csv", blank)).problems == ()
    assert "line 3" in only(check_own(write(tmp_path / "own.csv", ["," * 7, "1,ann,a,train,3,2,take,cup"])), "error")


# --- text that looks equal -----------------------------------------------------------------------------------------

FORMS = (
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: f"\ufeff{text}",
    lambda text: text.replace(" ", "\u00a0"),
    lambda text: text.replace("p", "p\u200b"),
    lambda text: f"{text}\u200e",
    lambda text: text.replace("t", "\u00adt"),
)


@pytest.mark.parametrize("change", FORMS)
def test_text_that_looks_equal_is_equal(tmp_path, change):
    rows = [row.replace("take,cup", "prépare tôt,pot à thé").replace(",a,", ",vidéo té,") for row in ROWS]
    odd = [*rows[:3], *(change(row) for row in rows[3:])]
    assert odd != rows
    import_own(write(tmp_path / "plain.csv", rows), tmp_path / "plain")
    result = import_own(write(tmp_path / "odd.csv", odd), tmp_path / "odd")
    assert (tmp_path / "plain" / "segments.csv").read_bytes() == (tmp_path / "odd" / "segments.csv").read_bytes()
    notes = found(result, "note")
    assert notes
    assert all("characters that cannot be seen, or that are composed" in note and note.isascii() for note in notes)


def test_the_header_too_is_taken_as_it_looks(tmp_path):
    header = HEADER.replace("video", "video\u200b")
    assert found(check_own(write(tmp_path / "own.csv", header=header)), "error") == []


@pytest.mark.parametrize("other", ["\uff43\uff55\uff50", "c\u200cup", "c\u200dup", "Cup", "c_up", "c up"])
def test_what_may_be_meant_as_equal_is_warned_of(tmp_path, other):
    rows = [*ROWS[:4], *(row.replace("cup", other) for row in ROWS[4:])]
    assert (
        "differ only by case, blanks, underscores or forms of letters"
        in found(check_own(write(tmp_path / "own.csv", rows)), "warning")[-1]
    )


# --- videos --------------------------------------------------------------------------------------------------------


def test_the_next_chapter_of_a_gopro_is_named_with_the_command_that_joins_them(real_data):
    case = real_data / "cases" / "10_gopro_chapters"
    first, second = found(check_own(case / "gopro.csv", videos=case / "films"), "error")
    assert first.startswith(
        "line 3, stop '24': the video GX010001.MP4 ends at 20.000 s. GX020001.MP4 is the next chapter"
    )
    assert "ffmpeg -f concat -i" in first
    assert second.startswith("line 4, stop '32'")


@pytest.mark.parametrize(
    "names",
    [
        ["GX010042.MP4", "GX020042.MP4", "GX030042.MP4"],
        ["GH010042.mp4", "GH020042.mp4"],
        ["GOPR0042.MP4", "GP010042.MP4", "GP020042.MP4"],
        ["gx090042.MP4", "gx100042.MP4"],
    ],
)
def test_the_command_joins_all_chapters_that_are_there_in_any_folder(tmp_path, names, monkeypatch):
    videos = tmp_path / "my videos (1)'s"
    for name in names:
        make_video(videos / name, 2)
    # Another recording, and a chapter after a gap, which is of no use alone.
    for name in ("GX020043.MP4", f"{names[0][:2]}770042.MP4"):
        make_video(videos / name, 2)
    stem = Path(names[0]).stem
    path = write(tmp_path / "own.csv", [f"{stem},0.5,1,a", f"{stem},1,3.5,b"], header="video,start,stop,label")
    text = next(each for each in found(check_own(path, videos=videos), "error") if "stop" in each)
    command = text.split("`")[1]
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ffmpeg").write_text('#!/bin/sh\ncat "$4" > "$7".txt\n')
    (tools / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    subprocess.run(command, shell=True, check=True, executable="/bin/sh")
    made = videos / f"{stem}_joined{Path(names[0]).suffix}.txt"
    assert made.read_text() == "".join(f"file '{name}'\n" for name in names)
    assert f"write {stem}_joined as the video" in text


def test_other_videos_get_no_chapter(tmp_path):
    for name in ("a.mp4", "GX020001.MP4"):
        make_video(tmp_path / name, 2)
    path = write(tmp_path / "own.csv", ["a,0.5,1,a", "a,1,3.5,b"], header="video,start,stop,label")
    assert "--clip-to-video SECONDS" in next(
        each for each in found(check_own(path, videos=tmp_path), "error") if "stop" in each
    )


def test_a_stop_a_little_after_the_end_is_accepted_on_request_and_recorded(tmp_path):
    videos = tmp_path / "videos"
    for name in "abc":
        make_video(videos / f"{name}.mp4", 5)
    rows = [*ROWS[:4], "5,cid,c,validation,2.25,3,take,cup", "6,cid,c,validation,4,5.25,put,cup"]
    path = write(tmp_path / "own.csv", [*rows[:1], "2,ann,a,train,4,5.5,put,cup", *rows[2:]])
    assert len(found(check_own(path, videos=videos), "error")) == 2
    assert len(found(check_own(path, videos=videos, clip_s=0.3), "error")) == 1
    result = import_own(path, tmp_path / "out", videos=videos, clip_s=0.5)
    (note,) = found(result, "note")
    assert "stops after the end of their video (2), first 5.5 of a. They were moved to its end, here 5.000 s" in note
    benchmark = load_own(tmp_path / "out")
    assert benchmark.train.column("stop_s").tolist() == [3.0, 5.0, 3.0, 5.0]
    assert benchmark.validation.column("stop_s").tolist() == [3.0, 5.0]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["clipped"] == [
        {"line": 3, "video": "a", "stop_s": 5.5, "end_s": 5.0},
        {"line": 7, "video": "c", "stop_s": 5.25, "end_s": 5.0},
    ]


def test_a_row_that_starts_after_the_end_is_never_clipped(tmp_path):
    for name in "abc":
        make_video(tmp_path / "videos" / f"{name}.mp4", 4)
    path = write(tmp_path / "own.csv", [*ROWS[:1], "2,ann,a,train,4.1,4.4,put,cup", *ROWS[2:]])
    assert "line 3, stop '4.4'" in found(check_own(path, videos=tmp_path / "videos", clip_s=9.0), "error")[0]


def test_clipping_without_videos_has_no_effect_and_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--clip-to-video has no effect without --videos"):
        check_own(write(tmp_path / "own.csv"), clip_s=0.5)
    with pytest.raises(ConfigError, match="not negative"):
        check_own(tmp_path / "own.csv", clip_s=-1.0)


# --- many classes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_classes", "most_s"), [(20_000, 6.0), pytest.param(100_000, 20.0, marks=pytest.mark.slow)]
)
def test_the_time_of_an_import_grows_with_the_rows_alone(tmp_path, num_classes, most_s):
    """Time of the processor: others may be at work beside the test."""
    rows = [f"v{idx % 977},{idx},{idx + 0.5},class {idx}" for idx in range(num_classes)]
    path = write(tmp_path / "own.csv", rows, header="video,start,stop,label")
    begin_s = time.process_time()
    result = import_own(path, tmp_path / "out")
    assert time.process_time() - begin_s < most_s
    assert result.taxonomy is not None
    assert result.taxonomy.num_actions == len(rows)
