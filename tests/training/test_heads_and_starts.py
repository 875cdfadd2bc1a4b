"""What a run is told to start from, to freeze and to predict reaches its predictions and its words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sgear.errors import RunError
from sgear.experiment import compose_experiment
from sgear.experiment.train import train_run
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.models.pretrained import load_model
from sgear.predictions import Predictions

CONFIG = KitchenConfig(
    num_train_videos=3, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=10
)


def train(root: Path, name: str, *overrides: str, say=lambda message: None):
    settings = [f"dataset.root={root / 'kitchen'}", f"output_root={root}", f"name={name}", "optim.epochs=1"]
    settings += ["runtime.device=cpu", "model.width=32", "model.decoder.width=32", *overrides]
    return train_run(compose_experiment(["experiment=smoke/kitchen", *settings]), say)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    build_kitchen(folder / "kitchen", CONFIG, num_processes=1, with_videos=False)
    train(
        folder,
        "first",
        "model.head.verb_noun=true",
        "objective.cls_verb=0.5",
        "objective.cls_noun=0.5",
        "objective.mixup=0.2",
    )
    return folder


def test_scores_of_verb_and_noun_classifiers_reach_the_predictions(root: Path):
    table = Predictions.load(root / "first" / "predictions" / "validation.safetensors")
    assert table.verb_logits is not None
    assert table.noun_logits is not None
    assert table.verb_logits.shape == (len(table), len(table.taxonomy.verbs))
    summed = replace(table, verb_logits=None, noun_logits=None)
    for field in ("verb", "noun"):
        assert not np.allclose(table.field_probs(field), summed.field_probs(field), atol=1e-3)
    lines = (root / "first" / "metrics.jsonl").read_text().splitlines()
    assert all('"cls_verb"' in line and '"cls_noun"' in line for line in lines if '"train"' in line)


def test_a_segment_with_nothing_to_see_gets_the_prior_of_its_verbs_and_nouns(root: Path):
    run = train(
        root,
        "blind",
        "model.head.verb_noun=true",
        "objective.cls_verb=0.5",
        "objective.cls_noun=0.5",
        "protocol.tau_a_s=12.0",
    )
    table = Predictions.load(run.predictions)
    assert table.provenance["num_from_prior"] > 0
    prior = load_model(run.model).log_prior.exp().numpy()
    is_blind = np.abs(table.probs - prior).max(axis=1) < 1e-6
    assert is_blind.sum() == table.provenance["num_from_prior"]
    summed = replace(table, verb_logits=None, noun_logits=None)
    for field in ("verb", "noun"):
        np.testing.assert_allclose(table.field_probs(field)[is_blind], summed.field_probs(field)[is_blind], atol=1e-6)


def test_a_run_says_what_it_starts_from_and_what_is_frozen(root: Path):
    said: list[str] = []
    run = train(
        root,
        "second",
        f"init.run={root / 'first'}",
        "init.blocks=[encoder,decoder,prototypes,classifier]",
        "init.freeze=[prototypes,encoder]",
        say=said.append,
    )
    words = "\n".join(said)
    start = f"initialised from {root / 'first'}: "
    assert f"{start}loaded " in words
    assert "prototypes 1, " in words
    missing, unexpected = (next(text for text in said if text.startswith(start + kind)) for kind in ("miss", "unexp"))
    for block in ("fusion_gate 1", "prototype_attention ", "prototype_mix "):
        assert block in missing
    assert "field_classifiers 4" in unexpected
    assert "prototypes: frozen, " in words
    first, second = (load_model(root / name / "model").model for name in ("first", "second"))
    assert run.name == "second"
    assert torch.equal(first.bank.visual, second.bank.visual)
    assert torch.equal(first.encoder.project.weight, second.encoder.project.weight)
    assert not torch.equal(first.decoder.project_out.weight, second.decoder.project_out.weight)


def test_an_unknown_block_is_named_before_anything_is_written(root: Path):
    with pytest.raises(RunError, match=r"init\.freeze: this model has no block 'neck'; it has"):
        train(root, "third", "init.freeze=[neck]")
    assert not (root / "third").exists()
