"""What one step of training does: averaged gradients, the running average of weights, and a loss that is lost."""

import json
import re
from pathlib import Path

import pytest
import torch

from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data
from sgear.experiment.network import build_network, build_objective
from sgear.experiment.train import train_run
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.models.pretrained import load_model
from sgear.training.checkpoints import list_checkpoints
from sgear.training.loop import fit
from sgear.training.optim import lr_scale
from sgear.training.run import RunDirectory

# 60 clips: 3 batches of 16 and one of 12.
KITCHEN = KitchenConfig(
    num_train_videos=5, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=12
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    build_kitchen(folder / "kitchen", KITCHEN, num_processes=1, with_videos=False)
    return folder


def train(root: Path, name: str, *overrides: str, say=lambda message: None):
    settings = [f"dataset.root={root / 'kitchen'}", f"output_root={root}", f"name={name}", "runtime.device=cpu"]
    settings += ["model.width=32", "model.decoder.width=32", "model.decoder.dropout=0", "model.head.dropout=0"]
    return train_run(compose_experiment(["experiment=smoke/kitchen", "optim.epochs=2", *settings, *overrides]), say)


def weights(run) -> dict[str, torch.Tensor]:
    return load_model(run.model).model.state_dict()


def train_lines(run) -> list[dict]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines() if '"train"' in line]


def test_a_run_that_stops_in_an_evaluation_has_saved_the_epoch_before_it(root: Path):
    settings = [f"dataset.root={root / 'kitchen'}", "runtime.device=cpu", "runtime.evaluate_every=1", "optim.epochs=3"]
    config = compose_experiment(["experiment=smoke/kitchen", *settings])
    data, run = build_data(config), RunDirectory(root / "stopped")
    run.path.mkdir()
    num_evaluated = 0

    def evaluate(*_: object) -> dict[str, float]:
        nonlocal num_evaluated
        num_evaluated += 1
        if num_evaluated == 2:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        fit(
            build_network(config, data).model,
            build_objective(config, data),
            data.train,
            optim=config.optim,
            runtime=config.runtime,
            seed=0,
            run=run,
            evaluate=evaluate,
        )
    assert [path.name for path in list_checkpoints(run.checkpoints)] == ["step-00000004", "step-00000008"]


def test_averaged_gradients_equal_those_of_one_large_batch_also_at_the_end_of_an_epoch(root: Path):
    # Weights of the other terms count labels, which small batches average apart.
    only_cls = ["objective.past=0", "objective.feat=0", "objective.reg=0", "objective.detach_feature_target=false"]
    only_cls += ["optim.name=sgd", "optim.lr=0.1", "optim.clip_norm=0.5", "optim.warmup_epochs=0"]
    said: list[str] = []
    large = train(root, "large", *only_cls, "optim.batch_size=16", say=said.append)
    small = train(root, "small", *only_cls, "optim.batch_size=4", "optim.accumulate=4")
    (num_clips,) = re.findall(r"(\d+) training clips", said[0])
    assert int(num_clips) % 16 == 12, "the last group of an epoch is to be smaller than the others"
    assert [line["step"] for line in train_lines(large)] == list(range(1, 9))
    for ours, theirs in zip(train_lines(small), train_lines(large), strict=True):
        assert ours.pop("kind") == theirs.pop("kind")
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, expected in weights(large).items():
        torch.testing.assert_close(weights(small)[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("decay", [0.9, 0.95, 0.997])
def test_the_running_average_of_weights_leaves_chosen_rows_alone(root: Path, decay: float):
    share = ["model.prototype_attention.share=0.5", "optim.epochs=1"]
    plain = weights(train(root, f"plain-{decay}", *share))
    average = weights(train(root, f"average-{decay}", *share, f"optim.ema_decay={decay}"))
    assert torch.equal(average["prototype_attention.subset"], plain["prototype_attention.subset"])
    assert not torch.equal(average["classifier.linear.weight"], plain["classifier.linear.weight"])


def test_a_training_that_diverges_stops_and_says_what_to_change(root: Path):
    wild = ["optim.name=sgd", "optim.lr=1e30", "optim.clip_norm=0", "optim.warmup_epochs=0"]
    with pytest.raises(RunError, match=r"diverged in step \d+ at a learning rate of .*total (nan|inf).*lower optim.lr"):
        train(root, "wild", *wild)
    for line in (root / "wild" / "metrics.jsonl").read_text().splitlines():
        assert "NaN" not in line
        assert "Infinity" not in line
    assert not (root / "wild" / "model").exists()


def test_the_log_holds_the_learning_rate_of_each_step(root: Path):
    lines = train_lines(train(root, "rates", "optim.warmup_epochs=1", "optim.lr=0.01"))
    expected = [0.01 * lr_scale(step, warmup_steps=4, total_steps=8) for step in range(8)]
    assert [line["lr"] for line in lines] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.25), (3, 1.0), (4, 1.0), (8, 0.1 + 0.9 * 0.5), (12, 0.1), (20, 0.1)],
)
def test_the_rate_warms_up_and_falls_along_a_cosine(step, expected):
    assert lr_scale(step, warmup_steps=4, total_steps=12, final_share=0.1) == pytest.approx(expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_not_replaced_in_silence(root: Path):
    with pytest.raises(ConfigError, match=r"runtime\.device=cuda, but torch finds no GPU; set runtime\.device=cpu"):
        train(root, "gpu", "runtime.device=cuda")
