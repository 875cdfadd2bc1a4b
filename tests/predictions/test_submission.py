"""The writer: exact order, no ties, the challenges' format. The reader: the same numbers again."""

import json
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from submission_examples import (
    EPIC55_TAXONOMY,
    EPIC100_TAXONOMY,
    document,
    epic55_table,
    epic100_table,
    save_zip,
    server_class_ranking,
    server_ranking,
    submit,
)

from sgear.errors import PredictionError
from sgear.metrics import class_mean_recall, top_k_hits
from sgear.predictions.fusion import best_first, float32_in_order
from sgear.predictions.other_code import read_submission
from sgear.predictions.submission import EPIC55, write_submission
from sgear.predictions.submission_check import check_submission
from sgear.timing import AnticipationProtocol, VJepaProtocol


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    table = epic100_table()
    path = tmp_path_factory.mktemp("submission") / "mine.zip"
    submit(table, path)
    return table, path


def read_back(path, table):
    return read_submission(
        path, uids=table.uids, taxonomy=table.taxonomy, protocol=table.protocol, targets=table.targets
    )


def test_the_zip_holds_one_flat_file_in_the_challenge_format(written):
    table, path = written
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["test.json"]
    result = document(path)
    assert {key: value for key, value in result.items() if key != "results"} == {
        "version": "0.2",
        "challenge": "action_anticipation",
        "sls_pt": 1,
        "sls_tl": 3,
        "sls_td": 4,
    }
    assert set(result["results"]) == set(table.uids)
    pairs = {f"{verb},{noun}" for verb, noun in EPIC100_TAXONOMY.action_pairs}
    for entry in result["results"].values():
        assert list(entry["verb"]) == [str(index) for index in range(97)]
        assert list(entry["noun"]) == [str(index) for index in range(300)]
        assert len(entry["action"]) == 100
        assert set(entry["action"]) <= pairs


def test_no_written_score_has_an_exponent_or_equals_another(written):
    _, path = written
    with zipfile.ZipFile(path) as archive:
        text = archive.read("test.json").decode()
    numbers = re.findall(r":(0\.[^,}\n]*)", text)
    assert len(numbers) == 7 * 497
    assert all(re.fullmatch(r"0\.[0-9]{8}", number) for number in numbers)
    for entry in document(path)["results"].values():
        for scores in entry.values():
            assert len(set(scores.values())) == len(scores)
            assert all(0 < score < 1 for score in scores.values())


def test_the_server_ranks_actions_as_the_logits_do(written):
    table, path = written
    names = [f"{verb},{noun}" for verb, noun in table.taxonomy.action_pairs]
    for uid, logits in zip(table.uids, table.logits, strict=True):
        ranking = server_ranking(document(path)["results"][uid]["action"])
        ranked = np.array([logits[names.index(name)] for name in ranking])
        assert (np.diff(ranked) <= 0).all()
        assert np.array_equal(ranked, np.sort(logits)[::-1][:100])


@pytest.mark.parametrize("field", ["verb", "noun"])
def test_the_server_ranks_verbs_and_nouns_by_summed_probabilities(written, field):
    table, path = written
    for row, uid in enumerate(table.uids):
        ranking = server_class_ranking(document(path)["results"][uid][field])
        probs = table.field_probs(field)[row]
        assert (np.diff(probs[ranking]) <= 0).all()


def test_heads_are_submitted_where_a_model_has_them(tmp_path):
    rng = np.random.default_rng(3)
    table = epic100_table(2, verb_logits=rng.standard_normal((2, 97)).astype(np.float32))
    submit(table, tmp_path / "a.zip")
    ranking = server_class_ranking(document(tmp_path / "a.zip")["results"]["P01_101_0"]["verb"])
    assert ranking == np.argsort(-table.verb_logits[0]).tolist()


