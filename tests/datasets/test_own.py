import json
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.datasets.own import ImportResult, check_own, import_own, load_own
from sgear.datasets.own.importing import choose_groups
from sgear.errors import AnnotationError, ConfigError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_data" / "kitchen_helper.csv"
HEADER = "uid,participant,video,split,start,stop,verb,noun"
ROWS = (
    "1,ann,a,train,2,3,take,cup",
    "2,ann,a,train,4,5.5,put,cup",
    "3,bob,b,train,2,3,take,cup",
    "4,bob,b,train,4,5,put,cup",
    "5,cid,c,validation,2.25,3,take,cup",
    "6,cid,c,validation,4,5,put,cup",
)


def write(path: Path, rows=ROWS, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def csv(tmp_path) -> Path:
    return tmp_path / "own.csv"


def found(result: ImportResult, level: str) -> list[str]:
    return [str(problem) for problem in result.problems if problem.level == level]


def only(result: ImportResult, level: str) -> str:
    (text,) = found(result, level)
    return text


# --- what is read --------------------------------------------------------------------------------------------------


def test_a_right_csv_has_no_problem_and_comes_back_as_it_was_written(csv, tmp_path):
    result = import_own(write(csv), tmp_path / "out")
    assert (result.is_accepted, result.problems, result.out) == (True, (), tmp_path / "out")
    benchmark = load_own(tmp_path / "out")
    assert benchmark.name == "out"
    assert benchmark.taxonomy.action_names == ("put cup", "take cup")
    assert benchmark.train.uids == ["1", "2", "3", "4"]
    assert benchmark.train.column("stop_s").tolist() == [3.0, 5.5, 3.0, 5.0]
    assert benchmark.validation.column("action_id").tolist() == [1, 0]
    assert benchmark.unseen_participants == {"cid"}
    assert benchmark.tests == {}


def test_times_may_be_seconds_or_clock_times(csv, tmp_path):
    rows = [*ROWS[:5], "6,cid,c,validation,00:01:01.60,01:00:00,put,cup"]
    import_own(write(csv, rows), tmp_path / "out")
    table = load_own(tmp_path / "out").validation
    assert (table.column("start_s")[1], table.column("stop_s")[1]) == (61.6, 3600.0)


@given(st.floats(0, 1e6), st.floats(1e-3, 10))
@settings(max_examples=15)
def test_a_time_survives_the_import_to_the_last_bit(tmp_path_factory, start_s, length_s):
    folder = tmp_path_factory.mktemp("own")
    stop_s = min(start_s + length_s, 1e6)
    if stop_s <= start_s:
        start_s = stop_s - length_s
    row = f"6,cid,c,validation,{start_s!r},{stop_s!r},put,cup"
    import_own(write(folder / "own.csv", [*ROWS[:5], row]), folder / "out")
    table = load_own(folder / "out").validation
    assert (table.column("start_s")[1], table.column("stop_s")[1]) == (start_s, stop_s)


def test_names_keep_their_case_and_their_commas_and_lose_outer_blanks(csv, tmp_path):
    rows = [row.replace("take,cup", '"take, slowly",  Cup of Tea ') for row in ROWS]
    import_own(write(csv, rows), tmp_path / "out")
    assert load_own(tmp_path / "out").taxonomy.action_names == ("put cup", "take, slowly Cup of Tea")


def test_a_label_is_one_class_and_is_not_taken_apart(csv, tmp_path):
    rows = [",".join([*row.split(",")[:6], "_".join(row.split(",")[6:])]) for row in ROWS]
    import_own(write(csv, rows, HEADER.replace("verb,noun", "label")), tmp_path / "out")
    taxonomy = load_own(tmp_path / "out").taxonomy
    assert taxonomy.action_names == taxonomy.verbs == taxonomy.nouns == ("put_cup", "take_cup")
    assert taxonomy.action_pairs == ((0, 0), (1, 1))


def test_ids_do_not_depend_on_the_order_of_rows(csv, tmp_path):
    import_own(write(csv), tmp_path / "first")
    import_own(write(csv, ROWS[::-1]), tmp_path / "second")
    assert load_own(tmp_path / "first").taxonomy == load_own(tmp_path / "second").taxonomy


def test_rows_without_uid_are_numbered_by_time_in_their_video(csv, tmp_path):
    rows = [row.partition(",")[2] for row in (ROWS[1], ROWS[0], *ROWS[2:])]
    import_own(write(csv, rows, HEADER.removeprefix("uid,")), tmp_path / "out")
    assert load_own(tmp_path / "out").train.uids == ["a_1", "a_0", "b_0", "b_1"]


def test_without_participants_each_video_is_its_own_and_none_is_called_unseen(csv, tmp_path):
    rows = [",".join(part for index, part in enumerate(row.split(",")) if index != 1) for row in ROWS]
    import_own(write(csv, rows, HEADER.replace("participant,", "")), tmp_path / "out")
    benchmark = load_own(tmp_path / "out")
    assert set(benchmark.train.column("participant_id")) == {"a", "b"}
    assert benchmark.unseen_participants == frozenset()


def test_test_rows_may_come_without_labels(csv, tmp_path):
    result = import_own(write(csv, [*ROWS, "7,dan,d,test,2,3,,"]), tmp_path / "out")
    assert result.splits["test"].segments == 1
    table = load_own(tmp_path / "out").tests["test"]
    assert table.column("action_id").tolist() == table.column("verb_id").tolist() == [-1]


def test_an_imported_csv_can_be_imported_again(csv, tmp_path):
    import_own(write(csv), tmp_path / "first")
    result = import_own(tmp_path / "first" / "segments.csv", tmp_path / "second")
    assert result.problems == ()
    assert (tmp_path / "first" / "segments.csv").read_bytes() == (tmp_path / "second" / "segments.csv").read_bytes()


# --- errors, each with line, column, value and remedy ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("6,cid,c,validation,-1,5,put,cup", "line 7, start '-1': is before the start of the video. Count seconds"),
        ("6,cid,c,validation,5,5,put,cup", "line 7, stop '5': is not after the start 5. Correct start or stop"),
        ("6,cid,c,validation,NaN,5,put,cup", "line 7, start 'NaN': is no time. Write seconds such as 12.5"),
        ("6,cid,c,validation,4,1e400,put,cup", "line 7, stop '1e400': is later than 1,000,000 s. Write seconds"),
        ("6,cid,c,validation,4,,put,cup", "line 7, stop '': is empty. Write seconds such as 12.5, or HH:MM:SS.ss"),
        ('6,cid,c,validation,"4,5",5,put,cup', "line 7, start '4,5': has a decimal comma. Write a point"),
        ("6,cid,c,validation,4,1:30,put,cup", "line 7, stop '1:30': has no hours. Write HH:MM:SS"),
        ("6,cid,c,validation,4,00:61:00,put,cup", "line 7, stop '00:61:00': is no time"),
        ("6,cid,c,validation,4,\u0665,put,cup", "line 7, stop '\u0665': is no time"),
        ("6,cid,c,validation,4,5,,cup", "line 7, verb '': is empty. Write what is done"),
        ("6,cid,,validation,4,5,put,cup", "line 7, video '': is empty. Write the name of the video file"),
        ("6,,c,validation,4,5,put,cup", "line 7, participant '': is empty. Write it, or remove the column"),
        (",cid,c,validation,4,5,put,cup", "line 7, uid '': is empty. Write it, or remove the column uid"),
        ("5,cid,c,validation,4,5,put,cup", "line 7, uid '5': is the uid of line 6, too. Give each row its own"),
        ("6,cid,c,validation,2.250,3,take,cup", "line 7: says the same as line 6. Remove one of the two"),
        ("6,cid,c,val,4,5,put,cup", "line 7, split 'val': is no split. Write validation"),
        ("6,cid,c,third,4,5,put,cup", "line 7, split 'third': is no split. Write one of train, validation, test"),
        ("6,dan,c,validation,4,5,put,cup", "line 7, participant 'dan': video c belongs to cid on line 6"),
        (
            "6,cid,c.MP4,validation,4,5,put,cup",
            "line 7, video 'c.MP4': has a folder or a file ending. Write the name alone: c",
        ),
        ("6,cid,c,validation,4,5,put", "line 7: 7 fields, expected 8 as in the header. Put double quotes around"),
        (
            '6,cid,c,validation,4,5,put,"cu\tp"',
            "line 7, noun 'cu\\tp': holds a line break or another control character",
        ),
        (f"6,cid,c,validation,4,5,put,{'x' * 201}", "has 201 characters, at most 200 are allowed. Shorten it"),
    ],
)
def test_a_wrong_row_is_named_with_its_line_its_value_and_a_remedy(csv, tmp_path, row, expected):
    result = import_own(write(csv, [*ROWS[:5], row]), tmp_path / "out")
    assert expected in only(result, "error")
    assert not result.is_accepted
    assert not (tmp_path / "out").exists()


