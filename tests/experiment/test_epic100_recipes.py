"""Every recipe of EPIC-KITCHENS-100 on its own annotations, at tiny size."""

from collections.abc import Iterator

import pytest
from real_annotations import recipes_of, recipes_on, seen_after_limit_s
from tiny_recipes import TinyRuns

from sgear.datasets import Benchmark
from sgear.experiment.evaluate import predict_split
from sgear.predictions import Predictions

# Training: recorded at 50 and at 59.94 fps. Validation: one participant of training, and one who never occurs there.
VIDEOS = {"P03_110": 18.1, "P26_12": 18.65, "P02_13": 29.51, "P32_07": 28.98, "P34_108": 53.22}
pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def epic(real_data, tmp_path_factory) -> Iterator[tuple[TinyRuns, Benchmark]]:
    videos = "EpicKitchens100/videos_extension_ht256px"
    out = tmp_path_factory.mktemp("epic100")
    with recipes_on("epic100", VIDEOS, annotations=real_data, out=out, folder=videos) as made:
        yield made


def test_the_annotations_are_the_real_ones(epic):
    _, benchmark = epic
    assert benchmark.taxonomy.num_actions == 3806
    assert (len(benchmark.train), len(benchmark.validation), len(benchmark.tests["test"])) == (20, 17, 10)
    assert benchmark.validation.of_video("P32_07").uids == ["P32_07_0", "P32_07_1", "P32_07_2"]


@pytest.mark.parametrize("name", recipes_of("epic100"))
def test_a_recipe_trains_and_is_evaluated(name, epic):
    runs, benchmark = epic
    report = runs.report(name)
    assert report["benchmark"] == "epic100"
    assert report["num_evaluated"] == report["num_asked"] == len(benchmark.validation)
    assert {"overall", "unseen", "tail"} <= set(report["scores"])
    assert Predictions.load(runs.run(name).predictions).uids == tuple(benchmark.validation.uids)


@pytest.mark.parametrize("name", ["epic100/tsn", "epic100/avt_tsn", "epic100/rulstm_rgb"])
def test_no_step_of_a_recipe_shows_anything_later_than_tau_a_before_the_action(name, epic):
    runs, _ = epic
    runs.run(name)
    # Rows are a quarter of a second apart: the newest one that may be seen is not much older.
    assert -0.25 < seen_after_limit_s(runs.config(name)) <= 1e-4


def test_the_test_split_is_answered(epic):
    runs, benchmark = epic
    predictions, _ = predict_split(runs.run("epic100/avt_tsn").path, split="test")
    assert predictions.uids == tuple(benchmark.tests["test"].uids)
