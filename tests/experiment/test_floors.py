"""Own data: what the simplest models reach stands beside every result."""

from pathlib import Path

import numpy as np
import pytest

from sgear.cli.predictions import print_scores
from sgear.datasets.own import import_own
from sgear.experiment import compose_experiment
from sgear.experiment.evaluate import FLOORS, evaluate_run
from sgear.experiment.train import train_run
from sgear.features.imports import ArrayFormat, find_arrays, import_arrays
from sgear.training.run import RunDirectory, read_json

ACTIONS = ("take cup", "pour milk", "take cup", "drink milk")
SETTINGS = ("runtime.device=cpu", "model.encoder.feature_dim=6")
SMALL = (
    *("optim.epochs=1", "model.width=16", "model.decoder.width=16", "model.decoder.num_layers=1"),
    "model.decoder.num_heads=2",
)


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """Five videos of people who do the same four things, with features that show which one."""
    folder = tmp_path_factory.mktemp("floors")
    rows, rng = [], np.random.default_rng(0)
    (folder / "arrays").mkdir()
    for person in range(5):
        features = 0.3 * rng.standard_normal((80 + person, 6))
        for place, name in enumerate(ACTIONS):
            rows.append(f"p{person},v{person},{2 + 4 * place},{5 + 4 * place},{name}")
            features[4 * (2 + 4 * place) : 4 * (5 + 4 * place), place] += 8
        np.save(folder / "arrays" / f"v{person}.npy", features.astype(np.float32))
    (folder / "own.csv").write_text("\n".join(["participant,video,start,stop,label", *rows]) + "\n")
    assert import_own(folder / "own.csv", folder / "data").is_accepted
    arrays = find_arrays(folder / "arrays")
    import_arrays(arrays, folder / "data" / "features" / "vit", ArrayFormat(fps=4.0), name="arrays")
    return folder


def train(own: Path, recipe: str, *more: str) -> RunDirectory:
    settings = [f"experiment=own/{recipe}", f"dataset.root={own / 'data'}", f"output_root={own}", *SETTINGS, *more]
    return train_run(compose_experiment(settings))


def test_floors_stand_beside_an_own_result_and_stay_when_it_is_evaluated_again(own, capsys):
    run = train(own, "avt_features", "name=avt", *SMALL, "protocol.tau_o_s=4.0")
    floors = read_json(run.report)[FLOORS]
    assert list(floors) == ["frequency", "last_recognised", "pooled"]
    # "take cup" is half of all that happens, so the prior is right on half of it, and on 1 of 3 classes.
    assert floors["frequency"]["top1"] == 0.5
    for name in ("last_recognised", "pooled"):
        alone = read_json(
            train(own, "avt_features", f"name={name}", f"model.name={name}", "protocol.tau_o_s=4.0").report
        )
        expected = alone["scores"]["overall"]["action"]
        assert floors[name] == {metric: expected[metric] for metric in floors[name]}
    assert evaluate_run(run.path)[FLOORS] == floors
    capsys.readouterr()
    print_scores(read_json(run.report))
    assert "floor, frequency: top-1 50.0" in capsys.readouterr().out


def test_recognition_has_no_floor(own):
    run = train(own, "recognition_features", "name=recognition", *SMALL)
    assert FLOORS not in read_json(run.report)
