"""What must hold for any bytes: one clear error, or the right numbers. Used by hypothesis and by the fuzzers in fuzz/.

The oracles here are loops over plain `json.loads`, written apart from the code under test.
"""

import io
import itertools
import json
import math
import struct
import zipfile
from pathlib import Path

import numpy as np

from sgear.errors import PredictionError, SgearError
from sgear.predictions import Predictions
from sgear.predictions.other_code import read_submission
from sgear.predictions.submission import Challenge, write_submission
from sgear.predictions.submission_check import check_submission
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

CHALLENGE = Challenge(name="small", version="0.2", splits=("test",), num_verbs=10, num_nouns=12, has_sls=True)
TAXONOMY = Taxonomy(
    verbs=tuple(f"verb {index}" for index in range(10)),
    nouns=tuple(f"noun {index}" for index in range(12)),
    action_pairs=tuple((verb, noun) for verb in range(10) for noun in range(11)),
)
UIDS = ("a_0", "a_1")
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0).to_dict()
LIMIT_BYTES = 1 << 20


def example_table() -> Predictions:
    rng = np.random.default_rng(0)
    return Predictions(
        uids=UIDS,
        logits=rng.standard_normal((2, TAXONOMY.num_actions)).astype(np.float32),
        targets=np.array([3, 50]),
        taxonomy=TAXONOMY,
        protocol=PROTOCOL,
        provenance={"model": "sgear", "seed": 1},
        verb_logits=rng.standard_normal((2, 10)).astype(np.float32),
    )


def example_submission(folder: Path) -> str:
    write_submission({"example": example_table()}, folder / "example.json", CHALLENGE, sls=(1, 3, 4))
    return (folder / "example.json").read_text()


def zipped(text: str | bytes, member: str = "test.json") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, text)
    return buffer.getvalue()


def safetensors_bytes(header: bytes, tensors: bytes) -> bytes:
    padded = header + b" " * (-len(header) % 8)
    return struct.pack("<Q", len(padded)) + padded + tensors


# --- submissions ---------------------------------------------------------------------------------------------------


def assert_submission_is_judged_rightly(data: bytes, path: Path) -> Predictions | None:
    """Write the bytes, check and read them; return what was read."""
    path.write_bytes(data)
    before = sorted(path.parent.iterdir())
    options = {"uids": UIDS, "taxonomy": TAXONOMY, "challenge": CHALLENGE, "max_bytes": LIMIT_BYTES}
    problems = check_submission(path, **options)
    for problem in problems:
        str(problem).encode("utf-8")
    errors = [problem for problem in problems if problem.level == "error"]
    try:
        table = read_submission(path, **options, protocol=PROTOCOL)
    except PredictionError as err:
        table, message = None, str(err)
        message.encode("utf-8")
        is_explained = bool(problems) or "neither probabilities nor logits" in message
        assert is_explained
    assert sorted(path.parent.iterdir()) == before
    if errors:
        assert table is None
        return None
    document = plain_document(path)
    assert_server_accepts(document)
    if table is not None:
        assert_same_order(table, document)
    return table


def plain_document(path: Path) -> dict:
    data = path.read_bytes()
    if data.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["test.json"]
            data = archive.read("test.json")
    return json.loads(data.decode("utf-8"))


def assert_server_accepts(document: dict) -> None:
    """The conditions of the official script, in order."""
    assert document["version"] == "0.2"
    assert document["challenge"] == "action_anticipation"
    for name in ("sls_pt", "sls_tl", "sls_td"):
        assert 0 <= document[name] <= 5
    results = document["results"]
    assert sorted(results) == sorted(UIDS)
    has_actions = "action" in results[UIDS[0]]
    for entry in results.values():
        for field, size in (("verb", 10), ("noun", 12)):
            assert sorted(int(key) for key in entry[field]) == list(range(size))
        assert ("action" in entry) == has_actions
        if has_actions:
            assert len(entry["action"]) == 100
            for key in entry["action"]:
                verb, noun = (int(part) for part in key.split(","))
                assert 0 <= verb < 10
                assert 0 <= noun < 12
        for scores in entry.values():
            if isinstance(scores, dict):
                for score in scores.values():
                    assert isinstance(score, (int, float))
                    assert math.isfinite(score)


def assert_same_order(table: Predictions, document: dict) -> None:
    for row, uid in enumerate(UIDS):
        entry = document["results"][uid]
        for field, logits in (("verb", table.verb_logits), ("noun", table.noun_logits)):
            assert_order([(entry[field][str(index)], value) for index, value in enumerate(logits[row].tolist())])
        action_of = {f"{verb},{noun}": index for index, (verb, noun) in enumerate(TAXONOMY.action_pairs)}
        given = {action_of[key]: score for key, score in entry["action"].items()}
        logits = table.logits[row].tolist()
        assert_order([(score, logits[action]) for action, score in given.items()])
        assert max(logits[action] for action in range(110) if action not in given) < min(
            logits[action] for action in given
        )


def assert_order(pairs: list[tuple[float, float]]) -> None:
    """Scores and logits rise together and are equal together."""
    ranked = sorted(pairs)
    for (score, logit), (next_score, next_logit) in itertools.pairwise(ranked):
        assert (logit < next_logit) if float(score) < float(next_score) else (logit == next_logit)


# --- files of predictions ------------------------------------------------------------------------------------------


def checksum_of(data: bytes) -> bytes:
    """The checksum in the header of a file that was written by `save`."""
    (num_bytes,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + num_bytes])["__metadata__"]["sha256"].encode()


def assert_predictions_are_read_rightly(
    data: bytes, path: Path, original: Predictions, checksum: bytes
) -> Predictions | None:
    """Write the bytes and load them; a file with the checksum of the original must be the original."""
    path.write_bytes(data)
    before = sorted(path.parent.iterdir())
    try:
        table = Predictions.load(path)
    except SgearError as err:
        table, message = None, str(err)
        message.encode("utf-8")
        is_located = str(path) in message
        assert is_located
    assert sorted(path.parent.iterdir()) == before
    if table is None:
        return None
    assert len(set(table.uids)) == len(table.uids) == len(table.logits) == len(table.targets)
    assert np.isfinite(table.logits).all()
    if checksum in data and b"sgear-predictions-1" not in data:
        assert_equal_tables(table, original)
    copy = path.with_name("copy.safetensors")
    table.save(copy)
    assert_equal_tables(Predictions.load(copy), table)
    copy.unlink()
    return table


def assert_equal_tables(first: Predictions, second: Predictions) -> None:
    assert first.uids == second.uids
    assert first.taxonomy == second.taxonomy
    assert json.dumps(first.protocol) == json.dumps(second.protocol)
    assert json.dumps(first.provenance) == json.dumps(second.provenance)
    for name in ("logits", "targets", "verb_logits", "noun_logits"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()
