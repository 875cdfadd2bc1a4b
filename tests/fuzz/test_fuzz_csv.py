import csv
import io

import csv_targets as targets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PIECES = (
    *(b'"', b",", b";", b"\t", b"\n", b"\r\n", b"\r", b" ", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9", b"\xc2\xa0"),
    *(
        b"nan",
        b"inf",
        b"-1",
        b"-0",
        b"1e999",
        b"0x1",
        b"1_0",
        b"1,5",
        b"00:00:01",
        b"99:59:59.999999",
        b"1:30",
        b"9" * 400,
    ),
    *(b"train", b"val", b"test", b"uid", b"video", b"label", b"verb", b"\xd9\xa0", b"\xf0\x9f\x8d\xb3", b"x" * 300),
    *(b"\x0b", b"\x1c", b"\xe2\x80\xa8", b"c.mp4", b"a/b", b"\\", b"'"),
)


@st.composite
def edited(draw, text: str) -> bytes:
    """Cut, copy and insert at a few places of a right file."""
    data = text.encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4) | st.just(b""))
        kept = data[start:stop] if draw(st.booleans()) else b""
        data = data[:start] + kept + piece + kept + data[stop:]
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return targets.own_folder(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def salads(tmp_path_factory):
    return targets.salads_folder(tmp_path_factory.mktemp("salads"))


@given(st.lists(st.lists(st.text("ab ,\"'\n\r;\u00e9", max_size=6), min_size=1, max_size=4), max_size=4))
def test_the_slow_reader_reads_what_the_standard_writer_wrote(rows):
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    expected = [[value.strip() for value in row] for row in rows]
    assert targets.rows_of(stream.getvalue()) == expected


@settings(max_examples=60)
@given(edited(targets.OWN) | edited(targets.OWN.replace("00:00:02.5", "2.5")) | st.binary(max_size=40))
def test_any_bytes_are_a_right_table_or_a_clear_error(folder, data):
    targets.assert_csv_is_read_rightly(data, folder / "rows.csv")


@settings(max_examples=60)
@given(edited(targets.OWN) | edited(targets.LABELS) | st.binary(max_size=40))
def test_any_own_csv_is_imported_as_it_stands_or_refused_with_reasons(folder, data):
    targets.assert_own_is_judged_rightly(data, folder / "own.csv")


@settings(max_examples=60)
@given(st.data(), st.sampled_from(["segments.csv", "taxonomy.json", "summary.json"]))
def test_any_damage_to_an_imported_folder_is_refused_or_harmless(own, data, name):
    content = data.draw(edited((own / name).read_text()) | st.binary(max_size=40))
    targets.assert_folder_is_read_rightly(content, own, name)


@settings(max_examples=100)
@given(edited(targets.SALADS) | st.binary(max_size=40))
def test_any_raw_annotation_of_50_salads_is_read_as_it_stands_or_refused(salads, data):
    targets.assert_salads_are_read_rightly(data, salads)


OWN_BYTES = targets.OWN.encode()
SAME = {
    "clean": OWN_BYTES,
    "crlf": OWN_BYTES.replace(b"\n", b"\r\n"),
    "cr": OWN_BYTES.replace(b"\n", b"\r"),
    "byte-order-mark": b"\xef\xbb\xbf" + OWN_BYTES,
    "comma-in-quoted-name": OWN_BYTES.replace(b'"cup, red"', b'"cup,  red "'),
    "no-last-newline": OWN_BYTES.rstrip(b"\n"),
}
REFUSED = {
    "truncated-in-a-row": OWN_BYTES[:-8],
    "truncated-in-quotes": OWN_BYTES[: OWN_BYTES.rindex(b"red")],
    "wrong-column": OWN_BYTES.replace(b"start", b"begin"),
    "one-field-too-many": OWN_BYTES.replace(b"take,cup", b"take,the,cup", 1),
    "nan": OWN_BYTES.replace(b"61.6", b"nan"),
    "duplicate-uid": OWN_BYTES.replace(b"\n6,", b"\n5,"),
    "negative-time": OWN_BYTES.replace(b"0.25", b"-0.25"),
    "stop-before-start": OWN_BYTES.replace(b"61.6", b"3.9"),
    "comma-in-name": OWN_BYTES.replace(b'"cup, red"', b"cup, red"),
    "latin-1": OWN_BYTES.replace(b"cid", b"c\xefd"),
    "utf-16": targets.OWN.encode("utf-16"),
    "utf-16-without-mark": targets.OWN.encode("utf-16-be"),
    "null-bytes": OWN_BYTES.replace(b"cup\n", b"cup\0\n"),
    "huge-field": OWN_BYTES.replace(b"take", b"t" * 1_000_000),
    "long-field": OWN_BYTES.replace(b"take", b"t" * 1_000),
    "semicolons": OWN_BYTES.replace(b",", b";"),
    "tabs": OWN_BYTES.replace(b",", b"\t"),
    "empty": b"",
}


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_harmless_spellings_are_imported_as_they_stand(tmp_path, data):
    assert targets.assert_own_is_judged_rightly(data, tmp_path / "own.csv")


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_every_known_damage_is_refused(tmp_path, data):
    assert not targets.assert_own_is_judged_rightly(data, tmp_path / "own.csv")
    targets.assert_csv_is_read_rightly(data, tmp_path / "own.csv")


@pytest.mark.parametrize("name", REFUSED)
def test_every_known_damage_to_an_imported_folder_is_refused(own, name):
    assert not targets.assert_folder_is_read_rightly(REFUSED[name], own, "segments.csv")


@pytest.mark.parametrize(
    "data",
    [
        targets.SALADS.encode()[:-8],
        targets.SALADS.replace("4000431", "nan").encode(),
        targets.SALADS.replace("4000431", "-4000431").encode(),
        targets.SALADS.replace("4000431", "9000431").encode(),
        targets.SALADS.replace(" ", ",").encode(),
        targets.SALADS.encode("utf-16"),
        targets.SALADS.replace("cut", "c\0ut").encode(),
        targets.SALADS.replace("cut", "c\u00fct").encode("latin-1"),
        targets.SALADS.replace("cut_core", "c" * 1_000_000).encode(),
    ],
    ids=["truncated", "nan", "negative", "stop-before-start", "commas", "utf-16", "null", "latin-1", "huge"],
)
def test_every_known_damage_to_a_raw_annotation_is_refused(salads, data):
    assert not targets.assert_salads_are_read_rightly(data, salads)
