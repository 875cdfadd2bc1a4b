import os
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.datasets.csv_table import TextTable, parse_rows, read_csv, read_text
from sgear.errors import AnnotationError

CLEAN = b'uid,name,start\na,"salt, fine",1.5\nb,tap:hot,2\n'


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "rows.csv"


def column_of(*values: str) -> TextTable:
    return TextTable(
        Path("rows.csv"), pl.DataFrame({"a": values}, schema={"a": pl.String}), pl.Series(range(2, 2 + len(values)))
    )


@pytest.mark.parametrize(
    "content",
    [
        CLEAN,
        b"\xef\xbb\xbf" + CLEAN,
        CLEAN.replace(b"\n", b"\r\n"),
        CLEAN.replace(b"\n", b"\r"),
        CLEAN.rstrip(b"\n"),
        CLEAN.replace(b"\n", b"\n\n"),
        CLEAN.replace(b"tap:hot,2", b" tap:hot ,\t2 "),
        CLEAN.replace(b"tap:hot", b'"tap:hot"'),
    ],
    ids=["clean", "mark", "crlf", "cr", "no-last-newline", "empty-lines", "blanks", "quotes"],
)
def test_harmless_differences_of_spelling_read_the_same(path, content):
    table = read_csv(write(path, content), ["uid", "name", "start"])
    assert table.frame.rows() == [("a", "salt, fine", "1.5"), ("b", "tap:hot", "2")]


def test_rows_know_their_lines_even_after_a_quoted_line_break(path):
    table = read_csv(write(path, 'uid,name\na,"two\nlines"\n\nb,x\n'), ["uid", "name"])
    assert table.lines.to_list() == [3, 5]


def test_a_file_without_header_takes_the_names_given(path):
    table = read_csv(write(path, "1,a\n2,b\n"), ["id", "name"], has_header=False)
    assert table.frame.to_dict(as_series=False) == {"id": ["1", "2"], "name": ["a", "b"]}


def test_optional_columns_come_where_the_header_has_them(path):
    table = read_csv(write(path, CLEAN), ["uid"], optional=["start", "split"])
    assert table.frame.columns == ["uid", "start"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty. Get it again"),
        (b" \n\r\n", "the file is empty"),
        (CLEAN + b"c,d\n", r"line 4: 2 fields, expected 3 \(uid, name, start\). A comma inside"),
        (CLEAN + b"c,d,e,f\n", "line 4: 4 fields, expected 3"),
        (CLEAN + b'c,"d,2\n', "line 4: not csv"),
        (
            CLEAN.replace(b"name", b"nam"),
            r"line 1: columns \['name'\] are missing; found 'uid, nam, start'. Correct the header",
        ),
        (CLEAN.replace(b"name", b"uid"), r"line 1: columns \['name'\] are missing"),
        (b"\n" + CLEAN.replace(b"start", b"uid"), r"line 2: columns \['start'\] are missing"),
        (CLEAN.replace(b",", b";"), r"are missing.*separated by semicolons \(;\): save the file with commas"),
        (CLEAN.replace(b",", b"\t"), "separated by tabs: save the file with commas"),
        (CLEAN + "c,T\u00fcr,3\n".encode("latin-1"), "line 4: byte 0xfc is not UTF-8. Save the file as UTF-8"),
        (CLEAN.decode().encode("utf-16"), "the file is UTF-16, expected UTF-8"),
        (CLEAN.decode().encode("utf-16-le"), "line 1: a zero byte; the file is damaged, or UTF-16"),
        (CLEAN + b"c,d\0,3\n", "line 4: a zero byte"),
        (CLEAN + b"c," + b"x" * 200_000 + b",3\n", "line 4: not csv .*field larger"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line_and_a_remedy(path, content, message):
    with pytest.raises(AnnotationError, match=message) as raised:
        read_csv(write(path, content), ["uid", "name", "start"], remedy="Get it again.")
    assert str(path) in str(raised.value)


def test_a_column_that_occurs_twice_is_refused(path):
    with pytest.raises(AnnotationError, match=r"columns \['uid'\] occur twice"):
        read_csv(write(path, "uid,uid,name\n1,2,3\n"), ["uid", "name"])


def test_a_missing_file_and_a_folder_say_so_with_the_remedy(tmp_path):
    with pytest.raises(AnnotationError, match=r"no such file or directory\. Look there"):
        read_text(tmp_path / "none.csv", remedy="Look there.")
    with pytest.raises(AnnotationError, match=r"is a folder.*Look there"):
        read_text(tmp_path, remedy="Look there.")


def test_rows_without_any_value_are_left_out_like_empty_lines(path):
    assert parse_rows('a,b\n,\n1,\n" ",""\n,,,,\n', path) == ([["a", "b"], ["1", ""]], [1, 3])
    table = read_csv(write(path, CLEAN + b",,\n,,\n"), ["uid"])
    assert (table.frame["uid"].to_list(), table.lines.to_list()) == (["a", "b"], [2, 3])
    with pytest.raises(AnnotationError, match="no row holds a value"):
        read_csv(write(path, ",,\n,,\n"), ["uid"])


def test_a_pipe_and_a_device_are_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(AnnotationError, match="is no regular file"):
            read_text(file, remedy="Look there.")


@given(
    st.integers(0, 99_999), st.integers(0, 59), st.integers(0, 59), st.from_regex(r"(\.[0-9]{1,12})?", fullmatch=True)
)
def test_a_timestamp_is_the_float_nearest_to_its_decimal_text(hours, minutes, seconds, fraction):
    text = f"{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"
    exact = Fraction(3600 * hours + 60 * minutes) + Fraction(f"{seconds}{fraction}")
    assert column_of(text).timestamps("a").to_list() == [float(exact)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "61.6",
        "00:61:00",
        "0:0:0",
        "00:00:60",
        "-00:00:01",
        "00:00:01,5",
        "\u0660\u0660:00:01",
        "9" * 400 + ":00:00",
    ],
)
def test_what_is_no_timestamp_is_refused(text):
    with pytest.raises(AnnotationError, match=r"line 2: a is .* expected a time"):
        column_of(text).timestamps("a")


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e400", "1,5", "0x10", "1_000", "\u0661", "--1"])
def test_what_is_no_finite_number_is_refused(text):
    with pytest.raises(AnnotationError, match=r"line 3: a is .* expected a finite number"):
        column_of("1.5", text).numbers("a")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_written(value):
    assert column_of(repr(value)).numbers("a").to_list() == [value]


@pytest.mark.parametrize("text", ["", "-1", "1.0", "8", "1e2", "9" * 30, "\u0661"])
def test_what_is_no_whole_number_in_range_is_refused(text):
    with pytest.raises(AnnotationError, match=r"expected a whole number in 0\.\.7"):
        column_of(text).integers("a", high=7)


def test_the_first_wrong_row_is_shown_and_the_others_are_counted():
    with pytest.raises(AnnotationError, match="line 3: a is '', expected some text; 2 such rows"):
        column_of("x", "", "y", "").text("a")
