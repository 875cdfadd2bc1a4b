"""Every fault of a submission file is named; a good file has none."""

import copy
import json
import struct
import zipfile

import pytest
from submission_examples import (
    EPIC55_TAXONOMY,
    EPIC100_TAXONOMY,
    document,
    epic55_table,
    epic100_table,
    save_zip,
    submit,
)

from sgear.predictions.other_files import Problem
from sgear.predictions.submission import EPIC55, write_submission
from sgear.predictions.submission_check import check_submission

TABLE = epic100_table(4)
FIRST, SECOND = TABLE.uids[:2]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "mine.zip"
    submit(TABLE, path)
    return path


@pytest.fixture
def changed(good, tmp_path):
    """Give a function that changes the good document and says what is found then."""

    def change_and_check(change) -> list[str]:
        result = copy.deepcopy(document(good))
        change(result)
        return problems(save_zip(tmp_path / "changed.zip", json.dumps(result)))

    return change_and_check


def found(path, **options) -> list[Problem]:
    return check_submission(path, uids=TABLE.uids, taxonomy=EPIC100_TAXONOMY, **options)


def problems(path, **options) -> list[str]:
    return [str(problem) for problem in found(path, **options)]


def test_a_written_file_has_no_problem(good):
    assert problems(good) == []


def test_a_bare_json_is_checked_like_its_zip(good, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(document(good)))
    assert problems(tmp_path / "a.json") == []


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    assert "no such file" in problems(tmp_path / "absent.zip")[0]


def test_a_json_named_zip_is_not_a_zip(good, tmp_path):
    (tmp_path / "a.zip").write_text(json.dumps(document(good)))
    assert problems(tmp_path / "a.zip") == ["a.zip is not a zip archive, whatever its name says"]


def with_other_size(data: bytes, num_more: int) -> bytes:
    changed = bytearray(data)
    place = changed.index(b"PK\x01\x02") + 24
    (size,) = struct.unpack_from("<I", changed, place)
    struct.pack_into("<I", changed, place, size + num_more)
    return bytes(changed)


def with_another_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damaged",
    [
        *(lambda data, end=end: data[:end] for end in (3, 60, 4000, -30)),
        *(lambda data, num_more=num_more: with_other_size(data, num_more) for num_more in (-1, 1, 5_000_000)),
        with_another_bit,
    ],
)
def test_a_zip_that_is_cut_or_states_another_size_or_checksum_is_damaged(good, tmp_path, damaged):
    (tmp_path / "a.zip").write_bytes(damaged(good.read_bytes()))
    assert "damaged zip" in problems(tmp_path / "a.zip")[0]


def test_a_file_inside_a_folder_must_lie_flat(good, tmp_path):
    path = save_zip(tmp_path / "a.zip", json.dumps(document(good)), member="mine/test.json")
    assert problems(path)[0] == "the zip has no test.json; it is inside a folder ('mine/test.json'), but must lie flat"


def test_other_members_and_names_that_leave_the_folder_are_named(good, tmp_path):
    path = save_zip(tmp_path / "a.zip", json.dumps(document(good)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil", "x")
        archive.writestr("notes.txt", "x")
    text = " | ".join(problems(path))
    assert "1 names that point outside its folder, e.g. '../../evil'" in text
    assert "2 entries besides test.json: '../../evil', 'notes.txt'" in text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_named(good, tmp_path):
    path = save_zip(tmp_path / "a.zip", "{}")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("test.json", json.dumps(document(good)))
    assert problems(path) == ["the zip has 2 entries of the name 'test.json'"]


def test_files_over_the_limit_are_not_read(good, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(document(good)))
    for path in (good, tmp_path / "a.json"):
        assert "more than 1000" in problems(path, max_bytes=1000)[0]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not JSON"),
        (b'{"version": "0.2", "resul', "line 1, column 20; is it truncated?"),
        (b"[1, 2]", "the file holds a list, not an object"),
        (b"null", "the file holds null"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "cannot be read"),
        (b'\xef\xbb\xbf{"version": "0.2"}', "byte order mark"),
    ],
    ids=["empty", "truncated", "list", "null", "encoding", "deep", "long number", "bom"],
)
def test_what_is_not_a_json_object_is_said_to_be_none(tmp_path, data, text):
    (tmp_path / "a.json").write_bytes(data)
    assert text in " | ".join(problems(tmp_path / "a.json")).replace("not JSON that can be read", "cannot be read")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.pop("version"), "'version' is missing; it must be '0.2'"),
        (lambda d: d.update(version="0.1"), "'version' is '0.1'; it must be the text '0.2'"),
        (lambda d: d.update(version=0.2), "'version' is 0.2; it must be the text '0.2'"),
        (lambda d: d.update(challenge="action_recognition"), "'challenge' is 'action_recognition'; it must be"),
        (lambda d: d.pop("sls_tl"), "'sls_tl' is missing; state the supervision level"),
        (lambda d: d.update(sls_pt=6), "'sls_pt' is 6; supervision levels are integers in 0..5"),
        (lambda d: d.update(sls_pt=True), "'sls_pt' is true"),
        (lambda d: d.update(sls_td="3"), "'sls_td' is '3'"),
        (lambda d: d.update(sls_td=2.5), "'sls_td' is 2.5"),
        (lambda d: d.pop("results"), "'results' is missing"),
        (lambda d: d.update(results=[1]), "'results' is a list, no object"),
    ],
)
def test_faults_of_the_head_are_named(changed, change, text):
    assert changed(change)[0].startswith(text)