def test_all_problems_of_all_rows_are_collected_in_the_order_of_lines(csv):
    rows = ["1,ann,a,train,-2,x,,cup", *ROWS[1:5], "6,,c,dev,nan,5,put,cup"]
    problems = check_own(write(csv, rows)).problems
    assert [(problem.line, problem.column) for problem in problems] == [
        *[(2, "verb"), (2, "start"), (2, "stop")],
        *[(7, "participant"), (7, "split"), (7, "start")],
    ]


def test_verbs_and_nouns_that_read_alike_are_refused(csv):
    rows = [row.replace("put,cup", "put,down cup") for row in ROWS[:4]] + [
        row.replace("put,cup", "put down,cup") for row in ROWS[4:]
    ]
    assert "line 7, verb 'put down': verb and noun read like those of line 3" in only(
        check_own(write(csv, rows)), "error"
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER.replace("start", "onset"), "columns 'start' are missing. Add them to the header."),
        (
            HEADER.replace("start", "Start"),
            "columns 'start' are missing. Add them to the header; write 'Start' in small",
        ),
        (
            HEADER.replace("noun", "object"),
            "columns 'noun' are missing. Add them to the header, or give 'label' instead",
        ),
        (
            HEADER.replace("uid", "label"),
            "there is a column label and a column verb or noun. Keep label, or verb and noun",
        ),
        (HEADER.replace("uid", "video"), "columns 'video' occur twice. Remove one of each"),
        (HEADER.replace(",", ";"), "the columns are separated by semicolons (;), expected commas. Save the file as"),
        (HEADER.replace(",", "\t"), "the columns are separated by tabs, expected commas. Save the file as"),
    ],
)
def test_a_wrong_header_is_explained(csv, header, expected):
    assert f"line 1: {expected}" in only(check_own(write(csv, header=header)), "error")


