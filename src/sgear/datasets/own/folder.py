"""The folder that an import writes and a training run reads: `segments.csv`, `taxonomy.json`, `summary.json`.

`summary.json` holds checksums of the other two, so that a folder that was edited or damaged is refused and never
read as something else. `segments.csv` has the columns of an own csv, so it can be edited elsewhere and imported again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.csv_table import read_csv, read_text
from sgear.datasets.own.rows import SPLITS, WRITTEN_IDS, OwnRow, OwnTable
from sgear.errors import AnnotationError
from sgear.segments import UNKNOWN_ACTION, SegmentTable
from sgear.taxonomy import Taxonomy

SEGMENTS, TAXONOMY, SUMMARY = "segments.csv", "taxonomy.json", "summary.json"
FORMAT = 1
_REMEDY = "Import the csv again with 'sgear data import'."


def make_taxonomy(rows: Sequence[OwnRow]) -> Taxonomy:
    """Return the classes of the rows, sorted by name, so that ids do not depend on the order of rows.

    A label is a class with a verb and a noun of the same name: a label is not taken apart.
    """
    classes = sorted({row.names for row in rows if row.names})
    verbs = tuple(sorted({names[0] for names in classes}))
    nouns = tuple(sorted({names[-1] for names in classes}))
    verb_ids, noun_ids = ({name: index for index, name in enumerate(names)} for names in (verbs, nouns))
    pairs = sorted((verb_ids[names[0]], noun_ids[names[-1]]) for names in classes)
    labels = tuple(verbs[verb] for verb, _ in pairs) if all(len(names) == 1 for names in classes) else ()
    return Taxonomy(verbs=verbs, nouns=nouns, action_pairs=tuple(pairs), action_names=labels)


def write_folder(table: OwnTable, taxonomy: Taxonomy, summary: dict, out: Path) -> None:
    """Write the folder with its checksums and a JSON-ready summary, or nothing at all."""
    check_free(out)
    segments = _segments_text(table, taxonomy).encode()
    classes = (json.dumps(taxonomy.to_dict(), indent=1, ensure_ascii=False) + "\n").encode()
    sums = {SEGMENTS: hashlib.sha256(segments).hexdigest(), TAXONOMY: hashlib.sha256(classes).hexdigest()}
    whole = json.dumps({"format": FORMAT, "sha256": sums, **summary}, indent=1) + "\n"
    part = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        try:
            for name, content in ((SEGMENTS, segments), (TAXONOMY, classes), (SUMMARY, whole.encode())):
                (part / name).write_bytes(content)
            if out.is_dir():
                out.rmdir()
            part.rename(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as err:
        raise AnnotationError(f"{out}: cannot be written ({err.strerror}). Choose another folder.") from err


def check_free(out: Path) -> None:
    """Raise AnnotationError if there is something at `out` already."""
    try:
        is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    except OSError as err:
        raise AnnotationError(f"{out}: cannot be looked into ({err.strerror}). Choose another folder.") from err
    if not is_free:
        raise AnnotationError(f"{out}: exists already. Choose another folder, or delete this one first.")


def _segments_text(table: OwnTable, taxonomy: Taxonomy) -> str:
    """Return the rows as csv: every row with a uid, a split and its ids."""
    people = ["participant"] if table.has_participants else []
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["uid", *people, "video", "split", "start", "stop", *table.style, *WRITTEN_IDS])
    verb_ids, noun_ids = ({name: idx for idx, name in enumerate(names)} for names in (taxonomy.verbs, taxonomy.nouns))
    for row, uid in zip(table.rows, _uids(table.rows), strict=True):
        person = [row.participant] if table.has_participants else []
        names, ids = [""] * len(table.style), [UNKNOWN_ACTION] * 3
        if row.names:
            pair = verb_ids[row.names[0]], noun_ids[row.names[-1]]
            names, ids = [*row.names], [*pair, taxonomy.action_of_pair[pair]]
        writer.writerow([uid, *person, row.video, row.split, repr(row.start_s), repr(row.stop_s), *names, *ids])
    return stream.getvalue()


def _uids(rows: Sequence[OwnRow]) -> list[str]:
    """Return the uid of each row: its own, else the video and the place of the row in it by time."""
    order = sorted(range(len(rows)), key=lambda index: (rows[index].video, rows[index].start_s, rows[index].stop_s))
    uids = [row.uid for row in rows]
    seen: dict[str, int] = {}
    for index in order:
        video = rows[index].video
        uids[index] = uids[index] or f"{video}_{seen.get(video, 0)}"
        seen[video] = seen.get(video, 0) + 1
    return uids


def load_own(root: Path) -> Benchmark:
    """Read a folder that `import_own` wrote; where the csv named no participants, each video is one of its own.

    Raises:
        AnnotationError: If a file is missing, or is not as it was written.
    """
    if not root.is_dir():
        raise AnnotationError(
            f"{root}: no such folder of an imported csv. Name the folder where it lies now (dataset.root=FOLDER, or "
            "--root), or import the csv with 'sgear data import'."
        )
    summary_path, segments_path, taxonomy_path = (root / name for name in (SUMMARY, SEGMENTS, TAXONOMY))
    summary = _read_json(summary_path)
    if summary.get("format") != FORMAT:
        raise AnnotationError(f"{summary_path}: expected format {FORMAT}, got {summary.get('format')!r}. {_REMEDY}")
    sums = summary.get("sha256")
    for path in (segments_path, taxonomy_path):
        found = hashlib.sha256(read_text(path, remedy=_REMEDY).encode()).hexdigest()
        if not isinstance(sums, dict) or found != sums.get(path.name):
            raise AnnotationError(f"{path}: the file is not as it was written. {_REMEDY}")
    taxonomy = Taxonomy.from_dict(_read_json(taxonomy_path))
    columns = ["uid", "video", "split", "start", "stop", *WRITTEN_IDS]
    table = read_csv(segments_path, columns, optional=["participant"], remedy=_REMEDY)
    has_participants = "participant" in table.frame.columns
    frame = pl.DataFrame(
        {
            "uid": table.text("uid"),
            "participant_id": table.text("participant" if has_participants else "video"),
            "video_id": table.text("video"),
            "start_s": table.numbers("start"),
            "stop_s": table.numbers("stop"),
            **{name: table.frame[name].cast(pl.Int64) for name in WRITTEN_IDS},
        }
    )
    tables = {}
    for split in SPLITS:
        is_in = table.frame["split"] == split
        rows, lines = frame.filter(is_in), table.lines.filter(is_in)
        tables[split] = SegmentTable(rows, taxonomy, origin=str(segments_path), lines=lines)
    trained, validated = (set(tables[split].column("participant_id")) for split in ("train", "validation"))
    return Benchmark(
        name=root.resolve().name,
        taxonomy=taxonomy,
        train=tables["train"],
        validation=tables["validation"],
        unseen_participants=frozenset(validated - trained) if has_participants else frozenset(),
        tests={"test": tables["test"]} if len(tables["test"]) else {},
    )


def _read_json(path: Path) -> dict:
    try:
        values = json.loads(read_text(path, remedy=_REMEDY))
    except (ValueError, RecursionError) as err:
        raise AnnotationError(f"{path}: is no JSON ({err}). {_REMEDY}") from err
    if not isinstance(values, dict):
        raise AnnotationError(f"{path}: expected a JSON object, got {type(values).__name__}. {_REMEDY}")
    return values
