"""A metric from another package is in every report, table and command, with no file edited."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sgear.api import Scores
from sgear.cli.main import app
from sgear.cli.predictions import print_scores
from sgear.metrics import Metric, metrics, register_metric
from sgear.metrics.registry import _METRICS
from sgear.plugins import _loaded
from sgear.predictions import Predictions, field_outcomes, score, score_intervals
from sgear.report import ReportRun
from sgear.report.tables import score_columns, score_rows
from sgear.taxonomy import Taxonomy


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    sys.path.insert(0, str(Path(__file__).parent / "scores"))
    yield
    sys.path.remove(str(Path(__file__).parent / "scores"))
    _METRICS.pop("top10", None)
    _loaded.difference_update([key for key in _loaded if key[1] == "top10"])
    sys.modules.pop("own_scores", None)


def table(seed: int) -> Predictions:
    pairs = [(verb, noun) for verb in range(5) for noun in range(6)]
    rng = np.random.default_rng(seed)
    return Predictions(
        uids=tuple(f"uid-{row}" for row in range(60)),
        logits=rng.standard_normal((60, 30)).astype(np.float32),
        targets=np.arange(60) % 30,
        taxonomy=Taxonomy(
            verbs=tuple(f"verb {verb}" for verb in range(5)),
            nouns=tuple(f"noun {noun}" for noun in range(6)),
            action_pairs=tuple(pairs),
            action_names=tuple(f"action {verb} {noun}" for verb, noun in pairs),
        ),
        protocol={"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 10.0, "fps": 1.0},
    )


def test_it_is_scored_with_its_interval_and_stands_in_every_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    one = table(0)
    expected = float((field_outcomes(one)["action"].ranks < 10).mean())
    scores = score(one)
    assert scores["overall"]["action"]["top10"] == expected
    assert score_intervals(one, num_resamples=10)["overall"]["action"]["top10"].value == expected
    report = {"benchmark": "b", "protocol": {}, "scores": scores, "num_evaluated": 1, "num_asked": 1}
    report["num_from_prior"] = 0
    run = ReportRun(name="run", title="run", predictions=one, report=report)
    assert score_rows([run], [])[0].values["top10"] == expected
    assert [column.heading for column in score_columns()][:4] == ["top-1", "top-5", "recall@5", "top-10"]
    assert Scores(report)["top-10"] == 100 * expected
    print_scores(report)
    assert "top-10" in capsys.readouterr().out


def test_commands_compare_by_it_and_search_weights_by_it(tmp_path):
    files = [tmp_path / f"{seed}.safetensors" for seed in range(2)]
    for seed, file in enumerate(files):
        table(seed).save(file)
    result = CliRunner().invoke(app, ["compare", *map(str, files), "--json"], catch_exceptions=False)
    assert {row["metric"] for row in json.loads(result.stdout)["scores"]} == {"top1", "top5", "recall5", "top10"}
    held_out = []
    for seed in range(2):
        moved = table(seed)
        held_out.append(tmp_path / f"held-{seed}.safetensors")
        uids = tuple(f"other-{uid}" for uid in moved.uids)
        Predictions(**{**vars(moved), "uids": uids}).save(held_out[-1])
    search = [word for file in held_out for word in ("--search-on", str(file))]
    arguments = ["fuse", *map(str, files), "--out", str(tmp_path / "fused.safetensors"), *search, "--metric", "top10"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "top-10" in result.output


def test_a_name_or_a_heading_that_is_taken_is_refused():
    for name, heading in (("top1", "other"), ("other", "recall@5")):
        with pytest.raises(ValueError, match="choose another name"):
            register_metric(name, Metric(heading=heading, compute=lambda ranks, _: ranks < 1, class_mean=False))
    assert list(metrics())[-1] == "top10"
