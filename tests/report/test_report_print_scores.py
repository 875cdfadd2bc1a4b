"""The table of scores on the terminal."""

import numpy as np
import pytest
from report_examples import make_benchmark, make_predictions

from sgear.cli.predictions import print_scores
from sgear.predictions import score


@pytest.fixture(params=[160, 80])
def printed(monkeypatch, capsys, request):
    monkeypatch.setenv("COLUMNS", str(request.param))

    def show(report):
        print_scores(report)
        return capsys.readouterr().out

    return show


@pytest.fixture
def report():
    benchmark = make_benchmark()
    predictions = make_predictions(benchmark)
    subsets = benchmark.subset_masks
    many_shot = {"verb": np.array([0, 1]), "noun": np.array([0]), "action": np.array([0, 3])}
    return {
        "benchmark": "toy",
        "protocol": predictions.protocol,
        "num_asked": 60,
        "num_evaluated": 60,
        "num_from_prior": 2,
        "scores": score(predictions, subsets=subsets, many_shot=many_shot),
    }


def test_every_subset_and_field_has_its_line(printed, report):
    fields = ("action", "noun", "verb")
    rows = [f"{subset} {field}" for subset in ("overall", "unseen", "many-shot") for field in fields]
    lines = [line.strip() for line in printed(report).splitlines() if line.strip().startswith(tuple(rows))]
    assert [" ".join(line.split()[:2]) for line in lines] == rows
    action = report["scores"]["overall"]["action"]
    cells = lines[0].split()[2:]
    percents = [f"{100 * action[name]:.1f}" for name in ("top1", "top5", "recall5", "class_mean_top1")]
    assert cells == [str(action["num_samples"]), str(action["num_classes"]), *percents]


def test_many_shot_precision_and_the_caveat_are_said(printed, report):
    precision = report["scores"]["many_shot"]["verb"]["precision"]
    text = printed(report | {"caveat": "the action was seen"})
    assert f"verb {100 * precision:.1f}" in text
    assert "note: the action was seen" in text
    del report["scores"]["many_shot"]
    assert "many-shot" not in printed(report)
