"""RULSTM through the same pipeline as the other models: pre-train, train, fuse, evaluate, save and load."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sgear.data import collate
from sgear.errors import ConfigError, RunError
from sgear.experiment import ExperimentConfig, compose_experiment
from sgear.experiment.build import build_data
from sgear.experiment.evaluate import evaluate_horizons, evaluate_run, predict_split
from sgear.experiment.network import build_network
from sgear.experiment.train import train_run
from sgear.models.pretrained import load_model
from sgear.models.rulstm import Rulstm, RulstmBranch
from sgear.predictions import Predictions
from sgear.timing import AnticipationProtocol
from sgear.training.run import RunDirectory

WIDTH = 64


SETTINGS = """
protocol.tau_o_s=6 source.kind=features source.features=oracle runtime.device=cpu optim.lr=1e-2 optim.epochs=2
model.name=rulstm model.max_steps=8 model.encoder.feature_dim=64 model.rulstm.modalities=[64] model.rulstm.hidden_dim=16
model.rulstm.step_s=1 model.rulstm.tau_a_s=1 model.rulstm.anticipation_steps=4 model.rulstm.dropout=0.2
objective.cls=0 objective.horizons=1 objective.past=0 objective.feat=0
"""


def compose(root: Path, name: str, *overrides: str) -> ExperimentConfig:
    places = [f"name={name}", f"output_root={root}", f"dataset.root={root / 'kitchen'}"]
    return compose_experiment([*places, *SETTINGS.split(), *overrides])


@pytest.fixture(scope="module")
def completed(root: Path) -> RunDirectory:
    completion = ["model.rulstm.sequence_completion=true"]
    return train_run(compose(root, "completion", *completion))


@pytest.fixture(scope="module")
def trained(root: Path, completed: RunDirectory) -> RunDirectory:
    start = [f"init.run={completed.path}", "init.blocks=[branches]"]
    return train_run(compose(root, "branch", *start))


def test_training_starts_from_sequence_completion(root, completed, trained):
    config = compose(root, "again", f"init.run={completed.path}", "init.blocks=[branches]")
    model = build_network(config, build_data(config)).model
    before, after = load_model(completed.model).model.state_dict(), load_model(trained.model).model.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(torch.equal(tensor, before[name]) for name, tensor in after.items())


@torch.no_grad()
def test_a_saved_model_gives_the_same_bits_and_the_same_report(trained):
    predictions, report = Predictions.load(trained.predictions), evaluate_run(trained.path)
    again = Predictions.load(trained.predictions)
    assert np.array_equal(again.logits, predictions.logits)
    assert report["num_evaluated"] == report["num_asked"] == len(again)
    model = load_model(trained.model)
    assert isinstance(model.model, Rulstm)
    assert model.config.rulstm.modalities == [WIDTH]


@torch.no_grad()
def test_another_anticipation_time_equals_the_horizon_of_a_longer_clip(root, trained):
    # The same beginning, an earlier end: what the model says at 3 s is also the horizon of 3 s of the whole clip.
    earlier = AnticipationProtocol(tau_a_s=3.0, tau_o_s=4.0, fps=1.0)
    predictions, _ = predict_split(trained.path, protocol=earlier)
    assert predictions.protocol["tau_a_s"] == 3.0
    config = compose(root, "data")
    samples = build_data(config).validation
    model = load_model(trained.model).model
    batch = collate([samples[index] for index in range(len(samples))])
    column = model.horizons_s(6).index(3.0)
    logits = model.horizon_logits(batch["clip"], batch["mask"])[:, column].numpy()
    is_seen = batch["mask"][:, -3].numpy()
    assert is_seen.sum() > 5
    row_of = {uid: row for row, uid in enumerate(predictions.uids)}
    rows = [row_of[uid] for uid, seen in zip(samples.segments.uids, is_seen, strict=True) if seen]
    np.testing.assert_allclose(predictions.logits[rows], logits[is_seen], rtol=1e-4, atol=1e-5)


def twin_of_the_release(model: Rulstm, table, video_id: str, start_s: float, tau_a_s: float) -> np.ndarray:
    """Sample and predict one segment step by step, as the paper says: what is seen, then what is repeated."""
    first_step_s, step_s = 6.0, 1.0
    branch = model.branches[0]
    assert isinstance(branch, RulstmBranch)
    hidden = memory = torch.zeros(1, 16)
    video, seen = table[video_id], None
    for count in range(int((first_step_s - tau_a_s) / step_s) + 1):
        instant_s = start_s - first_step_s + count * step_s
        rows = np.flatnonzero(video.times_s <= instant_s + 1e-6)
        if instant_s >= video.first_s - 1e-6:
            seen = torch.from_numpy(video.features[rows[-1]])[None]
            hidden, memory = branch.rolling(seen, (hidden, memory))
    for _ in range(int(tau_a_s / step_s) + 1):
        hidden, memory = branch.unrolling(seen, (hidden, memory))
    return branch.classifier(hidden)[0].numpy()


@torch.no_grad()
@pytest.mark.parametrize("tau_a_s", [1.0, 2.0, 4.0])
def test_every_anticipation_time_sees_the_window_of_the_paper_up_to_there(root, trained, tau_a_s):
    # Moved as a whole, the window would begin 6 + tau_a - 1 s before the action, not 6 s.
    evaluate_horizons(trained.path, [tau_a_s])
    predictions = Predictions.load(trained.horizon_predictions(tau_a_s))
    assert predictions.protocol["tau_o_s"] == 7.0 - tau_a_s
    config = compose(root, "data")
    data, model = build_data(config), load_model(trained.model).model
    assert isinstance(model, Rulstm)
    asked = [segment for segment in data.benchmark.validation if segment.start_s >= tau_a_s]
    assert len(asked) > 10
    for segment in asked:
        expected = twin_of_the_release(model, data.features, segment.video_id, segment.start_s, tau_a_s)
        row = predictions.uids.index(segment.uid)
        np.testing.assert_allclose(predictions.logits[row], expected, rtol=1e-4, atol=1e-5)


def test_the_horizons_of_one_window_make_one_curve_and_times_between_them_are_refused(trained):
    curve = evaluate_horizons(trained.path, [1.0, 2.0, 3.0])
    assert list(curve["scores"]) == ["1", "2", "3"]
    with pytest.raises(ConfigError, match=r"--tau-a 1\.5: the steps of the window lie 6 s to 1 s before the action"):
        evaluate_horizons(trained.path, [1.5])


def test_a_fused_model_takes_its_branches_from_runs_of_one_modality(root, trained):
    # The kitchen has one kind of features; two halves of them stand for two modalities.
    halves = [f"model.encoder.feature_dim={2 * WIDTH}", f"model.rulstm.modalities=[{WIDTH},{WIDTH}]"]
    config = compose(root, "fused", *halves, f"init.branches=[{trained.path},{trained.path}]")
    single = compose(root, "single")
    network = build_network(config, build_data(single))
    model, notes = network.model, network.notes
    assert isinstance(model, Rulstm)
    branch = load_model(trained.model).model.branches[0].state_dict()
    for received in model.branches:
        assert all(torch.equal(tensor, branch[name]) for name, tensor in received.state_dict().items())
    assert f"branch 1: from {trained.path}" in notes


@pytest.mark.parametrize(
    ("modalities", "num_runs", "hidden", "message"),
    [
        ([64, 64], 1, 16, r"names 1 runs, but this model has 2 modalities \(64, 64\)"),
        ([32, 64], 2, 16, r"branches\[0\] reads features of width 64 with hidden_dim 16, this model's branch 32"),
        ([64, 64], 2, 8, r"branches\[0\] reads features of width 64 with hidden_dim 16.*64 with 8"),
    ],
)
def test_branches_that_do_not_fit_are_refused_with_both_sides(root, trained, modalities, num_runs, hidden, message):
    runs = ",".join([str(trained.path)] * num_runs)
    changed = [f"model.encoder.feature_dim={sum(modalities)}", f"model.rulstm.modalities={modalities}".replace(" ", "")]
    changed += [f"model.rulstm.hidden_dim={hidden}", f"init.branches=[{runs}]"]
    config = compose(root, "misfit", *changed)
    single = compose(root, "single")
    with pytest.raises(RunError, match=message):
        build_network(config, build_data(single))