def test_missing_and_unexpected_segments_are_counted(changed):
    def change(result):
        result["results"]["P99_1"] = result["results"].pop(FIRST)
        del result["results"][SECOND]

    assert changed(change) == [
        f"the narration id is missing (2 segments: '{FIRST}', '{SECOND}')",
        "the narration id is not one of this split (1 segments: 'P99_1')",
    ]


def test_a_file_of_another_split_is_only_said_to_be_that(good):
    result = check_submission(good, uids=["P02_1", "P02_2"], taxonomy=EPIC100_TAXONOMY)
    assert [problem.num_segments for problem in result] == [2, 4]


def entry_change(field, change):
    return lambda result: change(result["results"][SECOND][field])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (entry_change("verb", lambda s: s.pop("5")), "verb: not all 97 classes have a score, e.g. 5 has none"),
        (entry_change("noun", lambda s: s.update({"300": 0.1})), "noun: a class is outside 0..299, e.g. 300"),
        (entry_change("verb", lambda s: s.update({"05": 0.1})), "verb: a class is not a plain number, e.g. '05'"),
        (
            entry_change("verb", lambda s: s.update({"5": "0.1"})),
            "verb: a score is not a number, e.g. '0.1' of class '5'",
        ),
        (
            entry_change("verb", lambda s: s.update({"5": True})),
            "verb: a score is not a number, e.g. true of class '5'",
        ),
        (entry_change("noun", lambda s: s.update({"5": None})), "noun: a score is not a number, e.g. null"),
        (entry_change("noun", lambda s: s.update({"5": float("nan")})), "noun: a score is not finite, e.g. nan"),
        (entry_change("noun", lambda s: s.update({"5": float("-inf")})), "noun: a score is not finite, e.g. -inf"),
        (entry_change("noun", lambda s: s.update({"5": 10**400})), "noun: a score is not a number, e.g. a huge number"),
        (entry_change("verb", lambda s: s.update(dict.fromkeys(s, 0.5))), "verb: all scores are equal"),
        (entry_change("action", lambda s: s.update(dict.fromkeys(s, 0))), "action: all scores are equal"),
        (entry_change("action", lambda s: s.popitem()), "action: there must be exactly 100 scores, e.g. 99"),
        (entry_change("action", lambda s: s.clear()), "action: there must be exactly 100 scores, e.g. 0"),
        (lambda d: d["results"].update({SECOND: 3}), "the entry is no object with 'verb', 'noun' and 'action', but a"),
        (lambda d: d["results"][SECOND].pop("noun"), "'noun' is missing"),
        (lambda d: d["results"][SECOND].pop("action"), "'action' is missing, though other segments have it"),
        (lambda d: d["results"][SECOND].update(verb=[0.5] * 97), "verb: the scores are no object, but a list"),
    ],
)
def test_faults_of_an_entry_are_named_with_the_segment(changed, change, text):
    result = changed(change)
    assert len(result) == 1
    assert result[0].startswith(text)
    assert result[0].endswith(f"(1 segments: '{SECOND}')")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("3, 5", "action: a key is not 'verb,noun', e.g. '3, 5'; write '3,5' without blanks"),
        ("03,5", "action: a key is not 'verb,noun', e.g. '03,5'"),
        ("35", "action: a key is not 'verb,noun', e.g. '35'"),
        ("-1,5", "action: a key is not 'verb,noun', e.g. '-1,5'"),
        ("\u0663,5", "action: a key is not 'verb,noun', e.g. '\\u0663,5'"),
        ("97,5", "action: a verb or noun is outside the vocabulary, e.g. '97,5'"),
        ("5,300", "action: a verb or noun is outside the vocabulary, e.g. '5,300'"),
        ("96,299", "action: a pair is not among the known actions and can hardly be right, e.g. '96,299'"),
    ],
)
def test_keys_of_actions_are_pairs_of_the_vocabulary(changed, key, text):
    def change(scores):
        scores[key] = scores.pop(next(iter(scores)))

    result = changed(entry_change("action", change))
    assert len(result) == 1
    assert result[0].startswith(text)


