"""Pickles of tables as pandas writes them, made without pandas: the same calls, written opcode by opcode."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

LAYOUTS = ("0.22", "1.0", "1.3", "2.3", "3.0")


@dataclass(frozen=True)
class Name:
    """A global, `module name`."""

    text: str


@dataclass(frozen=True)
class Call:
    """What is called with `args`; `state` is given to the result. A class is called by the opcode for new objects."""

    function: Name | Call
    args: tuple
    state: Any = None
    is_new: bool = False


def dump(value: Any) -> bytes:
    """Return a pickle of protocol 3."""
    return b"\x80\x03" + _encode(value) + b"."


def _encode(value: Any) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"J" + struct.pack("<i", value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():
            return b"B" + struct.pack("<I", len(value)) + value
        case tuple():
            return b"(" + b"".join(map(_encode, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_encode, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_encode(key) + _encode(item) for key, item in value.items()) + b"u"
        case Name():
            return b"c" + value.text.replace(" ", "\n").encode() + b"\n"
        case Call():
            made = _encode(value.function) + _encode(value.args) + (b"\x81" if value.is_new else b"R")
            return made if value.state is None else made + _encode(value.state) + b"b"
    raise TypeError(f"{type(value)} cannot be written")


def array(cells: list, *, num_columns: int | None = None, is_fortran: bool = False, core: str = "core") -> Call:
    """Return the call that makes a numpy array of text or of whole numbers, in the order of `cells`."""
    is_number = all(type(cell) is int for cell in cells)
    dtype = _dtype("i8", "<", 0) if is_number else _dtype("O8", "|", 63)
    data = np.array(cells, dtype="<i8").tobytes() if is_number else list(cells)
    shape = (len(cells),) if num_columns is None else (num_columns, len(cells) // num_columns)
    empty = (Name("numpy ndarray"), (0,), b"b")
    return Call(Name(f"numpy.{core}.multiarray _reconstruct"), empty, (1, shape, dtype, is_fortran, data))


def buffer(cells: list[int], *, num_columns: int) -> Call:
    """Return the call that protocol 5 makes for an array of whole numbers."""
    data = np.array(cells, dtype="<i8").tobytes()
    shape = (num_columns, len(cells) // num_columns)
    return Call(Name("numpy._core.numeric _frombuffer"), (data, _dtype("i8", "<", 0), shape, "C"))


def _dtype(kind: str, byte_order: str, flags: int) -> Call:
    return Call(Name("numpy dtype"), (kind, False, True), (3, byte_order, None, None, None, -1, -1, flags))


def _strings(cells: list[str]) -> Call:
    dtype = Call(Name("pandas StringDtype"), ("python", float("nan")))
    function = Name("pandas._libs.arrays __pyx_unpickle_NDArrayBacked")
    return Call(function, (Name("pandas.arrays StringArray"), 82904607, None), (dtype, array(cells, core="_core")))


def _index(cells: list | range, name: str | None, layout: str) -> Call:
    short = "pandas " if layout == "3.0" else "pandas.core.indexes.base "
    if isinstance(cells, range):
        kind = "pandas RangeIndex" if layout == "3.0" else "pandas.core.indexes.range RangeIndex"
        values = {"name": name, "start": cells.start, "stop": cells.stop, "step": cells.step}
    else:
        is_text = layout == "3.0" and all(isinstance(cell, str) for cell in cells)
        kind = short + "Index"
        values = {"data": _strings(cells) if is_text else array(cells), "name": name}
    return Call(Name("pandas.core.indexes.base _new_Index"), (Name(kind), values))


def table(columns: dict[str, list], *, index: list | range, index_name: str | None, layout: str) -> Call:
    """Return the calls that make a table.

    Args:
        columns: Cells by column: text, whole numbers, or anything else for a column of objects.
        index: Cells of the index.
        index_name: Name of the index.
        layout: A version of `LAYOUTS`.
    """
    names = list(columns)
    is_number = {name: all(type(cell) is int for cell in cells) for name, cells in columns.items()}
    groups = [[name for name in names if is_number[name] == wanted] for wanted in (True, False)]
    axes = [_index(names, None, layout), _index(index, index_name, layout)]
    blocks = []
    for group in filter(None, groups):
        places = [names.index(name) for name in group]
        cells = [cell for name in group for cell in columns[name]]
        if layout == "3.0" and not is_number[group[0]]:
            slices = [Call(Name("builtins slice"), (place, place + 1, 1)) for place in places]
            blocks += [(_strings(columns[name]), place) for name, place in zip(group, slices, strict=True)]
        elif layout == "3.0":
            blocks.append((buffer(cells, num_columns=len(group)), array(places, core="_core")))
        else:
            blocks.append((array(cells, num_columns=len(group)), array(places)))
    frame = "pandas DataFrame" if layout == "3.0" else "pandas.core.frame DataFrame"
    key = "_data" if layout in ("0.22", "1.0") else "_mgr"
    state = {key: _manager(blocks, axes, layout), "_typ": "dataframe", "_metadata": []}
    return Call(Name(frame), (), state, is_new=True)


def _manager(blocks: list[tuple[Call, Call]], axes: list[Call], layout: str) -> Call:
    if layout in ("0.22", "1.0"):
        module = "pandas.core.internals" + ("" if layout == "0.22" else ".managers")
        new = {"axes": axes, "blocks": [{"values": values, "mgr_locs": places} for values, places in blocks]}
        # The old part before the dict is for pandas 0.13; its items are indexes of names.
        state = (axes, [values for values, _ in blocks], [axes[0] for _ in blocks], {"0.14.1": new})
        return Call(Name(f"{module} BlockManager"), (), state, is_new=True)
    if layout == "1.3":
        new_block = Name("pandas.core.internals.blocks new_block")
        make = Call(Name("functools partial"), (new_block,), (new_block, (), {"ndim": 2}, None))
        made = tuple(Call(make, (values, places)) for values, places in blocks)
    else:
        unpickle = Name("pandas._libs.internals _unpickle_block")
        made = tuple(Call(unpickle, (values, places, 2)) for values, places in blocks)
    return Call(Name("pandas.core.internals.managers BlockManager"), (made, axes))
