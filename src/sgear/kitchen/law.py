"""The law of the kitchen: which action follows which past, exactly.

All recipes together are one finite Markov chain over (goal, position in the recipe); each state emits one action. The
end of a recipe leads to the start of a freshly drawn one, so a film is an endless stream of recipes that the camera
cuts at a number of actions that has nothing to do with them. The forward algorithm on this chain gives the posterior
of the next action; no better prediction from perfectly recognised past actions exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sgear.kitchen.grammar import END, Act, Continuation, compile_node
from sgear.kitchen.recipes import NOUNS, VERBS, recipes


class KitchenLaw:
    """The stochastic grammar of the kitchen as a hidden Markov chain with one action per state.

    Attributes:
        actions: (verb, noun) of each action, sorted by verb and noun; positions are the ids used here.
        goals: Name of each recipe.
        goal_of_state: Goal of each state, [N].
        action_of_state: Action of each state, [N].
        initial: Distribution of the first state of an episode, [N].
        transitions: Distribution of the next state, [N N]; the end of an episode leads on by `initial`.
        end: Probability that the episode ends after the state, [N].
    """

    def __init__(self) -> None:
        emitted: list[Act] = []
        follows: list[Continuation] = []
        goal_of_state: list[int] = []
        entries: list[tuple[float, Continuation]] = []
        programs = recipes()
        for goal, (_, prior, program) in enumerate(programs):
            known: dict[tuple[Act, Continuation], int] = {}

            def new_state(act: Act, after: Continuation, known: dict = known, goal: int = goal) -> int:
                state = known.setdefault((act, after), len(emitted))
                if state == len(emitted):
                    emitted.append(act)
                    follows.append(after)
                    goal_of_state.append(goal)
                return state

            entries.append((prior, compile_node(program, ((END, 1.0),), new_state)))

        order = {(verb, noun): (VERBS.index(verb), NOUNS.index(noun)) for verb in VERBS for noun in NOUNS}
        self.actions = tuple(sorted({(act.verb, act.noun) for act in emitted}, key=order.__getitem__))
        self.action_ids = {pair: action for action, pair in enumerate(self.actions)}
        self.goals = tuple(name for name, _, _ in programs)
        self.goal_of_state = np.array(goal_of_state)
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

    @property
    def num_actions(self) -> int:
        """Number of actions of the law."""
        return len(self.actions)

    @property
    def num_states(self) -> int:
        """Number of hidden states N."""
        return len(self.action_of_state)

    def next_action_posteriors(self, actions: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float64]:
        """Filter one film: the distribution of each action given all actions before it.

        Args:
            actions: Action ids of a film in order, [M]. A film starts at the start of an episode.

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
                name = " ".join(self.actions[action]) if 0 <= action < self.num_actions else f"id {action}"
                raise ValueError(f"the kitchen's law cannot produce action {position} of the film, {name!r}")
            predicted = (predicted[states] / likelihood) @ self.transitions[states]
            rows.append(self._action_probabilities(predicted))
        return np.stack(rows)

    def _action_probabilities(self, states: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self.action_of_state, states, self.num_actions).astype(np.float64)

    def next_action_distribution(self, past: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the exact posterior of the next action given all past actions of the film, [A]."""
        return self.next_action_posteriors(past)[-1]

    def sample_episode(self, rng: np.random.Generator) -> tuple[str, list[int]]:
        """Draw one recipe from start to end; returns its goal and its action ids."""
        state = int(rng.choice(self.num_states, p=self.initial))
        goal = self.goals[self.goal_of_state[state]]
        actions = [int(self.action_of_state[state])]
        while rng.random() >= self.end[state]:
            inside = self._inside[state]
            state = int(rng.choice(self.num_states, p=inside / inside.sum()))
            actions.append(int(self.action_of_state[state]))
        return goal, actions

    def sample_film(self, num_actions: int, rng: np.random.Generator) -> list[int]:
        """Draw the first `num_actions` actions of an endless stream of episodes."""
        actions: list[int] = []
        while len(actions) < num_actions:
            actions += self.sample_episode(rng)[1]
        return actions[:num_actions]


@lru_cache(maxsize=1)
def kitchen_law() -> KitchenLaw:
    """Return the one law of the kitchen; compiled at the first call, then shared. Do not change its arrays."""
    return KitchenLaw()
