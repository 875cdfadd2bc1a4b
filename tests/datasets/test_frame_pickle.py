"""The reader of pickled tables: every layout of pandas, and nothing run from the file."""

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pickled_tables import LAYOUTS, Call, Name, array, dump, table

from sgear.datasets.frame_pickle import read_epic_pickle
from sgear.errors import AnnotationError

CELLS = {
    "video_id": ["P01_01", "P02_02", "P02_02"],
    "verb_class": [3, 0, 96],
    "start_timestamp": ["00:00:01.00", "00:00:02.00", "00:00:00.50"],
    "noun_class": [1, 299, 0],
}
UIDS = ["P01_01_0", "P02_02_0", "P02_02_1"]


def write(folder: Path, value: object) -> Path:
    path = folder / "table.pkl"
    path.write_bytes(dump(value))
    return path


def good(layout: str = "2.3") -> Call:
    return table(CELLS, index=UIDS, index_name="narration_id", layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_of_each_layout_come_back_as_text(tmp_path: Path, layout: str) -> None:
    found = read_epic_pickle(write(tmp_path, good(layout)), ["narration_id", *CELLS])
    expected = {name: [str(cell) for cell in cells] for name, cells in {"narration_id": UIDS, **CELLS}.items()}
    assert found.frame.to_dict(as_series=False) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_index_that_is_a_range_is_a_column(tmp_path: Path, layout: str) -> None:
    numbered = table(CELLS, index=range(10, 40, 10), index_name="uid", layout=layout)
    assert read_epic_pickle(write(tmp_path, numbered), ["uid"]).frame["uid"].to_list() == ["10", "20", "30"]


def test_columns_stored_in_fortran_order_keep_their_rows(tmp_path: Path) -> None:
    turned = array(["a", "x", "b", "y", "c", "z"], num_columns=2, is_fortran=True)
    names = array(["first", "second"])
    path = write(tmp_path, whole_table(turned, array([0, 1]), names))
    found = read_epic_pickle(path, ["first", "second"]).frame
    assert found.to_dict(as_series=False) == {"first": ["a", "b", "c"], "second": ["x", "y", "z"]}


def whole_table(values: object, places: object, names: object) -> Call:
    new_index, index = Name("pandas.core.indexes.base _new_Index"), Name("pandas.core.indexes.base Index")
    axes = [Call(new_index, (index, {"data": data, "name": None})) for data in (names, array(UIDS))]
    block = Call(Name("pandas._libs.internals _unpickle_block"), (values, places, 2))
    manager = Call(Name("pandas.core.internals.managers BlockManager"), ((block,), axes))
    return Call(Name("pandas.core.frame DataFrame"), (), {"_mgr": manager}, is_new=True)


def test_a_program_in_the_file_is_named_and_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path / 'was_run'}",)

    path = tmp_path / "table.pkl"
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(AnnotationError, match=rf"table.pkl: the file asks for {os.system.__module__}.system"):
        read_epic_pickle(path, ["narration_id"])
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("name", ["builtins eval", "builtins getattr", "os system", "numpy load", "pandas read_pickle"])
def test_a_program_inside_a_good_table_is_refused(tmp_path: Path, name: str) -> None:
    cells = {**CELLS, "all_nouns": [Call(Name(name), ("1",)), [], []]}
    infected = table(cells, index=UIDS, index_name="narration_id", layout="2.3")
    with pytest.raises(AnnotationError, match=name.replace(" ", ".")):
        read_epic_pickle(write(tmp_path, infected), ["narration_id"])


def test_allowed_names_make_records_and_are_not_called(tmp_path: Path) -> None:
    partial = Call(Name("functools partial"), (Name("numpy dtype"), "no type"))
    with pytest.raises(AnnotationError, match=r"found functools.partial, expected pandas.core.frame"):
        read_epic_pickle(write(tmp_path, partial), ["narration_id"])


def test_columns_that_are_not_asked_for_may_hold_anything(tmp_path: Path) -> None:
    cells = {**CELLS, "all_nouns": [["tap"], ["a", "b"], []], "narration": [None, "wash tap", 0.5]}
    path = write(tmp_path, table(cells, index=UIDS, index_name="narration_id", layout="1.3"))
    assert read_epic_pickle(path, ["verb_class"]).frame["verb_class"].to_list() == ["3", "0", "96"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"verb_class": [3, None, 1]}, "column verb_class holds NoneType, expected text or whole numbers"),
        ({"verb_class": [0.5, 1.5, 2.5]}, "column verb_class holds float"),
        ({"verb_class": [3, True, 1]}, "column verb_class holds bool"),
        ({"other": [1, 2, 3]}, r"column verb_class occurs 0 times; found \['narration_id', 'other'\]"),
    ],
)
def test_columns_that_cannot_be_text_are_refused(tmp_path: Path, cells: dict[str, list], message: str) -> None:
    path = write(tmp_path, table(cells, index=UIDS, index_name="narration_id", layout="2.3"))
    with pytest.raises(AnnotationError, match=rf"{message}.*Use the csv file"):
        read_epic_pickle(path, ["verb_class"])


@pytest.mark.parametrize("index", [range(2**31 - 1), range(0), ["a"]], ids=["too long", "empty", "too short"])
def test_index_of_another_length_than_the_columns_is_refused(tmp_path: Path, index: list | range) -> None:
    path = write(tmp_path, table(CELLS, index=index, index_name="uid", layout="2.3"))
    with pytest.raises(AnnotationError, match=r"table.pkl: not a pickled table"):
        read_epic_pickle(path, ["uid", "verb_class"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"narration_id,verb_class\nP01_01_0,3\n",
        b"\x80\x02Nr\xff\xff\xff\xff0.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x80\x63N.",
        dump([1, 2, 3]),
    ],
    ids=["empty", "csv", "memo of 64 GiB", "bytes of 8 EiB", "protocol 99", "no table"],
)
def test_files_that_hold_no_table_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.pkl"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=r"table.pkl: not a pickled table"):
        read_epic_pickle(path, ["narration_id"])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"gone.pkl: no such file"):
        read_epic_pickle(tmp_path / "gone.pkl", ["narration_id"])


@given(layout=st.sampled_from(LAYOUTS), share=st.floats(0, 0.999))
def test_truncated_files_are_refused(tmp_path_factory: pytest.TempPathFactory, layout: str, share: float) -> None:
    path = tmp_path_factory.getbasetemp() / "truncated.pkl"
    whole = dump(good(layout))
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(AnnotationError, match=r"truncated.pkl"):
        read_epic_pickle(path, ["narration_id", *CELLS])


@given(data=st.data(), layout=st.sampled_from(LAYOUTS))
def test_damaged_files_give_a_table_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, layout: str
) -> None:
    damaged = bytearray(dump(good(layout)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(damaged)
    try:
        found = read_epic_pickle(path, ["narration_id", *CELLS])
    except AnnotationError as err:
        assert "damaged.pkl" in str(err)  # noqa: PT017
    else:
        assert found.frame.columns == ["narration_id", *CELLS]