def test_written_probabilities_are_those_of_the_table(written):
    table, path = written
    for row, uid in enumerate(table.uids):
        scores = document(path)["results"][uid]["noun"]
        probs = np.array([scores[str(index)] for index in range(300)])
        np.testing.assert_allclose(probs, table.field_probs("noun")[row], atol=300 * 1e-8)


def test_a_model_that_is_certain_is_written_without_the_number_1(tmp_path):
    logits = np.full((1, EPIC100_TAXONOMY.num_actions), -2000.0, dtype=np.float32)
    logits[0, 5] = 0.0
    logits[0, 9] = -900.0
    submit(epic100_table(1, logits=logits), tmp_path / "a.zip")
    actions = document(tmp_path / "a.zip")["results"]["P01_101_0"]["action"]
    names = [f"{verb},{noun}" for verb, noun in EPIC100_TAXONOMY.action_pairs]
    assert server_ranking(actions)[:2] == [names[5], names[9]]
    assert max(actions.values()) == 0.99999999


def test_equal_scores_do_not_favour_high_ids(tmp_path):
    # 140 of 150 actions are equal, in 200 segments: with ties broken by id the highest ids would always win.
    logits = np.zeros((200, EPIC100_TAXONOMY.num_actions), dtype=np.float32)
    logits[:, :10] = -5.0
    submit(epic100_table(200, logits=logits), tmp_path / "a.zip")
    names = {f"{verb},{noun}": index for index, (verb, noun) in enumerate(EPIC100_TAXONOMY.action_pairs)}
    firsts = [names[server_ranking(entry["action"])[0]] for entry in document(tmp_path / "a.zip")["results"].values()]
    assert min(firsts) >= 10
    # The mean of 200 draws from 10..149 has a standard error of 2.9.
    assert abs(np.mean(firsts) - 79.5) < 12


def test_equal_scores_go_to_the_class_that_is_frequent_in_training(tmp_path):
    counts = np.zeros(EPIC100_TAXONOMY.num_actions, dtype=np.int64)
    counts[[40, 20, 60]] = [9, 8, 7]
    logits = np.zeros((1, EPIC100_TAXONOMY.num_actions), dtype=np.float32)
    logits[0, 100] = 1.0
    submit(epic100_table(1, logits=logits), tmp_path / "a.zip", train_counts={"action": counts})
    names = [f"{verb},{noun}" for verb, noun in EPIC100_TAXONOMY.action_pairs]
    ranking = server_ranking(document(tmp_path / "a.zip")["results"]["P01_101_0"]["action"])
    assert ranking[:4] == [names[index] for index in (100, 40, 20, 60)]


def test_lots_depend_on_the_segment_and_not_on_its_row():
    scores = np.zeros((3, 50))
    forward = best_first(scores, ["a", "b", "c"], num_best=50)
    backward = best_first(scores, ["c", "b", "a"], num_best=50)
    assert np.array_equal(forward, backward[::-1])
    assert not np.array_equal(forward[0], forward[1])


def test_a_tie_across_the_last_place_is_decided_by_lot():
    scores = np.tile([5.0, 1.0, 1.0, 1.0, 1.0, 0.0], (200, 1))
    best = best_first(scores, [f"a_{row}" for row in range(200)], num_best=2)
    assert (best[:, 0] == 0).all()
    assert np.bincount(best[:, 1], minlength=6)[1:5].min() > 20


@given(st.lists(st.floats(-3, 3).map(lambda value: round(value, 1)), min_size=2, max_size=30), st.integers(1, 30))
def test_the_best_classes_come_in_falling_order(values, num_best):
    scores = np.array([values])
    best = best_first(scores, ["a"], num_best=min(num_best, len(values)))[0]
    assert scores[0, best].tolist() == sorted(values, reverse=True)[:num_best]
    assert len(set(best.tolist())) == len(best)


