"""The law of the kitchen: which action follows which past, exactly, and what the best possible predictor reaches.

All recipes together are one finite Markov chain over (goal, position in the recipe); each state emits one action. The
end of a recipe leads to the start of a freshly drawn one, so a video is an endless stream of recipes that the camera
cuts at a number of actions that has nothing to do with them. The forward algorithm on this chain gives the posterior
of the next action; no better prediction from perfectly recognised past actions exists. On a finite table a lucky model
may still pass this Bayes ceiling by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sgear.errors import AnnotationError
from sgear.kitchen.recipes import END, NOUNS, VERBS, Act, Continuation, compile_node, recipes
from sgear.metrics.class_means import mean_of_present, mean_per_class
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy


class KitchenLaw:
    """The stochastic grammar of the kitchen as a hidden Markov chain with one action per state.

    Attributes:
        actions: (verb, noun) of each action, sorted by verb and noun; positions are the ids used here.
        action_of_state: Action of each state, [N].
        initial: Distribution of the first state of an episode, [N].
        transitions: Distribution of the next state, [N N]; the end of an episode leads on by `initial`.
        end: Probability that the episode ends after the state, [N].
    """

    def __init__(self) -> None:
        emitted: list[Act] = []
        follows: list[Continuation] = []
        entries: list[tuple[float, Continuation]] = []
        for _, prior, program in recipes():
            known: dict[tuple[Act, Continuation], int] = {}

            def new_state(act: Act, after: Continuation, known: dict = known) -> int:
                state = known.setdefault((act, after), len(emitted))
                if state == len(emitted):
                    emitted.append(act)
                    follows.append(after)
                return state

            entries.append((prior, compile_node(program, ((END, 1.0),), new_state)))

        order = {(verb, noun): (VERBS.index(verb), NOUNS.index(noun)) for verb in VERBS for noun in NOUNS}
        self.actions = tuple(sorted({(act.verb, act.noun) for act in emitted}, key=order.__getitem__))
        self.action_ids = {pair: action for action, pair in enumerate(self.actions)}
        self.action_of_state = np.array([self.action_ids[act.verb, act.noun] for act in emitted])
        num_states = len(emitted)
        self.initial = np.zeros(num_states)
        for prior, entry in entries:
            for state, probability in entry:
                self.initial[state] += prior * probability
        self.initial /= self.initial.sum()
        self.end = np.zeros(num_states)
        self._inside = np.zeros((num_states, num_states))
        for state, after in enumerate(follows):
            for target, probability in after:
                if target == END:
                    self.end[state] = probability
                else:
                    self._inside[state, target] = probability
        self.transitions = self._inside + np.outer(self.end, self.initial)

    def next_action_posteriors(self, actions: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float64]:
        """Filter one video: the distribution of each action given all actions before it.

        Args:
            actions: Action ids of a video in order, [M]. A video starts at the start of an episode.

        Returns:
            Array [M + 1, A]: row i is the posterior of action i given actions 0..i-1; the last row is the future.

        Raises:
            ValueError: If the law cannot produce these actions; names the first impossible one.
        """
        predicted = self.initial
        rows = [self._action_probabilities(predicted)]
        for position, action in enumerate(actions):
            # Few states emit one action, so only their rows of the transitions are needed.
            states = np.flatnonzero(self.action_of_state == action)
            likelihood = predicted[states].sum()
            if likelihood <= 0:
                name = " ".join(self.actions[action]) if 0 <= action < len(self.actions) else f"id {action}"
                raise ValueError(f"the kitchen's law cannot produce action {position} of the video, {name!r}")
            predicted = (predicted[states] / likelihood) @ self.transitions[states]
            rows.append(self._action_probabilities(predicted))
        return np.stack(rows)

    def _action_probabilities(self, states: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self.action_of_state, states, len(self.actions)).astype(np.float64)

    def sample_video(self, num_actions: int, rng: np.random.Generator) -> list[int]:
        """Draw the first `num_actions` actions of an endless stream of episodes."""
        actions: list[int] = []
        while len(actions) < num_actions:
            state = int(rng.choice(len(self.initial), p=self.initial))
            actions.append(int(self.action_of_state[state]))
            while rng.random() >= self.end[state]:
                inside = self._inside[state]
                state = int(rng.choice(len(inside), p=inside / inside.sum()))
                actions.append(int(self.action_of_state[state]))
        return actions[:num_actions]


@lru_cache(maxsize=1)
def kitchen_law() -> KitchenLaw:
    """Return the one law of the kitchen; compiled at the first call, then shared. Do not change its arrays."""
    return KitchenLaw()


@dataclass(frozen=True)
class KitchenScores:
    """Realised results of a predictor on a table, each in [0, 1]."""

    top1: float
    top5: float
    class_mean_recall5: float


def bayes_scores(segments: SegmentTable) -> NDArray[np.float64]:
    """Return the posterior of each segment's action given all actions before it in its video.

    Args:
        segments: Whole kitchen videos: every action of a video from its first one on.

    Returns:
        Array [M, A] in the order of the table and the ids of its taxonomy. Rows sum to 1 less what the law gives to
        actions that the taxonomy lacks.

    Raises:
        AnnotationError: If an action or a video cannot come from the kitchen's law.
    """
    law = kitchen_law()
    law_ids = _law_ids(segments.taxonomy)
    actions = segments.column("action_id")
    if (actions < 0).any():
        raise AnnotationError(f"{segments.origin}: the Bayes ceiling needs a class for every segment; some have none")
    video_ids, starts_s = segments.column("video_id"), segments.column("start_s")
    posteriors = np.empty((len(segments), len(law_ids)))
    for video_id in segments.video_ids:
        rows = np.flatnonzero(video_ids == video_id)
        rows = rows[np.argsort(starts_s[rows], kind="stable")]
        try:
            of_video = law.next_action_posteriors(law_ids[actions[rows]])[:-1]
        except ValueError as err:
            raise AnnotationError(
                f"{segments.origin}: video {video_id}: {err}. Give whole videos, from their first action on, "
                "of this version of the kitchen."
            ) from err
        posteriors[rows] = of_video[:, law_ids]
    return posteriors


def recall_ranking(posteriors: NDArray[np.float64], class_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Turn posteriors into the ranking that is best for class-mean recall at any k.

    Class-mean recall gives a hit on a segment of class c the value 1 / n_c, with n_c the segments of that class. The
    expected value of guessing c for segment i is thus p_i(c) / n_c, and a guess list is best when it holds the k
    largest of these. A class that is absent from the table has no recall, so guessing it is worth nothing. Using
    the table's own counts makes this an upper bound: a model does not know them.

    Args:
        posteriors: Probabilities, [M, A].
        class_counts: Segments of each class in the evaluated table, [A].

    Returns:
        Ranking scores, [M, A]; higher is better.
    """
    return np.where(class_counts > 0, posteriors / np.maximum(class_counts, 1), 0.0)


