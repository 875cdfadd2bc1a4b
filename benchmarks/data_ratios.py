"""Times of two ways to do the same work, taken in turns, and what is asked of their ratio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median

import torch
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much work is measured.

    Args:
        seconds: Length of the videos.
        num_windows: Windows that are read of videos in a round.
        num_videos: Videos of stored features.
        num_rows: Rows of each.
        num_lookups: Windows that are read of stored features in a round; a twentieth of them frame by frame.
        num_clips: Clips that the loader feeds to an encoder in a round.
    """

    seconds: int = 60
    num_windows: int = 12
    num_videos: int = 6
    num_rows: int = 9000
    num_lookups: int = 2000
    num_clips: int = 100


SMOKE = Sizes(seconds=20, num_windows=1, num_videos=1, num_rows=600, num_lookups=20, num_clips=2)
"""Enough to see that everything runs; its numbers mean nothing."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, so that two kinds of work share two cores evenly."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times faster one way is than another, by rounds in which both were timed.

    Args:
        name: What is compared.
        fast_ms: Median milliseconds of the first way.
        slow_ms: Median milliseconds of the second way.
        ratio: Median over the rounds of slow / fast.
        low: Smallest ratio of a round.
        high: Largest ratio of a round.
        target: Ratio that is asked for; 0 where none is.
    """

    name: str
    fast_ms: float
    slow_ms: float
    ratio: float
    low: float
    high: float
    target: float = 0.0

    @property
    def is_met(self) -> bool:
        """Whether the median ratio reaches the target."""
        return self.ratio >= self.target

    def to_dict(self) -> dict[str, float | str | bool]:
        """Return a plain dict."""
        return {**asdict(self), "is_met": self.is_met}


def compare(name: str, fast_s: list[float], slow_s: list[float], *, target: float = 0.0) -> Ratio:
    """Return the ratio of times that were taken in the same rounds."""
    ratios = [slow / fast for fast, slow in zip(fast_s, slow_s, strict=True)]
    return Ratio(
        name=name,
        fast_ms=1000 * median(fast_s),
        slow_ms=1000 * median(slow_s),
        ratio=median(ratios),
        low=min(ratios),
        high=max(ratios),
        target=target,
    )


def in_turns(ways: dict[str, tuple[Callable[[], object], int]], *, rounds: int) -> dict[str, list[float]]:
    """Time every way once per round, in turns, after one round that does not count.

    Args:
        ways: What to call, and how many units of work a call does.
        rounds: Rounds that count.

    Returns:
        Seconds per unit of each round.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_idx in range(rounds + 1):
        for name, (way, num_units) in ways.items():
            began = time.perf_counter()
            way()
            if round_idx:
                taken[name].append((time.perf_counter() - began) / num_units)
    return taken


def print_ratios(console: Console, ratios: list[Ratio]) -> None:
    """Print ratios as a table."""
    table = Table("", "ms", "against ms", "times faster", "rounds", "target")
    for each in ratios:
        target = f"{each.target:g} {'met' if each.is_met else 'MISSED'}" if each.target else ""
        spread = f"{each.low:.3g} to {each.high:.3g}"
        table.add_row(each.name, f"{each.fast_ms:.4g}", f"{each.slow_ms:.4g}", f"{each.ratio:.3g}", spread, target)
    console.print(table)
