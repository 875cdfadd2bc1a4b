"""Published weights as runs: imported, evaluated, submitted like trained ones, and as the start of a training.

The peers' own weights and inputs become a data set of features, one video per clip, so that the whole way is checked:
class order, vocabulary, sampling, model, predictions.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import released_sgear as release
from sgear.cli.main import app
from sgear.datasets.own import import_own
from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment, load_run_config
from sgear.experiment.build import build_data, load_benchmark
from sgear.experiment.evaluate import evaluate_horizons, evaluate_run
from sgear.experiment.leakage import require_unseen
from sgear.experiment.network import build_network
from sgear.experiment.schema import ExperimentConfig
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter
from sgear.importing import import_weights
from sgear.models.pretrained import load_model
from sgear.predictions import Predictions
from sgear.training.run import read_json

LABELS = [f"action {letter}" for letter in "abcdefghijk"]
# Class of the checkpoint -> label: no class lies where the data set has it.
ORDER = [*range(3, 11), 0, 1, 2]
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Peer:
    """A data set made of a peer's inputs, its weights under its own names, and its scores in our class order."""

    root: Path
    weights: Path
    names: Path
    experiment: tuple[str, ...]
    scores: np.ndarray

    def config(self, name: str, *overrides: str) -> ExperimentConfig:
        return compose_experiment([*self.experiment, f"name={name}", f"output_root={self.root / 'runs'}", *overrides])


def make_data(root: Path, modalities: dict[str, np.ndarray], *, step_s: float) -> None:
    """Write annotations and one video of features per clip; the action begins one step after the last row."""
    num_clips, num_steps, _ = next(iter(modalities.values())).shape
    start_s = num_steps * step_s
    rows = [f"t{i}, train, {i + 20}, {i + 20.5}, {label}" for i, label in enumerate(LABELS)]
    rows += [f"v{i}, validation, {start_s}, {start_s + 0.5}, {LABELS[i]}" for i in range(num_clips)]
    csv = root / "own.csv"
    csv.write_text("\n".join(["video,split,start,stop,label", *(row.replace(", ", ",") for row in rows)]) + "\n")
    assert import_own(csv, root / "data").is_accepted
    for name, clips in modalities.items():
        provenance = Provenance(encoder="golden", weights="", preprocessing="none", fps=1 / step_s)
        writer = FeatureStoreWriter(root / "data" / "features" / name, provenance, width=clips.shape[2])
        for i, clip in enumerate(clips):
            writer.write(f"v{i}", np.arange(num_steps) * step_s, clip.astype(np.float32))
        for i in range(len(LABELS)):
            writer.write(f"t{i}", np.arange(100) * 0.5, np.zeros((100, clips.shape[2]), np.float32))
        writer.finish()


def write_names(path: Path, order=ORDER) -> Path:
    path.write_text("".join(f"{class_id} {LABELS[row]}\n" for class_id, row in enumerate(order)))
    return path


@pytest.fixture(scope="module")
def rulstm(golden: Path, tmp_path_factory) -> Peer:
    root, values = tmp_path_factory.mktemp("rulstm"), load_file(golden / "rulstm.safetensors")
    names = ["rgb", "flow", "obj"]
    make_data(root, {name: values[f"inputs.{i}"].numpy() for i, name in enumerate(names)}, step_s=0.25)
    state = {name.removeprefix("state."): tensor for name, tensor in values.items() if name.startswith("state.")}
    # As its authors save: numpy scores beside the weights.
    torch.save({"epoch": 3, "state_dict": state, "perf": np.float64(1.5)}, root / "RULSTM-anticipation_best.pth.tar")
    experiment = (
        "experiment=epic100/rulstm",
        f"dataset.root={root / 'data'}",
        "dataset.name=csv",
        "model.encoder.feature_dim=43",
        "model.rulstm.modalities=[20,14,9]",
        "model.rulstm.hidden_dim=12",
        "runtime.device=cpu",
    )
    weights = root / "RULSTM-anticipation_best.pth.tar"
    fused = values["fused_logits"].numpy()
    return Peer(root, weights, write_names(root / "actions.txt"), experiment, fused[..., np.argsort(ORDER)])