def test_a_column_that_is_not_known_is_noted(csv):
    header = HEADER.replace("uid", "remark")
    assert "line 1: columns 'remark' are not used" in only(check_own(write(csv, header=header)), "note")


def test_a_csv_without_rows_is_refused(csv):
    assert "no row below the header" in found(check_own(write(csv, [])), "error")[0]


@pytest.mark.parametrize("missing", ["train", "validation"])
def test_a_split_without_rows_is_refused(csv, missing):
    other = {"train": "validation", "validation": "train"}[missing]
    rows = [row.replace(f",{missing},", f",{other},") for row in ROWS]
    assert f"there is no {missing} row" in only(check_own(write(csv, rows)), "error")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n".join([HEADER, *ROWS]).encode("utf-16"), "UTF-16"),
        (
            ("\n".join([HEADER, *ROWS]) + "\n7,zo\u00eb,d,train,1,2,put,cup").encode("latin-1"),
            "line 8: byte 0xeb is not UTF-8",
        ),
        (b"", "empty"),
        (f'{HEADER}\n1,ann,"a,train,2,3,take,cup'.encode(), "not csv"),
    ],
)
def test_a_file_that_is_no_csv_of_utf8_is_refused(csv, content, message):
    csv.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        check_own(csv)


# --- warnings and notes --------------------------------------------------------------------------------------------


def test_a_participant_on_both_sides_is_a_leak(csv):
    result = check_own(write(csv, [row.replace("cid", "bob") for row in ROWS]))
    assert only(result, "warning").startswith(
        "split: participants in more than one split (1): 'bob'. Numbers will look"
    )
    assert result.is_accepted


def test_a_video_on_both_sides_is_a_leak(csv):
    rows = [*ROWS, "7,bob,b,validation,7,8,put,cup"]
    warnings = found(check_own(write(csv, rows)), "warning")
    assert warnings[0].startswith("split: videos in more than one split (1): 'b'")


