"""Small probabilistic programs that emit actions, and their compilation into a finite Markov chain.

A program is a tree of four node kinds. Compilation runs from the end to the start: each node is given the
distribution of what comes after it, so an emitting state is an action plus the distribution of the state that
follows. Programs have no loops; the chain therefore ends after a bounded number of actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

END = -1
"""Pseudo state: the program is over."""

Continuation = tuple[tuple[int, float], ...]
"""(state, probability) pairs, sorted by state; they sum to 1."""


@dataclass(frozen=True)
class Act:
    """Emit one (verb, noun) action."""

    verb: str
    noun: str


@dataclass(frozen=True)
class Seq:
    """Run the parts one after the other; no parts at all emit nothing."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either:
    """Run one of the options, drawn by weight."""

    options: tuple[tuple[float, Node], ...]


@dataclass(frozen=True)
class AnyOrder:
    """Run all parts: in the listed order with probability `habit`, else in an order drawn uniformly."""

    parts: tuple[Node, ...]
    habit: float


Node = Act | Seq | Either | AnyOrder


def seq(*parts: Node) -> Seq:
    """Return a sequence."""
    return Seq(parts)


def either(*options: tuple[float, Node]) -> Either:
    """Return a choice between (weight, node) options; weights need not sum to 1."""
    return Either(options)


def maybe(probability: float, *parts: Node) -> Either:
    """Return a sequence that is skipped with probability `1 - probability`."""
    return Either(((probability, Seq(parts)), (1.0 - probability, Seq(()))))


def any_order(*parts: Node, habit: float = 0.6) -> AnyOrder:
    """Return parts that may be exchanged; see `AnyOrder`."""
    return AnyOrder(parts, habit)


def compile_node(node: Node, after: Continuation, new_state: Callable[[Act, Continuation], int]) -> Continuation:
    """Compile a program into states of a Markov chain.

    Args:
        node: The program.
        after: Distribution of the state that follows the program.
        new_state: Returns the state that emits an action and goes on with a distribution; equal arguments may
            return the same state.

    Returns:
        Distribution of the first state of the program.
    """
    match node:
        case Act():
            return ((new_state(node, after), 1.0),)
        case Seq(parts):
            for part in reversed(parts):
                after = compile_node(part, after, new_state)
            return after
        case Either(options):
            return _mix([(weight, compile_node(option, after, new_state)) for weight, option in options])
        case AnyOrder(parts, habit):
            orders = list(permutations(parts))
            share = (1.0 - habit) / len(orders)
            weights = [habit + share] + [share] * (len(orders) - 1)
            compiled = [compile_node(Seq(order), after, new_state) for order in orders]
            return _mix(list(zip(weights, compiled, strict=True)))


def _mix(weighted: list[tuple[float, Continuation]]) -> Continuation:
    total = sum(weight for weight, _ in weighted)
    mixed: dict[int, float] = {}
    for weight, continuation in weighted:
        for state, probability in continuation:
            mixed[state] = mixed.get(state, 0.0) + weight / total * probability
    return tuple(sorted((state, probability) for state, probability in mixed.items() if probability > 0))
