"""What must hold for any bytes in an annotation file: one clear error, or what a slow reader finds there.

Used by hypothesis and by fuzz/fuzz_csv.py. The slow readers are loops over the text, written apart from the code under
test.
"""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np

from sgear.datasets import Benchmark
from sgear.datasets.csv_table import read_csv
from sgear.datasets.own import check_own, import_own, load_own
from sgear.datasets.salads50 import load_salads50_raw
from sgear.errors import AnnotationError, SgearError
from sgear.files import plain
from sgear.segments import SegmentTable

OWN = """uid,participant,video,split,start,stop,verb,noun
1,ann,a,train,2,3,take,cup
2,ann,a,train,4,5.5,put,"cup, red"
3,bob,b,train,00:00:02.5,00:00:03,take,cup
4,bob,b,train,4,5,put,"cup, red"
5,cid,c,validation,0.25,3,take,cup
6,cid,c,validation,4,61.6,put,"cup, red"
7,dan,d,test,4,5,take,cup
"""
LABELS = "video,start,stop,label\n" + "".join(f"{video},{at},{at + 1},do {at}\n" for video in "abc" for at in (2, 4, 6))
SALADS = """1000000 4333813 serve_salad
1000000 2000144 add_oil_prep
2000144 3000288 add_oil_core
4000431 4333813 cut_core
"""
TICK_US = 33338.125


def rows_of(text: str) -> list[list[str]] | None:
    """Read csv by one loop over its letters; None where a quote is out of place."""
    rows, row, field = [], [], ""
    state = "start"
    for letter in [*text, ""]:
        is_end = letter in ("\r", "\n", "")
        if state == "quoted" and letter != '"':
            if letter == "":
                return None
            field += letter
        elif state == "quoted":
            state = "closed"
        elif state == "closed" and letter == '"':
            field += letter
            state = "quoted"
        elif letter == "," or is_end:
            if row or state != "start" or letter == "," or field:
                row.append(field.strip())
            field, state = "", "start"
            if is_end:
                rows += [row] if row else []
                row = []
            elif letter == ",":
                state = "next"
        elif state == "closed":
            return None
        elif state in ("start", "next") and letter == " ":
            # A line of blanks alone is a row with one empty field.
            state = "next"
        elif state in ("start", "next") and letter == '"':
            state = "quoted"
        else:
            field += letter
            state = "plain"
    return rows


def seconds_of(text: str) -> float:
    """Read seconds or HH:MM:SS.ss exactly."""
    if ":" not in text:
        return abs(float(Fraction(text)))
    hours, minutes, seconds = text.split(":")
    return float(Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds))


def assert_names(path: Path, err: SgearError) -> None:
    assert str(path) in str(err)
    str(err).encode("utf-8")


def assert_csv_is_read_rightly(data: bytes, path: Path) -> bool:
    """Write the bytes and read them as a csv; return whether they were accepted."""
    path.write_bytes(data)
    try:
        table = read_csv(path, ["uid", "video", "start"], optional=["noun"])
    except AnnotationError as err:
        assert_names(path, err)
        return False
    header, *rows = rows_of(data.decode("utf-8-sig"))
    for name in table.frame.columns:
        assert table.frame[name].to_list() == [row[header.index(name)] for row in rows]
    for read, twin in ((table.numbers, lambda text: float(Fraction(text))), (table.timestamps, seconds_of)):
        try:
            values = read("start").to_list()
        except AnnotationError as err:
            assert_names(path, err)
        else:
            assert values == [twin(row[header.index("start")]) for row in rows]
    try:
        ids = table.integers("uid", high=1000).to_list()
    except AnnotationError as err:
        assert_names(path, err)
    else:
        assert ids == [int(row[header.index("uid")]) for row in rows]
    return True


def assert_own_is_judged_rightly(data: bytes, path: Path) -> bool:
    """Write the bytes, check and import them; what is accepted must come back as it stands in the file."""
    path.write_bytes(data)
    out = path.with_name("imported")
    try:
        result = check_own(path)
    except SgearError as err:
        assert_names(path, err)
        return False
    num_lines = data.count(b"\n") + data.count(b"\r") + 1
    for problem in result.problems:
        assert str(problem).encode("utf-8").endswith(b".")
        assert problem.line is None or 1 <= problem.line <= num_lines
    written = import_own(path, out)
    assert written.problems == result.problems
    assert (written.out is not None) == result.is_accepted == out.exists()
    if not result.is_accepted:
        return False
    assert_same_as_file(load_own(out), data)
    shutil.rmtree(out)
    return True