def test_classes_with_one_segment_and_classes_never_trained_are_pointed_out(csv):
    warnings = found(check_own(write(csv, [*ROWS, "7,cid,c,validation,7,8,wash,cup"])), "warning")
    assert [text.split(". ")[0] for text in warnings] == [
        "classes with a single segment (1 of 3): 'wash cup'",
        "validation classes that never occur in training (1): 'wash cup'",
    ]


def test_overlaps_and_early_segments_are_noted(csv):
    rows = [*ROWS[:5], "6,cid,c,validation,0.5,2.5,put,cup"]
    notes = found(check_own(write(csv, rows)), "note")
    assert notes[0].startswith("segments that overlap an earlier one (1), first lines 7 and 6")
    assert notes[1].startswith(
        "segments that start before 1 s (1), first line 7. At tau_a = 1 s there is nothing to see"
    )


# --- splits --------------------------------------------------------------------------------------------------------


def without_split(rows=ROWS) -> tuple[list[str], str]:
    keep = [index for index in range(8) if index != 3]
    return [",".join(row.split(",")[index] for index in keep) for row in rows], ",".join(
        HEADER.split(",")[index] for index in keep
    )


def test_without_a_split_column_participants_are_divided(csv, tmp_path):
    rows, header = without_split()
    result = import_own(write(csv, rows, header), tmp_path / "out", validation_share=0.3)
    benchmark = load_own(tmp_path / "out")
    assert result.split_rule.startswith("by participant, seed 0")
    assert len(benchmark.validation) == 2
    assert not set(benchmark.train.column("participant_id")) & set(benchmark.validation.column("participant_id"))


def test_the_rows_of_one_participant_are_divided_by_video_with_a_note(csv):
    rows, header = without_split([row.replace("bob", "ann").replace("cid", "ann") for row in ROWS])
    result = check_own(write(csv, rows, header))
    assert result.split_rule.startswith("by video")
    assert only(result, "note") == "all rows belong to one participant. The splits are made by video."


def test_one_video_cannot_be_divided(csv):
    rows, header = without_split(ROWS[:2])
    assert "all rows belong to one video" in only(check_own(write(csv, rows, header)), "error")


def test_the_seed_decides_between_equal_divisions(csv):
    rows, header = without_split()
    results = [check_own(write(csv, rows, header), seed=seed).split_rule for seed in (3, 3, 4)]
    assert results[0] == results[1] != results[2]
    held_out = {choose_groups(["a", "b", "c"], [0, 0, 0], share=0.3, seed=seed) for seed in range(20)}
    assert held_out == {frozenset("a"), frozenset("b"), frozenset("c")}


def test_a_share_beside_a_split_column_has_no_effect_and_is_refused(csv):
    with pytest.raises(ConfigError, match=r"validation_share=0.3 has no effect"):
        check_own(write(csv), validation_share=0.3)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_an_error(csv, share):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        check_own(write(csv), validation_share=share)


def slow_cost(groups, classes, held_out, share: float) -> float:
    """The cost with loops."""
    validated = [label for group, label in zip(groups, classes, strict=True) if group in held_out]
    trained = {label for group, label in zip(groups, classes, strict=True) if group not in held_out}
    never = sum(label not in trained for label in validated)
    return abs(len(validated) / len(groups) - share) + never / len(groups)


segments = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 3)), min_size=2, max_size=20).filter(
    lambda pairs: len({group for group, _ in pairs}) > 1
)


@given(segments, st.floats(0.05, 0.95), st.integers(0, 3))
def test_no_division_is_better_than_the_one_chosen(pairs, share, seed):
    groups, classes = zip(*pairs, strict=True)
    held_out = choose_groups(groups, classes, share=share, seed=seed)
    names = sorted(set(groups))
    assert held_out
    assert held_out < set(names)
    costs = [
        slow_cost(groups, classes, {name for name, is_in in zip(names, mask, strict=True) if is_in}, share)
        for mask in product([False, True], repeat=len(names))
        if any(mask) and not all(mask)
    ]
    assert slow_cost(groups, classes, held_out, share) == pytest.approx(min(costs), abs=1e-9)


