"""Videos in time and on disk: what is visible when, who appears where, csv files, and builds that resume."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.datasets.epic import load_epic100
from sgear.errors import ConfigError
from sgear.kitchen import (
    TAU_A_S,
    KitchenConfig,
    build_kitchen,
    kitchen_law,
    make_world,
    step_features,
    video_path,
    write_annotations,
)
from sgear.kitchen.world import MIN_VISIBLE_S

SMALL = KitchenConfig(num_train_videos=3, num_validation_videos=2, num_participants=3, num_unseen_participants=1)
BUILT = KitchenConfig(
    num_train_videos=2,
    num_validation_videos=2,
    num_participants=3,
    num_unseen_participants=1,
    actions_per_video=2,
    height=64,
    width=96,
)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_each_action_is_visible_until_tau_a_before_the_next(seed: int) -> None:
    for video in make_world(replace(SMALL, seed=seed)).videos:
        for before, after in zip(video.segments, video.segments[1:], strict=False):
            last_seen_s = after.start_s - TAU_A_S
            assert before.start_s + MIN_VISIBLE_S <= last_seen_s + 1e-9
            assert last_seen_s < before.stop_s < after.start_s
        assert video.segments[0].start_s > TAU_A_S
        assert video.segments[-1].stop_s < video.duration_s


def test_same_seed_gives_same_world_and_other_seed_another() -> None:
    assert make_world(SMALL).digest == make_world(SMALL).digest
    assert make_world(SMALL).digest != make_world(replace(SMALL, seed=1)).digest


def test_validation_shows_seen_and_unseen_participants() -> None:
    world = make_world(KitchenConfig())
    trained = {video.participant_id for video in world.videos if video.is_train}
    validated = {video.participant_id for video in world.videos if not video.is_train}
    assert set(world.unseen_participants) == validated - trained
    assert validated & trained
    assert len({video.video_id for video in world.videos}) == len(world.videos)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"num_train_videos": 0}, "num_train_videos"),
        ({"height": 255}, "height"),
        ({"num_unseen_participants": 3}, "num_unseen_participants"),
        ({"num_validation_videos": 1}, "unseen participants need"),
    ],
)
def test_impossible_config_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changes)


def test_noiseless_features_name_the_visible_action() -> None:
    world = make_world(SMALL)
    video = world.videos[0]
    times_s, features = step_features(world, video.video_id, fps=4.0, dim=32, noise=0.0)
    vectors: dict[int, np.ndarray] = {}
    for time_s, vector in zip(times_s, features, strict=True):
        visible = [segment.action for segment in video.segments if segment.start_s <= time_s < segment.stop_s]
        if not visible:
            assert not vector.any()
            continue
        np.testing.assert_array_equal(vectors.setdefault(visible[0], vector), vector)
    known = np.stack(list(vectors.values()))
    distances = np.linalg.norm(known[:, None] - known[None], axis=2) + np.eye(len(known))
    assert distances.min() > 0.2


def test_unknown_video_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="P01_01"):
        step_features(make_world(SMALL), "P77_01")


def test_csv_files_read_by_the_epic_loader_hold_the_world(tmp_path: Path) -> None:
    world = make_world(KitchenConfig())
    write_annotations(world, tmp_path)
    loaded, law = load_epic100(tmp_path), kitchen_law()
    assert (len(loaded.train), len(loaded.validation)) == (1080, 360)
    assert loaded.unseen_participants == set(world.unseen_participants)
    names = [(loaded.taxonomy.verbs[verb], loaded.taxonomy.nouns[noun]) for verb, noun in loaded.taxonomy.action_pairs]
    found = {segment.uid: segment for table in (loaded.train, loaded.validation) for segment in table}
    for video in world.videos:
        for index, expected in enumerate(video.segments):
            segment = found.pop(f"{video.video_id}_{index}")
            assert (segment.start_s, segment.stop_s) == (expected.start_s, expected.stop_s)
            assert names[segment.action_id] == law.actions[expected.action]
            assert (segment.video_id, segment.participant_id) == (video.video_id, video.participant_id)
    assert not found
    assert loaded.tail_noun_ids
    assert np.isin(loaded.train.column("noun_id"), sorted(loaded.tail_noun_ids)).mean() <= 0.2
    first, second = (tmp_path / "EPIC_100_train.csv").read_text().splitlines()[:2]
    assert first == (
        "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,"
        "stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
    )
    assert second.startswith("P01_01_0,P01,P01_01,00:00:01.600,00:00:01.60,00:00:")


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("builds") / "kitchen"
    build_kitchen(root, BUILT, num_processes=2)
    return root


def test_build_makes_every_video_and_returns_the_world(kitchen: Path) -> None:
    world = make_world(BUILT)
    benchmark = build_kitchen(kitchen, BUILT, num_processes=1)
    assert benchmark.name == "kitchen"
    assert benchmark.train.uids[0] == "P01_01_0"
    expected = {video_path(kitchen, video) for video in world.videos}
    assert set((kitchen / "videos").rglob("*.*")) == expected
    assert video_path(kitchen, world.videos[0]) == kitchen / "videos" / "P01" / "P01_01.mp4"
    assert json.loads((kitchen / "kitchen.json").read_text())["digest"] == world.digest


def test_complete_build_is_reused(kitchen: Path) -> None:
    times_ns = {path: path.stat().st_mtime_ns for path in (kitchen / "videos").rglob("*.mp4")}
    calls: list[tuple[int, int]] = []
    build_kitchen(kitchen, BUILT, num_processes=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 4)]
    assert times_ns == {path: path.stat().st_mtime_ns for path in times_ns}


def test_interrupted_build_renders_only_what_is_missing(kitchen: Path) -> None:
    lost, kept = (video_path(kitchen, video) for video in make_world(BUILT).videos[:2])
    content, kept_ns = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    calls: list[tuple[int, int]] = []
    build_kitchen(kitchen, BUILT, num_processes=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(3, 4), (4, 4)]
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == kept_ns


def test_other_config_in_the_same_folder_is_refused(kitchen: Path) -> None:
    with pytest.raises(ConfigError, match=r"another kitchen: config, digest differ"):
        build_kitchen(kitchen, replace(BUILT, seed=1), num_processes=1)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    with pytest.raises(ConfigError, match="not of a kitchen"):
        build_kitchen(tmp_path, BUILT, num_processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["annotations"]