def assert_same_as_file(benchmark: Benchmark, data: bytes) -> None:
    header, *rows = rows_of(data.decode("utf-8-sig"))
    # What Excel leaves below a table says nothing; text that looks equal is equal (`sgear.files.plain`).
    given = [
        {name: value if value.isascii() else plain(value).strip() for name, value in zip(header, row, strict=True)}
        for row in rows
        if any(value.strip() for value in row)
    ]
    tables: dict[str, SegmentTable] = {"train": benchmark.train, "validation": benchmark.validation} | benchmark.tests
    assert sum(len(table) for table in tables.values()) == len(given)
    expected = sorted(contents(row) for row in given)
    read = []
    for split, table in tables.items():
        for row in table:
            names = benchmark.taxonomy
            label = (names.verbs[row.verb_id], names.nouns[row.noun_id]) if row.action_id >= 0 else ("", "")
            person = row.participant_id if "participant" in header else ""
            wanted = split if "split" in header else ""
            read.append((row.video_id, row.start_s, row.stop_s, *label, person, wanted))
    assert sorted(read) == expected


def contents(row: dict[str, str]) -> tuple:
    label = (row["label"], row["label"]) if "label" in row else (row["verb"], row["noun"])
    times = (seconds_of(row["start"]), seconds_of(row["stop"]))
    return (row["video"], *times, *label, row.get("participant", ""), row.get("split", ""))


def own_folder(folder: Path) -> Path:
    path = folder / "own.csv"
    path.write_text(OWN)
    import_own(path, folder / "own")
    return folder / "own"


def assert_folder_is_read_rightly(data: bytes, root: Path, name: str) -> bool:
    """Put the bytes in place of one file of an imported folder: an error, or the same benchmark."""
    path = root / name
    clean, before = path.read_bytes(), load_own(root)
    path.write_bytes(data)
    try:
        after = load_own(root)
    except SgearError as err:
        # Damage to the summary is found in the files that it speaks of, too.
        assert_names(root if name == "summary.json" else path, err)
        return False
    finally:
        path.write_bytes(clean)
    assert after.taxonomy == before.taxonomy
    assert after.unseen_participants == before.unseen_participants
    for one, other in zip(
        (after.train, after.validation, *after.tests.values()),
        (before.train, before.validation, *before.tests.values()),
        strict=True,
    ):
        assert one.frame.equals(other.frame)
    return True


def salads_folder(root: Path) -> Path:
    for folder in ("activityAnnotations", "conversions", "splits_abu_farha"):
        (root / folder).mkdir(parents=True)
    low = [f"{name}_{phase}" for name in ("add_oil", "cut") for phase in ("core", "post", "prep")]
    (root / "low_level_actions.txt").write_text("\n".join(low))
    (root / "mid_level_actions.txt").write_text("add_oil\ncut\n")
    (root / "conversions" / "low_to_mid.txt").write_text("".join(f"{name} {name.rsplit('_', 1)[0]}\n" for name in low))
    (root / "splits_abu_farha" / "train.split1.bundle").write_text("rgb-01-1.txt\n")
    (root / "splits_abu_farha" / "test.split1.bundle").write_text("rgb-02-1.txt\n")
    for video in ("01-1", "02-1"):
        (root / "activityAnnotations" / f"{video}-activityAnnotation.txt").write_text(SALADS)
    return root


def assert_salads_are_read_rightly(data: bytes, root: Path) -> bool:
    """Put the bytes in place of one raw annotation: an error, or the phases that stand there."""
    path = root / "activityAnnotations" / "02-1-activityAnnotation.txt"
    path.write_bytes(data)
    try:
        low = load_salads50_raw(root, split=1, granularity="low", clock="annotations")
        load_salads50_raw(root, split=1, clock="annotations")
    except AnnotationError as err:
        assert_names(path, err)
        return False
    text = data.decode("utf-8-sig").replace("\r", "\n")
    rows = [line.split() for line in text.split("\n") if line.strip()]
    origin = min(int(start) for start, _, _ in rows)
    phases = [row for row in rows if row[2] != "serve_salad"]
    expected = sorted(round((int(start) - origin) / TICK_US) for start, _, _ in phases)
    starts = low.timeline.of_video("rgb-02-1").column("start_s") * 30
    assert np.allclose(np.sort(starts), expected)
    return True
