"""Edits of a JSON text at places that fuzzer bytes choose: bytes alone seldom get past a parser."""

import atheris

PIECES = (
    '"', "0", "-", ".5", "1e999", "1e308", "NaN", "null", "true", "[]", "{}", "[", "]", "{", "}", ",", ":", "9", " ",
    "-9e15", "e15", "e-300", "1e30",
    '""', '"verb"', '"action"', '"results"', '"a_0"', '"0,1"', '"3, 5"', '"10"', '"0.2"', '"kind"', '"vjepa"',
    '"recognition"', '"num_steps"', "\\u0660", "\\ud800", "1" * 400, "1" * 5000, "[" * 3000, "\ufeff",
)  # fmt: skip


def edited(text: str, data: bytes) -> str:
    """Cut, copy and insert up to four times."""
    source = atheris.FuzzedDataProvider(data)
    for _ in range(source.ConsumeIntInRange(1, 4)):
        start = source.ConsumeIntInRange(0, len(text))
        stop = min(len(text), start + source.ConsumeIntInRange(0, 40))
        piece = source.PickValueInList(list(PIECES)) if source.ConsumeBool() else ""
        if source.ConsumeIntInRange(0, 3) == 0:
            piece = text[start:stop] + piece + text[start:stop]
        text = text[:start] + piece + text[stop:]
    return text