@given(
    st.lists(
        st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-12, 1.0 - 1e-12, 1e-20, 2e-20]), st.floats(-1e6, 1e6)),
        min_size=1,
        max_size=40,
    )
)
def test_rounding_to_float32_joins_and_parts_no_scores(values):
    scores = np.array([values])
    rounded = float32_in_order(scores)[0]
    assert rounded.dtype == np.float32
    for first, second in zip(np.sort(values), np.sort(values)[1:], strict=False):
        small = rounded[values.index(first)]
        large = rounded[values.index(second)]
        assert (small < large) if first < second else (small == large)
    np.testing.assert_allclose(rounded, values, rtol=1e-4, atol=1e-37)


def test_a_segment_with_one_score_for_everything_is_refused_by_uid(tmp_path):
    logits = epic100_table().logits.copy()
    logits[3] = 0.25
    with pytest.raises(PredictionError, match=r"1 segments .* 'P01_101_3'"):
        submit(epic100_table(logits=logits), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_table_leaves_an_older_file_alone(tmp_path):
    path = tmp_path / "a.zip"
    submit(epic100_table(2), path)
    before = path.read_bytes()
    logits = np.zeros((2, EPIC100_TAXONOMY.num_actions), dtype=np.float32)
    with pytest.raises(PredictionError, match="same score"):
        submit(epic100_table(2, logits=logits), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_equal_predictions_give_equal_files(tmp_path):
    for name in ("a.zip", "b.zip"):
        submit(epic100_table(), tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("sls", [(1, 3), (1, 3, 6), (-1, 0, 0), (True, 1, 1)])
def test_supervision_levels_are_three_integers_from_0_to_5(tmp_path, sls):
    with pytest.raises(ValueError, match=r"0\.\.5"):
        submit(epic100_table(1), tmp_path / "a.zip", sls=sls)


@pytest.mark.parametrize(
    "protocol",
    [
        AnticipationProtocol(tau_a_s=0.5, tau_o_s=10.0, fps=1.0).to_dict(),
        VJepaProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=8.0).to_dict(),
    ],
)
def test_predictions_that_saw_too_much_are_not_submitted(tmp_path, protocol):
    with pytest.raises(PredictionError, match="forbids any frame"):
        submit(epic100_table(1, protocol=protocol), tmp_path / "a.zip")


def test_another_vocabulary_is_not_submitted(tmp_path):
    with pytest.raises(PredictionError, match="97 verbs, 300 nouns"):
        submit(epic55_table(1), tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.zip.bak"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(PredictionError, match=r"\.zip or \.json"):
        submit(epic100_table(1), tmp_path / name)


def test_a_file_read_back_ranks_everything_as_before(written):
    table, path = written
    again = read_back(path, table)
    assert again.uids == table.uids
    for row in range(len(table)):
        order = np.argsort(-again.logits[row], kind="stable")[:100]
        assert np.array_equal(table.logits[row, order], np.sort(table.logits[row])[::-1][:100])
        for field, logits in (("verb", again.verb_logits), ("noun", again.noun_logits)):
            ranked = table.field_probs(field)[row][np.argsort(-logits[row])]
            assert (np.diff(ranked) <= 0).all()


def test_a_file_read_back_gives_the_same_numbers(tmp_path):
    # Without equal scores, which the writer puts apart on purpose.
    rng = np.random.default_rng(5)
    table = epic100_table(40)
    logits = (4 * rng.standard_normal((40, 150))).astype(np.float32)
    logits[np.arange(40), table.targets] += 3
    table = epic100_table(40, logits=logits)
    submit(table, tmp_path / "a.json")
    again = read_back(tmp_path / "a.json", table)
    for field in ("verb", "noun", "action"):
        scores = {name: each.field_probs(field) for name, each in (("file", again), ("table", table))}
        targets = table.field_targets(field)
        for k in (1, 5):
            assert np.array_equal(top_k_hits(scores["file"], targets, k=k), top_k_hits(scores["table"], targets, k=k))
        assert class_mean_recall(scores["file"], targets) == class_mean_recall(scores["table"], targets)


@pytest.mark.parametrize(
    "rescaled",
    [lambda score: score, lambda score: 1e-6 * score, lambda score: score - 7.0],
    ids=["as written", "small", "negative"],
)
def test_actions_outside_the_100_rank_below_whatever_the_scale(written, tmp_path, rescaled):
    table, path = written
    changed = document(path)
    for entry in changed["results"].values():
        entry["action"] = {key: rescaled(score) for key, score in entry["action"].items()}
    again = read_back(save_zip(tmp_path / "a.zip", json.dumps(changed)), table)
    for row, uid in enumerate(table.uids):
        given = changed["results"][uid]["action"]
        is_given = np.array([f"{verb},{noun}" in given for verb, noun in table.taxonomy.action_pairs])
        assert again.logits[row][is_given].min() > again.logits[row][~is_given].max()
        assert len(set(again.logits[row][~is_given].tolist())) == 1


def test_a_file_with_negative_scores_is_read_as_logits(written, tmp_path):
    table, path = written
    changed = document(path)
    for entry in changed["results"].values():
        entry["verb"] = {key: 10 * score - 3 for key, score in entry["verb"].items()}
    again = read_back(save_zip(tmp_path / "a.zip", json.dumps(changed)), table)
    first = changed["results"][table.uids[0]]["verb"]
    np.testing.assert_allclose(again.verb_logits[0], [first[str(index)] for index in range(97)], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda entry: entry["verb"].pop("7"), r"a\.zip: not a valid submission: verb: not all 97 .* 'P01_101_2'"),
        (lambda entry: entry["action"].update({"96,299": entry["action"].popitem()[1]}), "not among the known actions"),
    ],
)
def test_a_faulty_file_is_not_read(written, tmp_path, change, text):
    table, path = written
    changed = document(path)
    change(changed["results"][table.uids[2]])
    with pytest.raises(PredictionError, match=text):
        read_back(save_zip(tmp_path / "a.zip", json.dumps(changed)), table)


def test_epic55_is_two_files_of_version_01(tmp_path):
    tables = {"seen": epic55_table(1924), "unseen": epic55_table(15582)}
    write_submission(tables, tmp_path / "both.zip", EPIC55)
    write_submission(tables, tmp_path / "both", EPIC55)
    with zipfile.ZipFile(tmp_path / "both.zip") as archive:
        assert sorted(archive.namelist()) == ["seen.json", "unseen.json"]
    for split, table in tables.items():
        result = document(tmp_path / "both.zip", f"{split}.json")
        assert result == document(tmp_path / "both" / f"{split}.json")
        assert (result["version"], result["challenge"]) == ("0.1", "action_anticipation")
        assert set(result["results"]) == set(table.uids)
        entry = result["results"][table.uids[0]]
        assert [len(entry[name]) for name in ("verb", "noun", "action")] == [125, 352, 100]
        assert not check_submission(
            tmp_path / "both.zip",
            uids=table.uids,
            taxonomy=EPIC55_TAXONOMY,
            challenge=EPIC55,
            member=f"{split}.json",
        )


def test_epic55_needs_both_splits(tmp_path):
    with pytest.raises(PredictionError, match="seen, unseen"):
        write_submission({"seen": epic55_table(1924)}, tmp_path / "a.zip", EPIC55)


def test_epic55_keeps_both_files_or_none(tmp_path):
    good, bad = epic55_table(1924), epic55_table(15582)
    bad = type(bad)(**(vars(bad) | {"logits": np.zeros_like(bad.logits)}))
    with pytest.raises(PredictionError, match="same score"):
        write_submission({"seen": good, "unseen": bad}, tmp_path / "both", EPIC55)
    assert not list((tmp_path / "both").iterdir())


def test_one_split_can_be_written_for_other_programs(tmp_path):
    table = epic55_table(1)
    write_submission({"validation": table}, tmp_path / "validation.json", EPIC55)
    assert set(document(tmp_path / "validation.json")["results"]) == set(table.uids)
