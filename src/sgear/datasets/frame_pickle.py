"""Columns of a pickled pandas table, read without pandas and without running anything from the file.

A pickle is a program: opening one with `pickle.load` runs whatever functions it names. Here each name stands for an
inert record of what the file wanted to call, names outside a short list are refused, and the table is put together
from the records. Read and compared on files written by pandas 0.22, 0.25, 1.0, 1.2, 1.3, 1.5, 2.0, 2.3 and 3.0
(without pyarrow), pickle protocols 2 to 5.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgear.datasets.text_table import TextTable
from sgear.errors import AnnotationError
from sgear.files import require_regular_file

_TABLES = ("pandas.core.frame.DataFrame", "pandas.DataFrame")
_MANAGERS = ("pandas.core.internals.managers.BlockManager", "pandas.core.internals.BlockManager")
# pandas 1.3 pickles a block as a call of a partial function.
_BLOCKS = ("pandas._libs.internals._unpickle_block", "functools.partial")
_ARRAYS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_BUFFERS = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
_STRING_ARRAY = "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked"
_INDEX = "pandas.core.indexes.base._new_Index"
_SLICES = ("builtins.slice", "__builtin__.slice")
_DTYPE = "numpy.dtype"
_BYTES = "_codecs.encode"
_KINDS = (
    "numpy.ndarray",
    "pandas.Index",
    "pandas.RangeIndex",
    "pandas.StringDtype",
    "pandas.arrays.StringArray",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.numeric.Int64Index",
    "pandas.core.indexes.range.RangeIndex",
    "pandas.core.internals.blocks.new_block",
)
_KNOWN = frozenset(
    (*_TABLES, *_MANAGERS, *_BLOCKS, *_ARRAYS, *_BUFFERS, _STRING_ARRAY, _INDEX, *_SLICES, _DTYPE, _BYTES, *_KINDS)
)
_INTEGERS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}
_DAMAGE = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Record:
    """What the file wanted to make: a name, arguments and a state. Nothing is made of them."""

    made_by = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: object) -> _Record:
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __call__(self, *args: object) -> _Record:
        return type(self)(*args)


class _Reader(pickle._Unpickler):
    """An unpickler for which every name is a fresh class of records.

    It is the one in Python: the one in C reserves as much memory as a number in the file says, up to 64 GiB.
    """

    def __init__(self, stream: Any, path: Path) -> None:
        super().__init__(stream)
        self._path = path
        self._classes: dict[str, type[_Record]] = {}

    def find_class(self, module: str, name: str) -> type[_Record]:
        full_name = f"{module}.{name}"
        if full_name not in _KNOWN:
            raise AnnotationError(
                f"{self._path}: the file asks for {full_name}, which a table of annotations does not need; "
                "nothing of it was run. Use the csv file of the same table, and do not open this one with pandas."
            )
        return self._classes.setdefault(full_name, type("_Named", (_Record,), {"made_by": full_name}))


def read_epic_pickle(path: Path, columns: Sequence[str]) -> TextTable:
    """Read columns of a table that pandas pickled.

    Args:
        path: The file.
        columns: Columns that must be there; the index counts as a column of its name. They hold text or whole numbers.

    Returns:
        The columns as text; the lines are the rows of the table, counted from 1.

    Raises:
        AnnotationError: If the file is missing, damaged, in an unknown layout, lacks a column, or asks for anything
            that a table does not need.

    Source:
        Layouts: `BlockManager.__getstate__` of pandas up to 1.2, `_unpickle_block` since 1.5, and what lies between.
    """
    require_regular_file(path, AnnotationError, "Check the path, or use the csv file of the same table.")
    try:
        with path.open("rb") as stream:
            table = _Reader(stream, path).load()
        found = _Columns(table)
        cells = {name: found.text(name) for name in columns}
        if len({len(column) for column in cells.values()}) > 1:
            raise ValueError(f"columns of {', '.join(str(len(column)) for column in cells.values())} rows")
        frame = pl.DataFrame(cells, schema=dict.fromkeys(columns, pl.String))
    except _DAMAGE as err:
        raise AnnotationError(
            f"{path}: not a pickled table that can be read safely ({type(err).__name__}: {err}). "
            "Use the csv file of the same table."
        ) from err
    return TextTable(path, frame, pl.Series("line", range(1, frame.height + 1), dtype=pl.Int64))


class _Columns:
    """Columns of a table by name."""

    def __init__(self, table: Any) -> None:
        state = _made_by(table, *_TABLES).state
        manager = _made_by(state["_mgr"] if "_mgr" in state else state["_data"], *_MANAGERS)
        if manager.state is not None:
            layout = manager.state[3]["0.14.1"]
            axes = layout["axes"]
            self._blocks = [(block["values"], block["mgr_locs"]) for block in layout["blocks"]]
        else:
            blocks, axes = manager.args
            self._blocks = [_made_by(block, *_BLOCKS).args[:2] for block in blocks]
        names, self._index = (_made_by(axis, _INDEX).args[1] for axis in axes)
        self._names = _array(names["data"])[1]

    def text(self, name: str) -> list[str]:
        """Return the cells of a column as text."""
        is_index = name == self._index["name"] and name not in self._names
        cells = self._index_cells() if is_index else self._cells(name)
        kinds = {type(cell) for cell in cells} - {str, int}
        if kinds:
            found = sorted(kind.__name__ for kind in kinds)
            raise ValueError(f"column {name} holds {', '.join(found)}, expected text or whole numbers")
        return [str(cell) for cell in cells]

    def _index_cells(self) -> Sequence[Any]:
        if "data" in self._index:
            return _array(self._index["data"])[1]
        cells = range(self._index["start"], self._index["stop"], self._index["step"])
        num_rows = _array(self._blocks[0][0])[0][-1]
        if len(cells) != num_rows:
            raise ValueError(f"index of {len(cells)} rows for a table of {num_rows}")
        return cells

    def _cells(self, name: str) -> list[Any]:
        if self._names.count(name) != 1:
            found = [column for column in (self._index["name"], *self._names) if isinstance(column, str)]
            raise ValueError(f"column {name} occurs {self._names.count(name)} times; found {found}")
        position = self._names.index(name)
        for values, places in self._blocks:
            held = _places(places, len(self._names))
            if position in held:
                shape, cells = _array(values)
                num_rows = shape[-1]
                # Blocks of numbers and objects are (columns, rows); a string array is one column.
                first = held.index(position) * num_rows
                if len(cells) != num_rows * len(held):
                    break
                return cells[first : first + num_rows]
        raise ValueError(f"column {name} has no values")


def _made_by(value: Any, *names: str) -> _Record:
    if not isinstance(value, _Record) or value.made_by not in names:
        made_by = value.made_by if isinstance(value, _Record) else type(value).__name__
        raise ValueError(f"found {made_by}, expected {names[0]}")
    return value


def _places(value: Any, num_columns: int) -> Sequence[int]:
    if isinstance(value, _Record) and value.made_by in _SLICES:
        return range(num_columns)[slice(*value.args)]
    return _array(value)[1]


def _array(value: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Return shape and cells, in C order, of a numpy or pandas array."""
    record = _made_by(value, *_ARRAYS, *_BUFFERS, _STRING_ARRAY)
    if record.made_by == _STRING_ARRAY:
        return _array(next((part for part in record.state if _is_array(part)), None))
    if record.made_by in _ARRAYS:
        _, shape, dtype, is_fortran, data = record.state
    else:
        data, dtype, shape, order = record.args
        is_fortran = order == "F"
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise ValueError("array whose shape is no tuple of sizes")
    cells = _values(data, _made_by(dtype, _DTYPE))
    if len(cells) != math.prod(shape):
        raise ValueError(f"array of shape {shape} with {len(cells)} values")
    if is_fortran and len(shape) == 2:
        num_rows = shape[0]
        cells = [cell for row in range(num_rows) for cell in cells[row::num_rows]]
    return shape, cells


def _is_array(value: Any) -> bool:
    return isinstance(value, _Record) and value.made_by in (*_ARRAYS, *_BUFFERS)


def _values(data: Any, dtype: _Record) -> list[Any]:
    kind = dtype.args[0]
    if not isinstance(kind, str):
        raise ValueError("array without a type")
    if isinstance(data, _Record):
        # Protocol 2 has no bytes: they are text that latin-1 turns into bytes.
        text, encoding = _made_by(data, _BYTES).args
        if encoding != "latin1":
            raise ValueError("bytes that are not encoded as latin1")
        data = text.encode("latin1")
    if kind in ("O", "O8") and isinstance(data, list):
        return data
    if kind in _INTEGERS and isinstance(data, bytes | bytearray):
        byte_order = dtype.state[1] if dtype.state else "<"
        return np.frombuffer(data, np.dtype(kind).newbyteorder(byte_order)).tolist()
    raise ValueError(f"array of type {kind}, expected text or whole numbers")
