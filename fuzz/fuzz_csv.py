"""Coverage-guided fuzzing of the readers of annotation files.

    pip install atheris
    python fuzz/fuzz_csv.py -max_total_time=60 [CORPUS]

The first byte of an input says who reads the rest: the csv reader, the import of own annotations, the reader of an
imported folder, or that of 50 Salads; and whether the rest is the file itself or edits of a right one. A finding is any
exception but `SgearError`, or a file that is read as something else than what stands in it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fuzz"))
with atheris.instrument_imports(include=["sgear.datasets", "sgear.segments", "sgear.taxonomy"]):
    import sgear.datasets.own
    import sgear.datasets.salads50  # noqa: F401

import csv_targets

FOLDER = Path(tempfile.mkdtemp(prefix="sgear-fuzz-"))
OWN = csv_targets.own_folder(FOLDER)
SALADS = csv_targets.salads_folder(FOLDER / "salads")
FILES = ("segments.csv", "taxonomy.json", "summary.json")
RIGHT = (
    csv_targets.OWN.encode(),
    csv_targets.LABELS.encode(),
    *((OWN / name).read_bytes() for name in FILES),
    csv_targets.SALADS.encode(),
)
PIECES = (
    *(b'"', b'""', b",", b";", b"\t", b"\n", b"\r\n", b"\r", b" ", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9"),
    *(b"nan", b"inf", b"-1", b"-0", b"1e999", b"1e5", b"0x1", b"1_0", b"1,5", b"00:00:01", b"99:59:59.99", b"9" * 400),
    *(b"train", b"validation", b"val", b"test", b"uid", b"participant", b"split", b"label", b"verb", b"noun", b"start"),
    *(b"1:30", b"\xc2\xa0", b"\xd9\xa0", b"\xf0\x9f\x8d\xb3", b"x" * 300),
    *(b"\x0b", b"\x1c", b"\xe2\x80\xa8", b"c.mp4", b"a/b", b"\\"),
    *(b"serve_salad", b"add_oil_core", b"1033338", b"[", b"{", b"[" * 3000, b"null", b"\\ud800"),
)  # fmt: skip


def edited(data: bytes, original: bytes) -> bytes:
    """Cut, copy and insert at places that the data chooses."""
    source = atheris.FuzzedDataProvider(data)
    for _ in range(source.ConsumeIntInRange(1, 4)):
        start = source.ConsumeIntInRange(0, len(original))
        stop = min(len(original), start + source.ConsumeIntInRange(0, 30))
        piece = source.PickValueInList(list(PIECES)) if source.ConsumeBool() else source.ConsumeBytes(2)
        kept = original[start:stop] if source.ConsumeBool() else b""
        original = original[:start] + kept + piece + kept + original[stop:]
    return original


def one_input(data: bytes) -> None:
    """Let the reader that the first byte names read the rest."""
    if not data:
        return
    reader, rest = data[0] % 7, data[1:]
    right = RIGHT[max(reader - 1, 0)]
    content = edited(rest, right) if data[0] >= 128 else rest
    if reader == 0:
        csv_targets.assert_csv_is_read_rightly(content, FOLDER / "rows.csv")
    elif reader <= 2:
        csv_targets.assert_own_is_judged_rightly(content, FOLDER / "rows.csv")
    elif reader <= 5:
        csv_targets.assert_folder_is_read_rightly(content, OWN, FILES[reader - 3])
    else:
        csv_targets.assert_salads_are_read_rightly(content, SALADS)


def main() -> None:
    """Fuzz, with a corpus of right files and of edits of them."""
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for reader in range(7):
        (corpus / f"file-{reader}").write_bytes(bytes([reader]) + RIGHT[max(reader - 1, 0)])
        for start in range(0, 200, 40):
            # 133 is the first number from 128 up that leaves no rest when divided by 7.
            (corpus / f"edits-{reader}-{start}").write_bytes(bytes([133 + reader, *range(start, start + 24)]))
    atheris.Setup([*sys.argv, "-max_len=4096", str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
