import pytest

from sgear.experiment import compose_experiment, list_experiments, load_run_config
from sgear.experiment.build import build_protocol
from sgear.experiment.compose import save_config


@pytest.mark.parametrize("name", list_experiments())
def test_every_experiment_composes_and_survives_its_file(name, tmp_path):
    config = compose_experiment([f"experiment={name}"])
    save_config(config, tmp_path / "config.yaml")
    assert load_run_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("name", list_experiments())
def test_every_experiment_fits_its_clip_into_its_model(name):
    config = compose_experiment([f"experiment={name}"])
    assert build_protocol(config.protocol).num_steps <= config.model.max_steps
