"""The real annotation files of EPIC-KITCHENS and EGTEA against RULSTM's of the same; their sizes: test_registry.py."""

import time
from pathlib import Path

import numpy as np
import pytest

from sgear.datasets import Benchmark
from sgear.datasets.egtea import load_egtea
from sgear.datasets.epic import load_epic55, load_epic100
from sgear.datasets.rulstm import load_rulstm_egtea, load_rulstm_ek55, load_rulstm_ek100


@pytest.fixture(scope="module")
def real(real_data: Path) -> dict[str, Benchmark]:
    folders, rulstm = {100: "epic-kitchens-100-annotations", 55: "epic-kitchens-55-annotations"}, real_data / "rulstm"
    return {
        "epic100": load_epic100(real_data / folders[100]),
        "epic55": load_epic55(real_data / folders[55], rulstm / "ek55"),
        "rulstm-ek100": load_rulstm_ek100(rulstm / "ek100"),
        "rulstm-ek55": load_rulstm_ek55(rulstm / "ek55"),
    }


@pytest.mark.data
def test_real_epic100_keeps_times_classes_and_published_counts(real):
    benchmark = real["epic100"]
    first = next(iter(benchmark.validation))
    assert (first.uid, first.start_s, first.stop_s, first.verb_id, first.noun_id) == ("P01_11_0", 0.0, 1.89, 0, 2)
    assert benchmark.taxonomy.action_names[first.action_id] == "take plate"
    assert benchmark.unseen_participants == {"P18", "P32"}


@pytest.mark.data
def test_real_epic100_is_read_in_two_seconds(real_data):
    start_s = time.process_time()
    load_epic100(real_data / "epic-kitchens-100-annotations")
    assert time.process_time() - start_s < 2


@pytest.mark.data
def test_real_epic55_has_the_published_sizes(real):
    official, taxonomy = real["epic55"], real["epic55"].taxonomy
    assert {name: len(table) for name, table in official.tests.items()} == {"seen": 8047, "unseen": 2929}
    assert (official.train.num_videos, official.validation.num_videos) == (232, 40)
    assert (len(taxonomy.verbs), len(taxonomy.nouns), taxonomy.num_actions) == (125, 352, 2513)
    used = [len(np.unique(ids)) for ids in (taxonomy.verb_of_action, taxonomy.noun_of_action)]
    assert used == [119, 321]
    for name in ("epic55", "rulstm-ek55"):
        assert (len(real[name].many_shot_verb_ids), len(real[name].many_shot_noun_ids)) == (26, 71)


@pytest.mark.data
def test_no_label_of_real_epic55_is_dropped_by_the_split(real, real_data):
    path = real_data / "epic-kitchens-55-annotations" / "EPIC_train_action_labels.csv"
    uids = {line.split(",")[0] for line in path.read_text().splitlines()[1:]}
    assert {*real["epic55"].train.uids, *real["epic55"].validation.uids} == uids


@pytest.mark.data
def test_the_official_list_of_many_shot_actions_asks_for_verb_and_noun(real, real_data):
    official = real["epic55"]
    lines = (real_data / "epic-kitchens-55-annotations" / "EPIC_many_shot_actions.csv").read_text().splitlines()[1:]
    listed = {(int(line.split(",")[5]), int(line.split(",")[3])) for line in lines}
    verbs, nouns = official.many_shot_verb_ids, official.many_shot_noun_ids
    both = {(verb, noun) for verb, noun in official.taxonomy.action_pairs if verb in verbs and noun in nouns}
    assert (listed, len(listed), len(official.many_shot_ids["action"])) == (both, 819, 2265)


@pytest.mark.data
@pytest.mark.parametrize("split", [1, 2, 3])
def test_real_files_of_both_releases_agree_to_a_frame(real_data, split):
    official = load_egtea(real_data / "egtea", split=split)
    rulstm = load_rulstm_egtea(real_data / "rulstm" / "egtea", split=split)
    sizes = (8300, 2021) if split == 3 else (8299, 2022)
    people = set()
    assert official.taxonomy == rulstm.taxonomy
    assert official.taxonomy.num_actions == 106
    for part, size in zip(("train", "validation"), sizes, strict=True):
        people |= set(getattr(official, part).column("participant_id"))
        # Two pairs of clips of one action begin in the same frame, so each end is sorted for itself.
        for side in ("start_s", "stop_s"):
            keys = ["video_id", "action_id", side]
            ours, theirs = (getattr(each, part).frame.sort(keys) for each in (official, rulstm))
            assert len(ours) == size
            assert ours.select(keys[:2]).equals(theirs.select(keys[:2]))
            early_s = ours[side].to_numpy() - theirs[side].to_numpy()
            assert early_s.min() > -1e-9
            assert early_s.max() < 1 / 30 + 1e-9
    assert len(people) == 32


@pytest.mark.data
def test_real_ek100_action_ids_and_uid_lists_are_those_of_the_official_loader(real):
    official, rulstm = real["epic100"], real["rulstm-ek100"]
    assert official.taxonomy.action_pairs == rulstm.taxonomy.action_pairs
    assert official.taxonomy.action_names == rulstm.taxonomy.action_names
    for subset, masks in official.subset_masks.items():
        for field, mask in masks.items():
            ours = np.array(official.validation.uids)[mask]
            theirs = np.array(rulstm.validation.uids)[rulstm.subset_masks[subset][field]]
            assert set(ours) == set(theirs)


@pytest.mark.data
@pytest.mark.parametrize(("name", "other"), [("epic100", "rulstm-ek100"), ("epic55", "rulstm-ek55")])
def test_real_frames_of_rulstm_are_at_most_a_frame_early(real, name, other):
    official, rulstm = real[name], real[other]
    # Times of the rebuilt training file that came from frames are rounded to hundredths.
    late_s = 0.005 if "rebuilt" in official.train.origin else 0
    for name in ("train", "validation", *official.tests):
        ours, theirs = (each.tests.get(name) or getattr(each, name) for each in (official, rulstm))
        both = ours.frame.join(theirs.frame, on="uid", validate="1:1", suffix="_frame")
        assert len(both) == len(ours) == len(theirs)
        for column in ("video_id", "participant_id", "verb_id", "noun_id", "action_id"):
            assert both[column].equals(both[f"{column}_frame"])
        for column in ("start_s", "stop_s"):
            frame_s = both[f"{column}_frame"].to_numpy()
            early_s = both[column].to_numpy() - frame_s
            assert early_s.max() < 1 / 30 + 1e-9
            assert early_s[frame_s > 1 / 30].min() > -late_s - 1e-9
            assert early_s.min() > -1 / 30 - 1e-9
