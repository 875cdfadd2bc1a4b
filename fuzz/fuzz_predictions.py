"""Coverage-guided fuzzing of the reader of prediction files.

    pip install atheris
    python fuzz/fuzz_predictions.py -max_total_time=60 [CORPUS]

The first byte of an input says what the rest is: a whole file, the header of a file without a checksum, or a text in
the header of one, given or edited. A finding is any exception but `SgearError`, a number that changed behind a
checksum, or a table that does not survive its own file.
"""

import json
import struct
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fuzz"))
with atheris.instrument_imports(include=["sgear.predictions", "sgear.taxonomy", "sgear.timing"]):
    import sgear.predictions.table  # noqa: F401

import fuzz_targets
from edits import edited

from sgear.predictions.table import FORMAT_WITHOUT_CHECKSUM

FOLDER = Path(tempfile.mkdtemp(prefix="sgear-fuzz-"))
ORIGINAL = fuzz_targets.example_table()
ORIGINAL.save(FOLDER / "original.safetensors")
SOUND = (FOLDER / "original.safetensors").read_bytes()
HEADER_BYTES = struct.unpack("<Q", SOUND[:8])[0]
HEADER = json.loads(SOUND[8 : 8 + HEADER_BYTES])
TENSORS = SOUND[8 + HEADER_BYTES :]
CHECKSUM = fuzz_targets.checksum_of(SOUND)
TEXTS = ("uids", "taxonomy", "protocol", "provenance")


def with_text(name: str, text: str) -> bytes:
    """Return the file without a checksum in which one text of the header is another."""
    metadata = HEADER["__metadata__"] | {"format": FORMAT_WITHOUT_CHECKSUM, name: text}
    header = json.dumps(HEADER | {"__metadata__": metadata}).encode()
    return fuzz_targets.safetensors_bytes(header, TENSORS)


def one_input(data: bytes) -> None:
    """Try one input."""
    if not data:
        return
    mode, rest = data[0] % 10, data[1:]
    if mode == 0:
        content = rest
    elif mode == 1:
        content = fuzz_targets.safetensors_bytes(rest, TENSORS)
    elif mode < 6:
        content = with_text(TEXTS[mode - 2], rest.decode("utf-8", "replace"))
    else:
        name = TEXTS[mode - 6]
        content = with_text(name, edited(HEADER["__metadata__"][name], rest))
    path = FOLDER / "a.safetensors"
    fuzz_targets.assert_predictions_are_read_rightly(content, path, ORIGINAL, CHECKSUM)
    path.unlink()


def main() -> None:
    """Write the seeds and start."""
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    unchecked = json.dumps(
        HEADER | {"__metadata__": HEADER["__metadata__"] | {"format": FORMAT_WITHOUT_CHECKSUM}}
    ).encode()
    seeds = [b"\x00" + SOUND, b"\x01" + unchecked]
    seeds += [bytes([index + 2]) + HEADER["__metadata__"][name].encode() for index, name in enumerate(TEXTS)]
    seeds += [b"\x04" + b'{"kind": "vjepa", "tau_a_s": 1, "tau_o_s": 4, "fps": 8}']
    seeds += [b"\x04" + b'{"kind": "recognition", "num_steps": 4}']
    seeds += [bytes([mode]) + bytes(range(start, start + 24)) for mode in range(6, 10) for start in (0, 40, 120)]
    for index, seed in enumerate(seeds):
        (corpus / f"seed-{index}").write_bytes(seed)
    atheris.Setup([*sys.argv, "-max_len=16384", str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
