"""Coverage-guided fuzzing of the submission checker and reader.

    pip install atheris
    python fuzz/fuzz_submission.py -max_total_time=60 [CORPUS]

The first byte of an input says what the rest is: a bare JSON, the text of a `test.json` in a sound zip, a whole zip, or
edits of a sound submission. A finding is any exception but `SgearError`, or an accepted file with another order.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fuzz"))
with atheris.instrument_imports(include=["sgear.predictions"]):
    import sgear.predictions.other_code  # noqa: F401

import fuzz_targets
from edits import edited

FOLDER = Path(tempfile.mkdtemp(prefix="sgear-fuzz-"))
EXAMPLE = fuzz_targets.example_submission(FOLDER)


def one_input(data: bytes) -> None:
    """Try one input."""
    if not data:
        return
    mode, rest = data[0] % 4, data[1:]
    if mode == 0:
        name, content = "a.json", rest
    elif mode == 1:
        name, content = "a.zip", fuzz_targets.zipped(rest)
    elif mode == 2:
        name, content = "a.zip", rest
    else:
        name, content = "a.json", edited(EXAMPLE, rest).encode("utf-8", "surrogatepass")
    fuzz_targets.assert_submission_is_judged_rightly(content, FOLDER / name)
    (FOLDER / name).unlink()


def main() -> None:
    """Write the seeds and start."""
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    small = '{"version":"0.2","challenge":"action_anticipation","sls_pt":1,"results":{"a_0":{"verb":{"0":0.5}}}}'
    seeds = [b"\x00" + EXAMPLE.encode(), b"\x01" + EXAMPLE.encode(), b"\x02" + fuzz_targets.zipped(EXAMPLE)]
    seeds += [b"\x00" + small.encode(), b"\x01" + small.encode(), b"\x02" + fuzz_targets.zipped(small)]
    seeds += [b"\x03" + bytes(range(start, start + 24)) for start in range(0, 200, 40)]
    for index, seed in enumerate(seeds):
        (corpus / f"seed-{index}").write_bytes(seed)
    atheris.Setup([*sys.argv, "-max_len=8192", str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
