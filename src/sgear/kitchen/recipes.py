"""The eight recipes of the kitchen, the hidden goals behind the actions, as small probabilistic programs.

A program is a tree of four node kinds without loops. It is compiled from its end to its start: each node is given the
distribution of what comes after it, so a state is an action plus the distribution of the state that follows.

Recipes share sub-routines (fetching from fridge and drawer, washing up), so a past seldom names its recipe at once.
What is fetched early must be used much later, so a model with a longer memory can know more. The prior has a
long tail, and rare branches inside recipes make actions that are rarer still.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

LAW_VERSION = 1
"""Raised whenever a verb, a noun, a recipe or a probability changes: old videos then no longer follow the law."""

VERBS = ("take", "put", "open", "close", "wash", "rinse", "cut", "peel", "pour", "stir")
NOUNS = (
    *("fridge", "drawer", "knife", "spoon", "cup", "glass", "plate", "bowl", "pan", "pot"),
    *("tomato", "carrot", "onion", "bread", "milk", "juice"),
)

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


def recipes() -> tuple[tuple[str, float, Node], ...]:
    """Return (goal, prior probability, program) of each recipe, commonest first."""
    return (
        ("salad", 0.25, either((0.62, _salad(with_carrot=True)), (0.38, _salad(with_carrot=False)))),
        ("sandwich", 0.20, either((0.7, _sandwich(with_tomato=True)), (0.3, _sandwich(with_tomato=False)))),
        ("cocoa", 0.17, _cocoa()),
        ("soup", 0.13, _soup()),
        ("breakfast", 0.10, _breakfast()),
        ("pancakes", 0.08, _pancakes()),
        ("fry-up", 0.045, _fry_up()),
        ("clean-up", 0.025, _clean_up()),
    )


def _take(noun: str) -> Node:
    return Act("take", noun)


def _from_fridge(*nouns: str) -> Node:
    takes = any_order(*(_take(noun) for noun in nouns), habit=0.3)
    return seq(Act("open", "fridge"), takes, maybe(0.72, Act("close", "fridge")))


def _from_drawer(*nouns: str) -> Node:
    takes = any_order(*(_take(noun) for noun in nouns), habit=0.4)
    opened = seq(Act("open", "drawer"), takes, maybe(0.62, Act("close", "drawer")))
    return either((0.78, opened), (0.22, takes))


def _dirty_dish(probability: float) -> Node:
    """Now and then, whatever is being cooked, something that lies in the sink is cleaned in between."""
    dishes = (
        *((0.25, Act("wash", "plate")), (0.2, Act("wash", "cup")), (0.2, Act("rinse", "glass"))),
        *((0.2, Act("wash", "bowl")), (0.15, Act("wash", "pot"))),
    )
    return maybe(probability, either(*dishes))


def _chop(noun: str, *, peel: float) -> Node:
    return seq(maybe(peel, Act("peel", noun)), Act("cut", noun))


def _onion() -> Node:
    return seq(_take("onion"), maybe(0.85, Act("peel", "onion")), Act("cut", "onion"))


def _tidy_knife() -> Node:
    return either((0.58, Act("put", "knife")), (0.2, Act("wash", "knife")), (0.22, seq()))


def _drink() -> Node:
    return seq(
        any_order(_take("glass"), _from_fridge("juice"), habit=0.3),
        Act("pour", "juice"),
        maybe(0.6, Act("put", "juice")),
    )


def _toast() -> Node:
    return seq(
        any_order(_take("bread"), _from_drawer("knife"), habit=0.3),
        Act("cut", "bread"),
        _tidy_knife(),
    )


def _salad(*, with_carrot: bool) -> Node:
    cold = ("tomato", "carrot") if with_carrot else ("tomato",)
    rinse = [Act("rinse", noun) for noun in cold]
    chops = [Act("cut", "tomato")] + ([_chop("carrot", peel=0.55)] if with_carrot else [])
    return seq(
        any_order(_from_fridge(*cold), _from_drawer("knife"), habit=0.3),
        any_order(*rinse, habit=0.3),
        _dirty_dish(0.3),
        any_order(*chops, maybe(0.4, _onion()), habit=0.2),
        any_order(_tidy_knife(), _dirty_dish(0.3), habit=0.2),
        any_order(_take("bowl"), _from_drawer("spoon"), habit=0.3),
        Act("stir", "bowl"),
        any_order(maybe(0.6, Act("put", "spoon")), maybe(0.55, _take("plate"), Act("put", "plate")), habit=0.3),
        _dirty_dish(0.3),
        maybe(0.5, Act("wash", "bowl")),
    )


def _sandwich(*, with_tomato: bool) -> Node:
    tomato = seq(_from_fridge("tomato"), maybe(0.8, Act("rinse", "tomato")), Act("cut", "tomato"))
    return seq(
        any_order(_take("bread"), _take("plate"), _from_drawer("knife"), habit=0.2),
        _dirty_dish(0.3),
        Act("cut", "bread"),
        *((tomato,) if with_tomato else ()),
        any_order(_tidy_knife(), Act("put", "plate"), maybe(0.5 if with_tomato else 0.9, _drink()), habit=0.2),
        _dirty_dish(0.25),
        maybe(0.65, either((0.93, Act("wash", "plate")), (0.07, Act("rinse", "plate")))),
    )


def _cocoa() -> Node:
    return seq(
        any_order(_from_fridge("milk"), _take("pot"), maybe(0.6, _take("cup")), habit=0.2),
        Act("pour", "milk"),
        any_order(maybe(0.8, Act("put", "milk")), _from_drawer("spoon"), habit=0.4),
        Act("stir", "pot"),
        maybe(0.5, Act("put", "spoon")),
        _dirty_dish(0.35),
        maybe(0.5, _toast()),
        any_order(Act("wash", "cup"), maybe(0.7, Act("wash", "pot")), habit=0.3),
    )


def _soup() -> Node:
    return seq(
        any_order(_from_fridge("carrot"), _take("pot"), habit=0.4),
        any_order(maybe(0.85, Act("rinse", "carrot")), _from_drawer("knife"), habit=0.4),
        any_order(_chop("carrot", peel=0.7), _onion(), habit=0.3),
        any_order(_tidy_knife(), maybe(0.4, _drink()), habit=0.2),
        _dirty_dish(0.35),
        maybe(0.6, _from_drawer("spoon")),
        Act("stir", "pot"),
        any_order(maybe(0.4, Act("put", "spoon")), maybe(0.5, _take("bowl")), habit=0.3),
        maybe(0.55, Act("wash", "pot")),
    )


def _breakfast() -> Node:
    return seq(
        any_order(_drink(), _toast(), maybe(0.5, _from_fridge("milk"), Act("pour", "milk")), habit=0.2),
        maybe(0.7, _take("plate"), Act("put", "plate")),
        _dirty_dish(0.35),
        any_order(maybe(0.7, Act("wash", "plate")), maybe(0.7, Act("rinse", "glass")), habit=0.3),
    )


def _pancakes() -> Node:
    return seq(
        any_order(_take("bowl"), _from_fridge("milk"), _from_drawer("spoon"), habit=0.2),
        Act("pour", "milk"),
        maybe(0.6, Act("put", "milk")),
        Act("stir", "bowl"),
        _dirty_dish(0.3),
        any_order(_take("pan"), maybe(0.6, Act("put", "spoon")), habit=0.3),
        maybe(0.7, _take("plate"), Act("put", "plate")),
        any_order(Act("wash", "bowl"), maybe(0.7, Act("wash", "pan")), habit=0.3),
        maybe(0.4, Act("wash", "plate")),
    )


def _fry_up() -> Node:
    return seq(
        any_order(_from_fridge("tomato"), _from_drawer("knife"), _take("pan"), habit=0.2),
        maybe(0.7, Act("rinse", "tomato")),
        any_order(Act("cut", "tomato"), _onion(), habit=0.3),
        _tidy_knife(),
        maybe(0.7, _from_drawer("spoon")),
        Act("stir", "pan"),
        maybe(0.4, _drink()),
        _dirty_dish(0.3),
        maybe(0.5, _take("plate"), Act("put", "plate")),
        maybe(0.6, Act("wash", "pan")),
    )


def _clean_up() -> Node:
    crockery = any_order(Act("wash", "plate"), Act("wash", "cup"), Act("rinse", "glass"), habit=0.2)
    cookware = any_order(Act("wash", "bowl"), Act("wash", "pan"), Act("wash", "pot"), habit=0.2)
    return seq(
        crockery,
        cookware,
        Act("wash", "knife"),
        Act("open", "drawer"),
        any_order(Act("put", "knife"), Act("put", "spoon"), habit=0.3),
        Act("close", "drawer"),
        any_order(Act("put", "plate"), maybe(0.3, Act("rinse", "plate")), habit=0.3),
        maybe(0.6, _toast()),
    )
