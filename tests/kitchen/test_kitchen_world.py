"""Films in time: what is visible when, who appears where, and the csv round trip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from sgear.datasets.epic100 import load_epic100
from sgear.errors import ConfigError
from sgear.kitchen import KitchenConfig, make_world, step_features, world_benchmark, write_annotations
from sgear.kitchen.world import MIN_VISIBLE_S, TAU_A_S

SMALL = KitchenConfig(num_train_videos=3, num_validation_videos=2, num_participants=3, num_unseen_participants=1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_each_action_is_visible_until_tau_a_before_the_next(seed: int) -> None:
    for film in make_world(replace(SMALL, seed=seed)).films:
        for before, after in zip(film.segments, film.segments[1:], strict=False):
            last_seen_s = after.start_s - TAU_A_S
            assert before.start_s + MIN_VISIBLE_S <= last_seen_s + 1e-9
            assert last_seen_s < before.stop_s < after.start_s
        assert film.segments[0].start_s > TAU_A_S
        assert film.segments[-1].stop_s < film.duration_s


def test_same_seed_gives_same_world_and_other_seed_another() -> None:
    assert make_world(SMALL).digest == make_world(SMALL).digest
    assert make_world(SMALL).digest != make_world(replace(SMALL, seed=1)).digest


def test_validation_shows_seen_and_unseen_participants() -> None:
    world = make_world(KitchenConfig())
    trained = {film.participant_id for film in world.films if film.is_train}
    validated = {film.participant_id for film in world.films if not film.is_train}
    assert set(world.unseen_participants) == validated - trained
    assert validated & trained
    assert len({film.video_id for film in world.films}) == len(world.films)


def test_default_world_has_the_promised_size() -> None:
    benchmark = world_benchmark(make_world(KitchenConfig()))
    assert (len(benchmark.train), len(benchmark.validation)) == (1080, 360)
    assert sum(film.duration_s for film in make_world(KitchenConfig()).films) <= 2600
    assert 36 <= benchmark.taxonomy.num_actions <= 44


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


def test_csv_files_read_by_the_epic_loader_equal_the_world(tmp_path: Path) -> None:
    world = make_world(SMALL)
    write_annotations(world, tmp_path)
    loaded, expected = load_epic100(tmp_path), world_benchmark(world)
    assert loaded.taxonomy == expected.taxonomy
    assert_frame_equal(loaded.train.frame, expected.train.frame, check_exact=True)
    assert_frame_equal(loaded.validation.frame, expected.validation.frame, check_exact=True)
    for name in ("unseen_participants", "tail_verb_ids", "tail_noun_ids"):
        assert getattr(loaded, name) == getattr(expected, name)


def test_csv_columns_are_the_official_ones(tmp_path: Path) -> None:
    write_annotations(make_world(SMALL), tmp_path)
    first, second = (tmp_path / "EPIC_100_train.csv").read_text().splitlines()[:2]
    assert first == (
        "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,"
        "stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
    )
    assert second.startswith("P01_01_0,P01,P01_01,00:00:01.600,00:00:01.60,00:00:")


def test_tail_classes_hold_at_most_a_fifth_of_the_training_segments() -> None:
    benchmark = world_benchmark(make_world(KitchenConfig()))
    nouns = benchmark.train.column("noun_id")
    assert benchmark.tail_noun_ids
    assert np.isin(nouns, sorted(benchmark.tail_noun_ids)).mean() <= 0.2


def test_noiseless_features_name_the_visible_action() -> None:
    world = make_world(SMALL)
    film = world.films[0]
    times_s, features = step_features(world, film.video_id, fps=4.0, dim=32, noise=0.0)
    vectors: dict[int, np.ndarray] = {}
    for time_s, vector in zip(times_s, features, strict=True):
        visible = [segment.action for segment in film.segments if segment.start_s <= time_s < segment.stop_s]
        if not visible:
            assert not vector.any()
            continue
        np.testing.assert_array_equal(vectors.setdefault(visible[0], vector), vector)
    known = np.stack(list(vectors.values()))
    distances = np.linalg.norm(known[:, None] - known[None], axis=2) + np.eye(len(known))
    assert distances.min() > 0.2


def test_features_are_the_same_at_each_call_and_noise_differs_between_films() -> None:
    world = make_world(SMALL)
    _, first = step_features(world, "P01_01")
    _, again = step_features(world, "P01_01")
    _, other = step_features(world, "P02_01")
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:4], other[:4])


def test_unknown_film_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="P01_01"):
        step_features(make_world(SMALL), "P77_01")
