"""Class means, exemplars, and prototypes of classes that training never shows."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from sgear.errors import FeatureError, PrototypeError
from sgear.features import FeatureTable, VideoFeatures
from sgear.prototypes import VisualPrototypes, choose_exemplars, class_means, class_means_of_features
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

# take cup, take pan, wash cup, wash pan, fly kite
TAXONOMY = Taxonomy(
    verbs=("take", "wash", "fly"),
    nouns=("cup", "pan", "kite"),
    action_pairs=((0, 0), (0, 1), (1, 0), (1, 1), (2, 2)),
)


def means_by_hand(features, actions, taxonomy):
    """Loop-written twin of `class_means`; None for classes without any relative."""
    num, width = taxonomy.num_actions, len(features[0])
    own = {}
    for action in range(num):
        rows = [features[i] for i in range(len(features)) if actions[i] == action]
        if rows:
            own[action] = [sum(row[d] for row in rows) / len(rows) for d in range(width)]
    result = []
    for action in range(num):
        if action in own:
            result.append(own[action])
            continue
        parts = []
        for ids in (taxonomy.verb_of_action, taxonomy.noun_of_action):
            group = [own[other] for other in own if ids[other] == ids[action]]
            if group:
                parts.append([sum(row[d] for row in group) / len(group) for d in range(width)])
        result.append([sum(part[d] for part in parts) / len(parts) for d in range(width)] if parts else None)
    return result


@given(actions=st.lists(st.integers(-1, 4), min_size=1, max_size=30).filter(lambda ids: max(ids) >= 0))
def test_class_means_equal_those_made_by_loops(actions):
    features = torch.randn(len(actions), 3, generator=torch.Generator().manual_seed(len(actions)))
    ours = class_means(features, torch.tensor(actions), TAXONOMY, run="r")
    for vector, twin in zip(ours.vectors, means_by_hand(features.tolist(), actions, TAXONOMY), strict=True):
        if twin is not None:
            assert vector.tolist() == pytest.approx(twin, abs=1e-5)
    assert ours.num_exemplars.tolist() == [actions.count(action) for action in range(5)]


def test_clips_of_unknown_action_alone_are_refused():
    with pytest.raises(PrototypeError, match="at least one training clip of a known action"):
        class_means(torch.ones(2, 3), torch.tensor([-1, -1]), TAXONOMY, run="r")


def test_an_unseen_class_is_between_its_verb_and_its_noun():
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 8.0]])
    prototypes = class_means(features, torch.tensor([0, 0, 3]), TAXONOMY, run="r")
    # take pan: "take" is known from take cup (2, 0), "pan" from wash pan (0, 8).
    assert prototypes.vectors[1].tolist() == [1.0, 4.0]
    assert prototypes.num_exemplars.tolist() == [2, 0, 0, 1, 0]
    assert prototypes.num_filled == 3


def test_the_mean_of_siblings_weighs_classes_and_not_clips():
    features = torch.tensor([[1.0], [1.0], [1.0], [5.0]])
    prototypes = class_means(features, torch.tensor([0, 0, 0, 3]), TAXONOMY, run="r")
    assert prototypes.vectors[2].item() == 3.0


def test_a_class_without_relatives_is_near_the_mean_of_all_and_no_two_are_equal():
    taxonomy = Taxonomy.from_labels(["take_cup", "wash_pan", "fly_kite", "read_book"])
    features = torch.tensor([[10.0, 0.0, 0.0, 0.0], [0.0, 10.0, 0.0, 0.0]])
    prototypes = class_means(features, torch.tensor([0, 1]), taxonomy, run="r", seed=3)
    middle = torch.tensor([5.0, 5.0, 0.0, 0.0])
    for row in (2, 3):
        distance = (prototypes.vectors[row] - middle).norm().item()
        assert 0 < distance < 0.5
    assert not torch.equal(prototypes.vectors[2], prototypes.vectors[3])
    again = class_means(features, torch.tensor([0, 1]), taxonomy, run="r", seed=3)
    other = class_means(features, torch.tensor([0, 1]), taxonomy, run="r", seed=4)
    assert torch.equal(prototypes.vectors, again.vectors)
    assert not torch.equal(prototypes.vectors, other.vectors)


def test_permuting_clips_changes_nothing():
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    actions = torch.arange(20) % 4
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    one = class_means(features, actions, TAXONOMY, run="r")
    two = class_means(features[order], actions[order], TAXONOMY, run="r")
    torch.testing.assert_close(one.vectors, two.vectors)


def test_an_action_outside_the_vocabulary_is_refused():
    with pytest.raises(PrototypeError, match="shows action 7, but the vocabulary has 5"):
        class_means(torch.ones(1, 2), torch.tensor([7]), TAXONOMY, run="r")


def test_saved_prototypes_are_read_to_the_same_bits(tmp_path):
    path = tmp_path / "visual.safetensors"
    written = class_means(torch.randn(6, 3), torch.tensor([0, 0, 1, 2, 3, 3]), TAXONOMY, run="toy run")
    written.save(path)
    read = VisualPrototypes.load(path, TAXONOMY)
    assert torch.equal(read.vectors, written.vectors)
    assert read.num_exemplars.tolist() == [2, 1, 1, 2, 0]
    assert (read.run, read.taxonomy) == ("toy run", TAXONOMY)
    with pytest.raises(PrototypeError, match=r"only in the file: .'fly kite'"):
        VisualPrototypes.load(path, Taxonomy.from_labels(["take cup", "take pan", "wash cup", "wash pan"]))


@given(
    actions=st_numpy.arrays(np.int64, st.integers(0, 60), elements=st.integers(-1, 4)),
    most=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_each_class_has_as_many_exemplars_as_allowed_or_there_are(actions, most, seed):
    chosen = choose_exemplars(actions, max_per_class=most, seed=seed)
    for action in range(5):
        assert (chosen & (actions == action)).sum() == min(most, (actions == action).sum())
    assert not chosen[actions < 0].any()
    assert np.array_equal(chosen, choose_exemplars(actions, max_per_class=most, seed=seed))


def test_exemplars_are_drawn_from_the_whole_class_and_by_the_seed():
    actions = np.zeros(200, dtype=np.int64)
    draws = [np.flatnonzero(choose_exemplars(actions, max_per_class=5, seed=seed)) for seed in range(8)]
    assert len({tuple(draw) for draw in draws}) == 8
    assert max(draw.max() for draw in draws) > 150


def test_another_class_does_not_change_the_draw():
    actions = np.array([0] * 30 + [1] * 30)
    both = choose_exemplars(actions, max_per_class=4, seed=1)
    alone = choose_exemplars(np.where(actions == 1, -1, actions), max_per_class=4, seed=1)
    assert np.array_equal(both[:30], alone[:30])


def make_segments(rows: list[tuple[str, float, float, int]]) -> SegmentTable:
    actions = [row[3] for row in rows]
    pairs = [TAXONOMY.action_pairs[action] if action >= 0 else (-1, -1) for action in actions]
    frame = pl.DataFrame(
        {
            "uid": [f"s{index}" for index in range(len(rows))],
            "participant_id": ["p"] * len(rows),
            "video_id": [row[0] for row in rows],
            "start_s": [row[1] for row in rows],
            "stop_s": [row[2] for row in rows],
            "verb_id": [verb for verb, _ in pairs],
            "noun_id": [noun for _, noun in pairs],
            "action_id": actions,
        }
    )
    return SegmentTable(frame, TAXONOMY, origin="toy")


def make_table() -> FeatureTable:
    times_s = np.arange(10, dtype=np.float64)
    features = np.stack([times_s, -times_s], axis=1).astype(np.float32)
    return FeatureTable({"v": VideoFeatures(times_s, features, "v.npz")})


def test_stored_features_are_averaged_over_segments_and_then_over_classes():
    segments = make_segments([("v", 0.0, 3.0, 0), ("v", 5.0, 6.0, 0), ("v", 7.0, 9.0, 3)])
    prototypes = class_means_of_features(make_table(), segments, origin="toy")
    # Rows 0, 1, 2 and row 5: means 1 and 5, which weigh the same.
    assert prototypes.vectors[0].tolist() == [3.0, -3.0]
    assert prototypes.vectors[3].tolist() == [7.5, -7.5]
    assert prototypes.num_exemplars.tolist() == [2, 0, 0, 1, 0]
    assert prototypes.run == "toy"


def test_a_segment_between_two_rows_takes_the_nearest():
    prototypes = class_means_of_features(make_table(), make_segments([("v", 3.6, 3.9, 0)]), origin="toy")
    assert prototypes.vectors[0].tolist() == [4.0, -4.0]


def test_segments_of_unknown_action_are_left_out():
    segments = make_segments([("v", 0.0, 3.0, 0), ("v", 5.0, 6.0, -1)])
    assert class_means_of_features(make_table(), segments, origin="toy").num_exemplars.sum() == 1
    with pytest.raises(PrototypeError, match="no segment with a known action"):
        class_means_of_features(make_table(), make_segments([("v", 5.0, 6.0, -1)]), origin="toy")


def test_exemplars_of_stored_features_are_limited():
    segments = make_segments([("v", float(start), start + 1.0, 0) for start in range(8)])
    prototypes = class_means_of_features(make_table(), segments, origin="toy", max_exemplars=3, seed=2)
    assert prototypes.num_exemplars[0] == 3


def test_features_that_end_before_a_segment_are_refused():
    with pytest.raises(FeatureError, match=r"v\.npz: the action from 50\.000 to 51\.000 s .* cover 0\.000 to 9\.000"):
        class_means_of_features(make_table(), make_segments([("v", 50.0, 51.0, 0)]), origin="toy")
    with pytest.raises(FeatureError, match="no features of video 'w'"):
        class_means_of_features(make_table(), make_segments([("w", 0.0, 1.0, 0)]), origin="toy")


@pytest.mark.data
def test_real_features_of_50_salads_give_prototypes_that_name_their_own_rows(real_data):
    from sgear.datasets.salads50_labels import load_salads50_tcn

    salads = load_salads50_tcn(real_data / "50salads", split=1)
    prototypes = class_means_of_features(salads.features, salads.benchmark.train, origin="spatialcnn")
    assert prototypes.num_filled == 0
    assert prototypes.num_exemplars.tolist() == salads.benchmark.train.action_counts().tolist()
    unit = torch.nn.functional.normalize(prototypes.vectors - prototypes.vectors.mean(dim=0), dim=1)
    hits = []
    for segment in list(salads.benchmark.validation)[:120]:
        video = salads.features[segment.video_id]
        seen = (video.times_s >= segment.start_s) & (video.times_s < segment.stop_s)
        mean = torch.from_numpy(video.features[seen].mean(axis=0)) - prototypes.vectors.mean(dim=0)
        hits.append(int((unit @ mean).argmax()) == segment.action_id)
    # Chance is 1 in 17; these features were made to tell the actions apart.
    assert np.mean(hits) > 0.5