@pytest.fixture(scope="module")
def avt(golden: Path, tmp_path_factory) -> Peer:
    root, values = tmp_path_factory.mktemp("avt"), load_file(golden / "avt_head.safetensors")
    make_data(root, {"rgb": values["features"].numpy()}, step_s=1.0)
    state = {name.removeprefix("state."): tensor for name, tensor in values.items() if name.startswith("state.")}
    save_file(state, root / "checkpoint.safetensors")
    experiment = (
        "experiment=epic100/avt_tsn",
        f"dataset.root={root / 'data'}",
        "dataset.name=csv",
        "protocol.tau_o_s=9",
        "model.width=16",
        "model.encoder.map=true",
        "model.encoder.feature_dim=24",
        "model.decoder.width=32",
        "model.decoder.num_layers=2",
        "runtime.device=cpu",
        "runtime.precision=fp32",
    )
    logits = values["logits"].numpy()[:, np.argsort(ORDER)]
    return Peer(root, root / "checkpoint.safetensors", write_names(root / "actions.txt"), experiment, logits)


@pytest.fixture(scope="module")
def sgear(tmp_path_factory) -> Peer:
    root, gpt2 = tmp_path_factory.mktemp("sgear"), release.make_gpt2()
    stored = release.released_weights(gpt2, feature_dim=6, num_actions=len(LABELS))
    clips = np.random.default_rng(0).normal(size=(3, release.NUM_STEPS, 6)).astype(np.float32)
    make_data(root, {"rgb": clips}, step_s=1.0)
    torch.save({"model": stored, "epoch": 50}, root / "checkpoint.pth")
    experiment = (
        "experiment=epic100/tsn",
        f"dataset.root={root / 'data'}",
        "dataset.name=csv",
        f"protocol.tau_o_s={release.NUM_STEPS}",
        "protocol.short_history=repeat",
        f"model.width={release.WIDTH}",
        f"model.max_steps={release.NUM_STEPS}",
        "model.encoder.feature_dim=6",
        "model.encoder.standardise=true",
        "model.prototype_attention.mode=original",
        "model.decoder.width=16",
        "model.decoder.num_layers=2",
        "model.decoder.num_heads=2",
        "runtime.device=cpu",
        "runtime.precision=fp32",
    )
    scores = [release.released_logits(stored, gpt2, torch.from_numpy(clip)[:, None]).numpy() for clip in clips]
    names = write_names(root / "actions.txt")
    return Peer(root, root / "checkpoint.pth", names, experiment, np.stack(scores)[:, np.argsort(ORDER)])


def test_imported_sgear_predicts_what_the_released_code_predicts(sgear):
    run, said = run_of(sgear, "published")
    assert "trained with" not in said
    report = evaluate_run(run.path)
    assert report["num_evaluated"] == report["num_asked"] == 3
    np.testing.assert_allclose(logits_of(run.predictions, 3), sgear.scores, rtol=1e-4, atol=1e-4)
    assert "unexpected 1 tensors: cls_map_verb_action 1" in said
    assert "prototype_mix.log_temperature" in said


def run_of(peer: Peer, name: str, *overrides: str, class_names: str | None = None):
    lines: list[str] = []
    names = str(peer.names) if class_names is None else class_names
    run = import_weights(peer.config(name, *overrides), peer.weights, class_names=names, say=lines.append)
    return run, "\n".join(lines)


def logits_of(path: Path, num_clips: int) -> np.ndarray:
    table = Predictions.load(path)
    return table.logits[[table.uids.index(f"v{i}_0") for i in range(num_clips)]]


def test_imported_rulstm_predicts_what_its_authors_code_predicts(rulstm):
    run, said = run_of(rulstm, "published")
    report = evaluate_run(run.path)
    assert report["num_evaluated"] == report["num_asked"] == 4
    np.testing.assert_allclose(logits_of(run.predictions, 4), rulstm.scores[:, -1], rtol=TOLERANCE, atol=TOLERANCE)
    assert f"from {rulstm.weights}: missing none" in said
    assert f"from {rulstm.weights}: unexpected none" in said
    assert "num_heads" not in said
    assert "classes: 11 actions, 11 of them at another place in the checkpoint" in said


@pytest.mark.parametrize("step_idx", range(6, 14))
def test_each_anticipation_time_of_an_imported_rulstm_is_that_step_of_its_authors(rulstm, step_idx):
    if not (run := rulstm.root / "runs" / "horizons").is_dir():
        run_of(rulstm, "horizons")
    tau_a_s = 0.25 * (14 - step_idx)
    evaluate_horizons(run, [tau_a_s])
    logits = logits_of(run / "predictions" / f"validation-tau_a-{tau_a_s:g}s.safetensors", 4)
    np.testing.assert_allclose(logits, rulstm.scores[:, step_idx], rtol=TOLERANCE, atol=TOLERANCE)


def test_imported_avt_predicts_what_its_authors_code_predicts(avt):
    run, said = run_of(avt, "published")
    evaluate_run(run.path)
    np.testing.assert_allclose(logits_of(run.predictions, 3), avt.scores, rtol=TOLERANCE, atol=TOLERANCE)
    assert "missing 1 tensors: encoder 1 (encoder.feature_scale); each has one right value" in said
    assert "model.decoder.num_heads=4 was assumed: no file stores it" in said
    assert "num_heads=4 was assumed" in read_json(run.provenance)["weights"]["summary"]