def bayes_ceiling(segments: SegmentTable) -> KitchenScores:
    """Return what the Bayes predictor reaches on a table of whole kitchen videos.

    Accuracy uses the posterior, class-mean recall@5 the ranking of `recall_ranking`.

    Raises:
        AnnotationError: If an action or a video cannot come from the kitchen's law.
    """
    posteriors = bayes_scores(segments)
    return _realised(posteriors, recall_ranking(posteriors, segments.action_counts()), segments)


def frequency_baseline(train: SegmentTable, segments: SegmentTable) -> KitchenScores:
    """Return what guessing the commonest training actions reaches, the same guesses for every segment.

    Raises:
        ValueError: If the tables have different taxonomies.
    """
    if train.taxonomy.digest != segments.taxonomy.digest:
        raise ValueError(f"{train.origin} and {segments.origin} have different taxonomies")
    ranking = np.tile(train.action_counts().astype(np.float64), (len(segments), 1))
    return _realised(ranking, ranking, segments)


def _law_ids(taxonomy: Taxonomy) -> NDArray[np.int64]:
    known = kitchen_law().action_ids
    names = [(taxonomy.verbs[verb], taxonomy.nouns[noun]) for verb, noun in taxonomy.action_pairs]
    unknown = [" ".join(name) for name in names if name not in known]
    if unknown:
        raise AnnotationError(f"the Bayes ceiling is known for the kitchen's own actions only, not for {unknown[:5]}")
    return np.array([known[name] for name in names], dtype=np.int64)


def _realised(
    ranking: NDArray[np.float64], recall_scores: NDArray[np.float64], segments: SegmentTable
) -> KitchenScores:
    targets = segments.column("action_id")
    recalled = mean_per_class(_hits(recall_scores, targets, 5), targets, segments.taxonomy.num_actions)
    return KitchenScores(
        top1=float(_hits(ranking, targets, 1).mean()),
        top5=float(_hits(ranking, targets, 5).mean()),
        class_mean_recall5=mean_of_present(recalled),
    )


def _hits(scores: NDArray[np.float64], targets: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (best == targets[:, None]).any(axis=1)
