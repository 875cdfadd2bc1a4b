"""`import sgear`: the public names, that they cost nothing until used, and networks made by name."""

import subprocess
import sys

import polars as pl
import pytest
import torch

import sgear
from sgear.errors import ConfigError, PredictionError

NAMES = [
    "AnticipationProtocol",
    "Anticipator",
    "Forecast",
    "Predictions",
    "__version__",
    "camera",
    "create_model",
    "evaluate",
    "fuse",
    "list_datasets",
    "list_experiments",
    "list_models",
    "load",
    "load_dataset",
    "train",
]


def test_the_public_names_are_these_and_no_others():
    assert sorted(sgear.__all__) == NAMES
    assert len(NAMES) <= 15
    for name in NAMES:
        assert getattr(sgear, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'anticipate'"):
        sgear.anticipate  # noqa: B018


def test_import_sgear_loads_nothing_else():
    code = "import sys, sgear; print(sorted(m for m in sys.modules if m.split('.')[0] in {'torch', 'numpy', 'av'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["sgear", "avt", "rulstm"])
def test_a_network_by_name(name):
    sizes = {} if name == "rulstm" else {"width": 64, "max_steps": 8}
    model = sgear.create_model(name, num_actions=7, feature_dim=16, **sizes).eval()
    assert model(torch.zeros(2, 8, 16)).logits.shape == (2, 7)
    assert name in sgear.list_models()


def test_a_network_of_pixels_and_wrong_settings():
    model = sgear.create_model("avt", num_actions=3, encoder="vit_tiny_patch16_224", width=192)
    assert model(torch.zeros(1, 2, 3, 224, 224)).logits.shape == (1, 3)
    for settings, words in [
        ({"model": "nothing"}, "choose avt, frequency"),
        ({"model": "avt", "feature_dim": 3, "encoder": "vit_tiny_patch16_224"}, "reads one of both"),
        ({"model": "avt", "feature_dim": 3, "depth": 3}, "unexpected keyword argument 'depth'"),
    ]:
        with pytest.raises(ConfigError, match=words):
            sgear.create_model(num_actions=3, **settings)


def test_lists_name_what_there_is():
    assert {"epic100", "csv", "kitchen"} <= set(sgear.list_datasets())
    assert "kitchen/sgear" in sgear.list_experiments()


def test_train_evaluate_and_fuse_as_functions(tmp_path):
    """A counted baseline of a small kitchen: the same code as the commands, in seconds."""
    from sgear.kitchen import KitchenConfig, build_kitchen

    kitchen = tmp_path / "my kitchen"
    build_kitchen(
        kitchen,
        KitchenConfig(
            num_train_videos=4,
            num_validation_videos=2,
            num_participants=3,
            num_unseen_participants=1,
            actions_per_video=8,
        ),
        num_processes=1,
        with_videos=False,
    )
    run = sgear.train(
        "kitchen/last_action", "runtime.device=cpu", dataset=kitchen, name="counts", output_root=str(tmp_path / "runs")
    )
    assert run.path == tmp_path / "runs" / "counts"
    scores = sgear.evaluate(run.path)
    assert sorted(scores) == ["class-mean top-1", "recall@5", "top-1", "top-5"]
    assert scores["recall@5"] == 100 * scores.report["scores"]["overall"]["action"]["recall5"]
    assert "kitchen" in repr(scores)
    frame = scores.to_frame()
    assert isinstance(frame, pl.DataFrame)
    row = frame.filter((pl.col("subset") == "overall") & (pl.col("field") == "action"))
    assert row["recall@5"].item() == pytest.approx(scores["recall@5"])
    again = sgear.evaluate(run.predictions, dataset="kitchen", root=kitchen)
    assert dict(again) == dict(scores)
    fused = sgear.fuse([run.predictions, sgear.Predictions.load(run.predictions)], [2.0, 1.0])
    assert sgear.evaluate(fused, dataset="kitchen", root=kitchen)["top-1"] == pytest.approx(scores["top-1"])
    with pytest.raises(PredictionError, match="name the data set"):
        sgear.evaluate(run.predictions)
    with pytest.raises(KeyError, match="choose recall@5"):
        scores["mt5r"]