def test_a_run_for_the_challenge_can_be_imported_at_its_anticipation_time(rulstm):
    at_1_s = ("protocol.tau_a_s=1.0", "protocol.tau_o_s=2.75", "model.rulstm.tau_a_s=1.0")
    run, _ = run_of(rulstm, "at-1-s", *at_1_s)
    evaluate_run(run.path)
    np.testing.assert_allclose(logits_of(run.predictions, 4), rulstm.scores[:, 10], rtol=TOLERANCE, atol=TOLERANCE)


def test_an_imported_run_is_complete_and_says_where_it_comes_from(rulstm):
    run, said = run_of(rulstm, "complete")
    digest = sha256(rulstm.weights.read_bytes()).hexdigest()
    weights = read_json(run.provenance)["weights"]
    assert weights["file"] == "RULSTM-anticipation_best.pth.tar"
    assert weights["sha256"] == digest
    assert digest in said
    stored = load_run_config(run.config)
    assert (stored.init.weights, stored.init.class_names) == (str(rulstm.weights), str(rulstm.names))
    trained = load_model(run.model)
    assert trained.preprocessing.kind == "features"
    assert trained.protocol.to_dict()["tau_a_s"] == 0.25
    # Each action stands once in training, so the prior is even.
    assert trained.log_prior.exp().tolist() == pytest.approx([1 / 11] * 11)
    evaluate_run(run.path)
    assert run.require_evaluated() == run


def test_the_order_of_the_classes_must_be_given(rulstm):
    with pytest.raises(ConfigError, match=r"does not name its classes: give the list with ids.* or same-order"):
        run_of(rulstm, "unnamed", class_names="")
    assert not (rulstm.root / "runs" / "unnamed").exists()


def test_the_same_order_takes_the_classes_as_they_lie(rulstm):
    run, said = run_of(rulstm, "same", class_names="same-order")
    evaluate_run(run.path)
    expected = rulstm.scores[:, -1][:, ORDER]
    np.testing.assert_allclose(logits_of(run.predictions, 4), expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert "0 of them at another place" in said


def test_weights_of_the_other_model_are_refused_with_the_remedy(avt, rulstm):
    with pytest.raises(ConfigError, match=r"checkpoint\.safetensors: model\.name=rulstm was asked for, but .* avt"):
        import_weights(rulstm.config("other"), avt.weights, class_names="same-order", say=print)
    with pytest.raises(ConfigError, match=r"model\.name=avt was asked for.*choose an experiment of RULSTM"):
        import_weights(avt.config("other"), rulstm.weights, class_names="same-order", say=print)
    data = ["dataset.name=csv", f"dataset.root={avt.root / 'data'}", "source.features=rgb"]
    sgear = compose_experiment(["experiment=smoke/kitchen", *data])
    with pytest.raises(ConfigError, match=r"model\.name=sgear was asked for, but future_predictor\.\S+ .* of avt"):
        import_weights(sgear, avt.weights, class_names="same-order", say=print)


def test_other_sizes_are_refused_with_the_settings_that_fit(avt):
    with pytest.raises(ConfigError, match=r"checkpoint\.safetensors: the checkpoint does not fit.*num_layers=2"):
        run_of(avt, "shallow", "model.decoder.num_layers=1")


def test_a_vit_or_a_model_of_this_package_is_told_where_it_belongs(avt, tmp_path):
    save_file({"patch_embed.proj.weight": torch.zeros(1)}, tmp_path / "vit.safetensors")
    with pytest.raises(ConfigError, match=r"a timm ViT alone: train with model\.encoder\.weights=FILE"):
        import_weights(avt.config("vit"), tmp_path / "vit.safetensors", class_names="same-order", say=print)
    run, _ = run_of(avt, "ours")
    with pytest.raises(ConfigError, match=r"this package wrote: start from their run directory with init\.run=RUN"):
        import_weights(avt.config("x"), run.model / "weights.safetensors", class_names="same-order", say=print)


def test_code_in_a_checkpoint_is_refused(avt, tmp_path):
    touched = tmp_path / "touched"
    torch.save({"model": {}, "extra": Payload(touched)}, tmp_path / "bad.pth")
    with pytest.raises(RunError, match="nothing in it was executed"):
        import_weights(avt.config("bad"), tmp_path / "bad.pth", class_names="same-order", say=print)
    assert not touched.exists()


class Payload:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self):
        return Path.touch, (self.touched,)


