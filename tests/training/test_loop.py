"""What a run does: its steps, what it starts from and freezes, what it predicts, and the memory it frees."""

import json
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data
from sgear.experiment.network import build_network, build_objective
from sgear.experiment.train import train_run
from sgear.models.pretrained import load_model
from sgear.predictions import Predictions
from sgear.training.checkpoints import list_checkpoints
from sgear.training.loop import fit
from sgear.training.optim import lr_scale
from sgear.training.run import RunDirectory


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


def test_the_running_average_of_weights_leaves_chosen_rows_alone(root: Path):
    share = ["model.prototype_attention.share=0.5", "optim.epochs=1"]
    plain = weights(train(root, "plain", *share))
    for decay in (0.9, 0.997):
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


# --- heads, starts and frozen blocks ----------------------------------------------------------------------------------

FIELDS = ["model.head.verb_noun=true", "objective.cls_verb=0.5", "objective.cls_noun=0.5", "optim.epochs=1"]


@pytest.fixture(scope="module")
def first(root: Path) -> Path:
    return train(root, "first", *FIELDS, "objective.mixup=0.2").path


def test_scores_of_verb_and_noun_classifiers_reach_the_predictions(first: Path):
    table = Predictions.load(first / "predictions" / "validation.safetensors")
    assert table.verb_logits is not None
    assert table.noun_logits is not None
    assert table.verb_logits.shape == (len(table), len(table.taxonomy.verbs))
    summed = replace(table, verb_logits=None, noun_logits=None)
    for field in ("verb", "noun"):
        assert not np.allclose(table.field_probs(field), summed.field_probs(field), atol=1e-3)
    lines = (first / "metrics.jsonl").read_text().splitlines()
    assert all('"cls_verb"' in line and '"cls_noun"' in line for line in lines if '"train"' in line)


def test_a_segment_with_nothing_to_see_gets_the_prior_of_its_verbs_and_nouns(root: Path):
    run = train(root, "blind", *FIELDS, "protocol.tau_a_s=12.0")
    table = Predictions.load(run.predictions)
    assert table.provenance["num_from_prior"] > 0
    prior = load_model(run.model).log_prior.exp().numpy()
    is_blind = np.abs(table.probs - prior).max(axis=1) < 1e-6
    assert is_blind.sum() == table.provenance["num_from_prior"]
    summed = replace(table, verb_logits=None, noun_logits=None)
    for field in ("verb", "noun"):
        np.testing.assert_allclose(table.field_probs(field)[is_blind], summed.field_probs(field)[is_blind], atol=1e-6)


def test_a_run_says_what_it_starts_from_and_what_is_frozen(root: Path, first: Path):
    said: list[str] = []
    start = [f"init.run={first}", "init.blocks=[encoder,decoder,prototypes,classifier]"]
    train(root, "second", *start, "init.freeze=[prototypes,encoder]", "optim.epochs=1", say=said.append)
    words = "\n".join(said)
    start = f"initialised from {first}: "
    assert f"{start}loaded " in words
    assert "prototypes 1, " in words
    missing, unexpected = (next(text for text in said if text.startswith(start + kind)) for kind in ("miss", "unexp"))
    for block in ("fusion_gate 1", "prototype_attention ", "prototype_mix "):
        assert block in missing
    assert "field_classifiers 4" in unexpected
    assert "prototypes: frozen, " in words
    before, after = (load_model(root / name / "model").model for name in ("first", "second"))
    assert torch.equal(before.bank.visual, after.bank.visual)
    assert torch.equal(before.encoder.project.weight, after.encoder.project.weight)
    assert not torch.equal(before.decoder.project_out.weight, after.decoder.project_out.weight)


def test_an_unknown_block_is_named_before_anything_is_written(root: Path):
    with pytest.raises(RunError, match=r"init\.freeze: this model has no block 'neck'; it has"):
        train(root, "third", "init.freeze=[neck]")
    assert not (root / "third").exists()


# --- freed memory -----------------------------------------------------------------------------------------------------

MEASURE_KEPT = """
from pathlib import Path
import torch
from sgear.training.processes import keep_freed_memory
if {keeps}:
    assert keep_freed_memory()
def resident():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])
before = resident()
tensors = [torch.ones(16 * 2**20) for _ in range(2)]
del tensors
print((resident() - before) / 2**20)
"""


def kept_megabytes(*, keeps: bool) -> float:
    code = MEASURE_KEPT.format(keeps=keeps)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_freed_memory_stays_with_the_process_when_asked_to():
    # Two blocks of 64 MB are freed; a few pages beside them are the interpreter's.
    assert kept_megabytes(keeps=False) < 16
    assert kept_megabytes(keeps=True) > 100
