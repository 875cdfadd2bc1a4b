"""Small benchmarks and runs to draw; nothing is read from disk."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import polars as pl
import torch

from sgear.datasets import Benchmark
from sgear.forecast import Forecast
from sgear.predictions import Predictions, score
from sgear.report import ReportRun, Video
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

PROTOCOL: dict[str, float | str] = {"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 10.0, "fps": 1.0}


def make_taxonomy(num_actions: int, *, odd_name: str = "noun") -> Taxonomy:
    num_verbs = max(1, min(num_actions, round(num_actions**0.5)))
    num_nouns = -(-num_actions // num_verbs)
    pairs = [(verb, noun) for noun in range(num_nouns) for verb in range(num_verbs)][:num_actions]
    return Taxonomy(
        verbs=tuple(f"verb{verb}" for verb in range(num_verbs)),
        nouns=tuple(f"{odd_name}{noun}" for noun in range(num_nouns)),
        action_pairs=tuple(pairs),
    )


def make_segments(taxonomy: Taxonomy, actions: np.ndarray, *, prefix: str, per_video: int = 20) -> SegmentTable:
    order = np.arange(len(actions))
    frame = pl.DataFrame(
        {
            "uid": [f"{prefix}_{row}" for row in order],
            "participant_id": ["P01" if row % 3 else "P02" for row in order],
            "video_id": [f"{prefix}{row // per_video}" for row in order],
            "start_s": 2.0 * (order % per_video) + 1.5,
            "stop_s": 2.0 * (order % per_video) + 3.0,
            "verb_id": taxonomy.verb_of_action[actions],
            "noun_id": taxonomy.noun_of_action[actions],
            "action_id": actions,
        }
    )
    return SegmentTable(frame, taxonomy, origin=prefix)


def make_benchmark(
    num_actions: int = 9, *, num_train: int = 120, num_validation: int = 60, odd_name: str = "noun"
) -> Benchmark:
    taxonomy = make_taxonomy(num_actions, odd_name=odd_name)
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, num_actions + 1)
    weights /= weights.sum()
    return Benchmark(
        name="toy",
        taxonomy=taxonomy,
        train=make_segments(taxonomy, rng.choice(num_actions, num_train, p=weights), prefix="train"),
        validation=make_segments(taxonomy, rng.choice(num_actions, num_validation, p=weights), prefix="val"),
        unseen_participants=frozenset({"P02"}),
    )


def make_log(num_steps: int = 30) -> tuple[dict, ...]:
    lines: list[dict] = []
    for step in range(1, num_steps + 1):
        lines.append({"kind": "train", "step": step, "cls": 3.0 / step, "total": 5.0 / step, "lr": 1e-3})
        if step % 10 == 0:
            lines.append({"kind": "validation", "step": step, "top1": 0.01 * step, "recall5": 0.02 * step})
    return tuple(lines)


def make_predictions(
    benchmark: Benchmark, *, seed: int = 0, skill: float = 1.0, protocol: dict[str, float | str] | None = None
) -> Predictions:
    rng = np.random.default_rng(seed)
    targets = benchmark.validation.column("action_id")
    logits = rng.normal(size=(len(targets), benchmark.taxonomy.num_actions))
    logits[np.arange(len(targets)), targets] += skill
    return Predictions(
        uids=tuple(benchmark.validation.uids),
        logits=logits.astype(np.float32),
        targets=targets,
        taxonomy=benchmark.taxonomy,
        protocol=PROTOCOL if protocol is None else protocol,
    )


def make_run(
    benchmark: Benchmark, *, title: str = "model", seed: int = 0, predictions: Predictions | None = None
) -> ReportRun:
    table = make_predictions(benchmark, seed=seed) if predictions is None else predictions
    num_actions = benchmark.taxonomy.num_actions
    generator = torch.Generator().manual_seed(seed)
    return ReportRun(
        name=f"run{seed}",
        title=title,
        predictions=table,
        report={
            "benchmark": benchmark.name,
            "protocol": table.protocol,
            "num_asked": len(table),
            "num_evaluated": len(table),
            "num_from_prior": 2,
            "scores": score(table),
        },
        log=make_log(),
        visual=torch.randn(num_actions, 6, generator=generator),
        language=torch.randn(num_actions, 5, generator=generator),
        provenance={"commit": "abc123", "seed": seed, "packages": {"torch": "2.0"}},
    )


def make_video(*, every_s: float = 0.5) -> Video:
    truth = ((1.0, 3.0, "open fridge"), (3.0, 5.0, "take milk"), (5.5, 7.0, "close fridge"))
    forecasts = []
    for now_s in np.arange(0.0, 6.0, every_s):
        about_s = now_s + 1.0
        best = "open fridge" if about_s < 3.0 else "close fridge"
        second = "close fridge" if best == "open fridge" else "wash cup"
        forecasts.append(Forecast(float(now_s), 1.0, ((best, 0.6), (second, 0.3))))
    return Video("P01_01", tuple(forecasts), truth)


class Page(HTMLParser):
    """Collects headings, table cells by row, and everything that a browser would fetch."""

    _VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self._VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value is not None:
                self.fetched.append(value)
        if tag == "h2":
            self.headings.append("")
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def close(self) -> None:
        super().close()
        assert not self._open

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self._VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if "h2" in self._open:
            self.headings[-1] += data
        elif "td" in self._open or ("th" in self._open and "tr" in self._open):
            self.rows[-1][-1] += data