def test_the_same_fault_of_many_segments_is_one_sentence(changed):
    def change(result):
        for uid in TABLE.uids:
            del result["results"][uid]["verb"]["96"]

    assert changed(change) == [
        "verb: not all 97 classes have a score, e.g. 96 has none "
        "(4 segments: 'P01_101_0', 'P01_101_1', 'P01_101_2', ...)"
    ]


def test_all_faults_are_named_at_once(changed):
    def change(result):
        result["version"] = "0.1"
        del result["sls_pt"]
        del result["results"][FIRST]
        result["results"][SECOND]["verb"]["0"] = float("inf")
        del result["results"][SECOND]["verb"]["1"]
        result["results"][SECOND]["action"]["1,2,3"] = 0.5

    assert len(changed(change)) == 6 + 1


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"verb":{"0":', '"verb":{"1":', "verb: a class occurs twice, e.g. '1'"),
        (f'"{FIRST}":', f'"{SECOND}":', f"the narration id occurs twice (1 segments: '{SECOND}')"),
        ('"version":', '"challenge":"x","version":', "the key 'challenge' occurs twice"),
        ('"noun":{', '"verb":{', "the key 'verb' occurs twice in the entry"),
    ],
)
def test_keys_that_occur_twice_are_named(good, tmp_path, old, new, text):
    with zipfile.ZipFile(good) as archive:
        written = archive.read("test.json").decode()
    path = save_zip(tmp_path / "a.zip", written.replace(old, new, 1))
    assert any(problem.startswith(text) for problem in problems(path))


def test_a_file_without_actions_is_only_warned_about(good, tmp_path):
    result = document(good)
    for entry in result["results"].values():
        del entry["action"]
    path = save_zip(tmp_path / "a.zip", json.dumps(result))
    assert [problem.level for problem in found(path)] == ["warning"]
    assert "product of verb and noun" in problems(path)[0]


def test_a_tie_at_the_fifth_rank_is_warned_about(good, tmp_path):
    result = document(good)
    scores = result["results"][FIRST]["verb"]
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    scores[ranked[5]] = scores[ranked[4]]
    path = save_zip(tmp_path / "a.zip", json.dumps(result))
    assert [problem.level for problem in found(path)] == ["warning"]
    assert problems(path)[0].startswith("verb: ranks 5 and 6 have equal scores")


def test_what_a_terminal_cannot_print_is_escaped(changed):
    text = changed(lambda d: d["results"].update({"\ud800\x1b[31m" + "x" * 100: {}}))[0]
    assert text.isprintable()
    assert len(text) < 200


def test_the_zip_of_epic55_has_two_members(tmp_path):
    tables = {"seen": epic55_table(1924), "unseen": epic55_table(15582)}
    write_submission(tables, tmp_path / "a.zip", EPIC55)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        seen = archive.read("seen.json").decode()
    result = check_submission(
        save_zip(tmp_path / "half.zip", seen, member="seen.json"),
        uids=tables["seen"].uids,
        taxonomy=EPIC55_TAXONOMY,
        challenge=EPIC55,
        member="seen.json",
    )
    assert [str(problem) for problem in result] == ["the zip has no unseen.json"]


def test_the_vocabulary_must_be_the_challenges(good):
    with pytest.raises(ValueError, match="97 verbs and 300 nouns"):
        check_submission(good, uids=TABLE.uids, taxonomy=EPIC55_TAXONOMY)
