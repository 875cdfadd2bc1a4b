"""Every recipe of EPIC-KITCHENS-55 on its own annotations with RULSTM's split, at tiny size."""

from collections.abc import Iterator

import pytest
from real_annotations import recipes_of, recipes_on, seen_after_limit_s
from tiny_recipes import TinyRuns

from sgear.datasets import Benchmark
from sgear.experiment.evaluate import predict_split
from sgear.predictions import Predictions

# Three videos of training, two of validation, one of each test split.
VIDEOS = {"P06_02": 13.95, "P26_12": 18.65, "P08_07": 24.01, "P28_12": 27.04, "P14_02": 32.28, "P03_26": 11.13}
VIDEOS |= {"P09_01": 14.23}
pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def epic(real_data, tmp_path_factory) -> Iterator[tuple[TinyRuns, Benchmark]]:
    videos = "EpicKitchens/videos_ht256px/train"
    out = tmp_path_factory.mktemp("epic55")
    with recipes_on("epic55", VIDEOS, annotations=real_data, out=out, folder=videos) as made:
        yield made


def test_the_annotations_are_the_real_ones(epic):
    _, benchmark = epic
    assert benchmark.taxonomy.num_actions == 2513
    assert (len(benchmark.train), len(benchmark.validation)) == (21, 15)
    assert benchmark.validation.of_video("P28_12").uids == [str(uid) for uid in range(34292, 34299)]


@pytest.mark.parametrize("name", recipes_of("epic55"))
def test_a_recipe_trains_and_is_evaluated(name, epic):
    runs, benchmark = epic
    report = runs.report(name)
    assert report["benchmark"] == "epic55"
    assert report["num_evaluated"] == report["num_asked"] == len(benchmark.validation)
    assert {"overall", "many_shot"} <= set(report["scores"])
    assert Predictions.load(runs.run(name).predictions).uids == tuple(benchmark.validation.uids)


@pytest.mark.parametrize("name", ["epic55/tsn", "epic55/avt_tsn", "epic55/rulstm_rgb"])
def test_no_step_of_a_recipe_shows_anything_later_than_tau_a_before_the_action(name, epic):
    runs, _ = epic
    runs.run(name)
    assert -0.25 < seen_after_limit_s(runs.config(name)) <= 1e-4


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_the_test_splits_are_answered(split, epic):
    runs, benchmark = epic
    predictions, _ = predict_split(runs.run("epic55/avt_tsn").path, split=split)
    assert predictions.uids == tuple(benchmark.tests[split].uids)