def test_many_participants_are_divided_close_to_the_share():
    rng = np.random.default_rng(1)
    groups = [f"p{index}" for index in range(40) for _ in range(rng.integers(5, 60))]
    classes = rng.integers(0, 10, len(groups)).tolist()
    held_out = choose_groups(groups, classes, share=0.2, seed=0)
    share = np.mean([group in held_out for group in groups])
    assert share == pytest.approx(0.2, abs=0.005)
    assert held_out == choose_groups(groups, classes, share=0.2, seed=0)


# --- videos ---------------------------------------------------------------------------------------------------------


def make_video(path: Path, duration_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(round(duration_s * 10)):
            image = np.full((48, 64, 3), 4 * index % 256, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))


def test_rows_within_their_videos_pass_and_later_ones_are_named(csv, tmp_path):
    videos = tmp_path / "videos"
    for name, duration_s in (("a", 6), ("sub/b", 5), ("c", 4.5)):
        make_video(videos / f"{name}.mp4", duration_s)
    result = check_own(write(csv), videos=videos)
    assert only(result, "error").startswith("line 7, stop '5': the video c.mp4 ends at 4.500 s. Correct the times")
    make_video(videos / "c.mp4", 5)
    assert check_own(write(csv), videos=videos).problems == ()


def test_missing_doubled_and_broken_videos_are_named_once_each(csv, tmp_path):
    videos = tmp_path / "videos"
    make_video(videos / "b.mp4", 6)
    make_video(videos / "again" / "b.avi", 6)
    (videos / "c.mkv").write_bytes(b"no video at all")
    first, second, third = found(check_own(write(csv), videos=videos), "error")
    assert first.startswith("line 2, video 'a': no such video in")
    assert second.startswith("line 4, video 'b': two videos have this name")
    assert third.startswith("line 6, video 'c': ")
    assert third.endswith("Copy the video again.")


# --- the folder ----------------------------------------------------------------------------------------------------


def test_nothing_is_written_over_what_is_there(csv, tmp_path):
    import_own(write(csv), tmp_path / "out")
    with pytest.raises(AnnotationError, match="exists already"):
        import_own(csv, tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(AnnotationError, match="exists already"):
        import_own(csv, tmp_path / "file")


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(csv, tmp_path):
    (tmp_path / "file").write_text("x")
    # Missing parents are made, and a file in their place is an error.
    import_own(csv_path := write(csv), tmp_path / "new" / "deep")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["deep"]
    with pytest.raises(AnnotationError, match=r"cannot be written|exists already|looked into"):
        import_own(csv_path, tmp_path / "file" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "new", "own.csv"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("segments.csv", "5.5", "5.6"),
        ("segments.csv", "\n", "\r\n"),
        ("taxonomy.json", "take", "make"),
        ("summary.json", '"format": 1', '"format": 2'),
        ("summary.json", "{", ""),
        ("summary.json", '"sha256": {', '"sha256": 1, "x": {'),
    ],
)
def test_an_edited_folder_is_refused(csv, tmp_path, name, old, new):
    import_own(write(csv), tmp_path / "out")
    path = tmp_path / "out" / name
    path.write_bytes(path.read_text().replace(old, new, 1).encode())
    with pytest.raises(AnnotationError, match=r"Import the csv again"):
        load_own(tmp_path / "out")


@pytest.mark.parametrize("name", ["segments.csv", "taxonomy.json", "summary.json"])
def test_a_missing_file_of_a_folder_is_named(csv, tmp_path, name):
    import_own(write(csv), tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    with pytest.raises(AnnotationError, match=f"{name}: no such file"):
        load_own(tmp_path / "out")


def test_the_summary_says_where_the_data_came_from_and_names_no_folder(csv, tmp_path):
    import_own(write(csv), tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["source"], summary["split_rule"]) == ("own.csv", "as the column split says")
    assert summary["splits"]["train"] == {"segments": 4, "videos": 2, "participants": 2, "classes": 2}
    assert str(tmp_path) not in json.dumps(summary)


def test_the_example_csv_is_imported_without_a_problem(tmp_path):
    result = import_own(EXAMPLE, tmp_path / "out")
    assert result.problems == ()
    benchmark = load_own(tmp_path / "out")
    assert (len(benchmark.train), len(benchmark.validation), benchmark.taxonomy.num_actions) == (16, 8, 8)