def test_the_command_prints_the_summary_and_what_comes_next(avt):
    overrides = [*avt.experiment, "name=by-command", f"output_root={avt.root / 'runs'}"]
    done = CliRunner().invoke(
        app, ["import-weights", str(avt.weights), *overrides, "--class-names", str(avt.names)], env={"COLUMNS": "300"}
    )
    assert done.exit_code == 0, done.output
    run = avt.root / "runs" / "by-command"
    for text in ("loaded 32 tensors", "missing 1 tensors: encoder 1", "unexpected none", f"sgear evaluate {run}"):
        assert text in done.output
    assert (run / "model" / "weights.safetensors").is_file()


def test_a_run_is_not_overwritten(avt):
    run_of(avt, "twice")
    with pytest.raises(RunError, match=r"a run of this name exists; choose another name=\.\.\., or delete the folder"):
        run_of(avt, "twice")
    with pytest.raises(ConfigError, match=r"runtime\.resume=true has no effect: importing weights trains nothing"):
        run_of(avt, "twice", "runtime.resume=true")


# --- as the start of a training ------------------------------------------------------------------------------------


def network_of(peer: Peer, *overrides: str):
    config = peer.config("start", *overrides)
    return build_network(config, build_data(config))


def test_training_starts_from_all_published_weights(avt):
    network = network_of(avt, f"init.weights={avt.weights}", f"init.class_names={avt.names}")
    model, notes = network.model, network.notes
    clip = torch.from_numpy(load_clips(avt))
    with torch.no_grad():
        np.testing.assert_allclose(model.eval()(clip).logits.numpy(), avt.scores, rtol=TOLERANCE, atol=TOLERANCE)
    said = "\n".join(notes)
    assert f"from {avt.weights}: loaded 32 tensors: encoder 1, decoder 29, classifier 2 (" in said
    assert f"from {avt.weights}: missing 1 tensors: encoder 1 (encoder.feature_scale)" in said
    assert f"from {avt.weights}: unexpected none" in said
    config = avt.config("start", f"init.weights={avt.weights}", f"init.class_names={avt.names}")
    (note,) = require_unseen(config, load_benchmark(config.dataset))
    assert "published weights checkpoint.safetensors does not say what it was learnt from" in note


def load_clips(peer: Peer) -> np.ndarray:
    return np.stack([build_data(peer.config("read")).features[f"v{i}"].features for i in range(len(peer.scores))])


def test_training_starts_from_a_block_of_published_weights(avt):
    whole = network_of(avt, f"init.weights={avt.weights}", f"init.class_names={avt.names}").model
    network = network_of(avt, f"init.weights={avt.weights}", "init.blocks=[decoder]")
    part, notes = network.model, network.notes
    theirs = whole.state_dict()
    same = {name.split(".")[0] for name, tensor in part.state_dict().items() if torch.equal(tensor, theirs[name])}
    assert "decoder" in same
    assert "classifier" not in same
    said = "\n".join(notes)
    assert f"from {avt.weights}: loaded 29 tensors: decoder 29 (" in said
    assert f"from {avt.weights}: missing 4 tensors: encoder 2, classifier 2 (" in said
    assert f"from {avt.weights}: unexpected 3 tensors: encoder 1, classifier 2 (" in said


def test_statistics_of_the_features_at_hand_outlive_a_published_start(avt):
    fresh = network_of(avt).model
    started = network_of(avt, f"init.weights={avt.weights}", f"init.class_names={avt.names}").model
    assert torch.equal(started.encoder.feature_scale, fresh.encoder.feature_scale)


def test_blocks_with_classes_need_their_order_and_others_refuse_it(avt):
    with pytest.raises(ConfigError, match="does not name its classes"):
        network_of(avt, f"init.weights={avt.weights}", "init.blocks=[classifier]")
    with pytest.raises(
        ConfigError, match=r"init\.class_names=same-order has no effect with init\.blocks=\['decoder'\]"
    ):
        network_of(avt, f"init.weights={avt.weights}", "init.blocks=[decoder]", "init.class_names=same-order")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init.weights=a", "init.run=b", "init.blocks=[decoder]"], r"init\.weights=a and init\.run=b"),
        (["init.class_names=same-order"], r"class_names=same-order has no effect with init\.weights="),
        (
            ["init.weights=a", "model.name=sgear", "init.visual_prototypes=b"],
            r"init\.blocks=\[\] takes the prototypes of init\.weights=a, and init\.visual_prototypes would overwrite",
        ),
    ],
)
def test_settings_of_a_published_start_that_contradict_each_other_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose_experiment(["experiment=epic100/avt_tsn", *overrides])
