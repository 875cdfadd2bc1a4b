"""The same world without pictures: one vector per instant that names what a film would show.

A verb and a noun each have a fixed random direction; the vector of an instant is their sum, plus noise. Between
actions only the noise is left. A whole world takes a fraction of a second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.kitchen.law import kitchen_law
from sgear.kitchen.recipes import NOUNS, VERBS
from sgear.kitchen.world import KitchenWorld


def step_features(
    world: KitchenWorld, video_id: str, *, fps: float = 4.0, dim: int = 64, noise: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the features of one film at regular instants, the first at 0 s.

    Args:
        world: The world of the film.
        video_id: The film.
        fps: Instants per second, > 0.
        dim: Width F of the features, >= 1.
        noise: Length of the noise vectors relative to the vectors of actions, about, >= 0.

    Returns:
        Instants in seconds, [N], and features, [N F].

    Raises:
        ValueError: If the film is unknown or a setting is out of range.
    """
    if not fps > 0 or dim < 1 or not noise >= 0:
        raise ValueError(f"need fps > 0, dim >= 1 and noise >= 0, got {fps}, {dim} and {noise}")
    film = world.film(video_id)
    codes = np.random.default_rng([world.config.seed, 2]).standard_normal((len(VERBS) + len(NOUNS), dim))
    codes /= np.sqrt(2) * np.linalg.norm(codes, axis=1, keepdims=True)
    actions = kitchen_law().actions
    of_action = np.stack([codes[VERBS.index(verb)] + codes[len(VERBS) + NOUNS.index(noun)] for verb, noun in actions])

    times_s = np.arange(int(film.duration_s * fps)) / fps
    starts_s = np.array([segment.start_s for segment in film.segments])
    stops_s = np.array([segment.stop_s for segment in film.segments])
    current = np.searchsorted(starts_s, times_s + 1e-6, side="right") - 1
    is_shown = (current >= 0) & (times_s < stops_s[np.maximum(current, 0)] - 1e-6)
    shown = np.array([film.segments[index].action for index in current[is_shown]], dtype=np.int64)

    features = np.random.default_rng([film.look_seed, 3]).standard_normal((len(times_s), dim)) * noise / np.sqrt(dim)
    features[is_shown] += of_action[shown]
    return times_s, features.astype(np.float32)
