"""Mutated submissions: every fault is named, nothing else is raised, and what is accepted is what it says."""

import json
import zipfile

import fuzz_targets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = st.sampled_from(
    [*'"0-{},:', "", "1e999", "NaN", "null", "true", "[]", "{}", '"3, 5"', '"10"', "\ufeff", "9" * 400],
)
SCORES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**320), 10**320),
    st.sampled_from([True, False, None, "0.5", [], {}, 0, 0.5]),
)
FIELD = st.sampled_from(["verb", "noun", "action"])
UID = st.sampled_from(fuzz_targets.UIDS)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    return fuzz_targets.example_submission(tmp_path_factory.mktemp("example"))


def judge(data, folder, name="a.json"):
    return fuzz_targets.assert_submission_is_judged_rightly(data, folder / name)


def test_the_example_itself_is_read(text, tmp_path):
    assert judge(text.encode(), tmp_path) is not None
    assert judge(fuzz_targets.zipped(text), tmp_path, "a.zip") is not None


@MANY
@given(st.binary(max_size=200), st.sampled_from(["a.json", "a.zip"]))
def test_any_bytes_are_refused_or_right(tmp_path, data, name):
    judge(data, tmp_path, name)


@MANY
@given(st.data())
def test_edited_text_is_refused_or_right(text, tmp_path, data):
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 30))
    edited = text[:start] + data.draw(PIECES) + text[start + length :]
    judge(edited.encode(), tmp_path)


@MANY
@given(st.data())
def test_a_damaged_zip_is_refused_or_right(text, tmp_path, data):
    packed = bytearray(fuzz_targets.zipped(text))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(packed) - 1))
        packed[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(packed))))
    table = judge(bytes(packed[:cut]), tmp_path, "a.zip")
    if table is not None:
        assert_is_the_example(table, judge(text.encode(), tmp_path))


@MANY
@given(FIELD, UID, SCORES, st.integers(0, 9))
def test_a_changed_score_is_refused_or_read_as_it_stands(text, tmp_path, field, uid, score, place):
    document = json.loads(text)
    scores = document["results"][uid][field]
    scores[list(scores)[place]] = score
    table = judge(json.dumps(document).encode(), tmp_path)
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    if not (is_number and -1e30 <= score <= 1e30):
        assert table is None


@MANY
@given(FIELD, UID, st.text(max_size=8))
def test_another_class_key_is_refused(text, tmp_path, field, uid, key):
    document = json.loads(text)
    scores = document["results"][uid][field]
    first = next(iter(scores))
    if key in scores:
        return
    scores[key] = scores.pop(first)
    names = {f"{verb},{noun}" for verb, noun in fuzz_targets.TAXONOMY.action_pairs}
    table = judge(json.dumps(document).encode(), tmp_path)
    assert (table is None) or (field == "action" and key in names)


@MANY
@given(st.lists(st.sampled_from([*fuzz_targets.UIDS, "x", ""]), max_size=4))
def test_only_exactly_the_asked_segments_are_accepted(text, tmp_path, uids):
    entry = json.loads(text)["results"][fuzz_targets.UIDS[0]]
    head = text[: text.index('"results":')]
    results = ",".join(f"{json.dumps(uid)}:{json.dumps(entry)}" for uid in uids)
    table = judge(f'{head}"results":{{{results}}}}}'.encode(), tmp_path)
    assert (table is not None) == (sorted(uids) == sorted(fuzz_targets.UIDS))


@MANY
@given(st.lists(st.text(max_size=12), max_size=4))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_holds_the_one_file_and_nothing_else(text, tmp_path, names):
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test.json", text)
        for name in names:
            archive.writestr(zipfile.ZipInfo(name.encode("utf-8", "replace").decode() or "a"), "x")
    data = path.read_bytes()
    path.unlink()
    table = judge(data, tmp_path, "a.zip")
    assert (table is not None) == (not names)


def assert_is_the_example(table, example):
    for name in ("logits", "verb_logits", "noun_logits"):
        assert np.array_equal(getattr(table, name), getattr(example, name))
