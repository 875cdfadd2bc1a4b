"""A run writes into a folder of its own and removes nothing that is not of a run."""

from pathlib import Path

import pytest

from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment
from sgear.experiment.schema import InitConfig
from sgear.experiment.train import inherited_skips, open_run
from sgear.training.run import write_json


def config(root: Path, name: str):
    return compose_experiment(["experiment=kitchen/avt", f"output_root={root}", f"name={name}"])


def enter(root: Path, name: str):
    with open_run(config(root, name)) as run:
        return run


@pytest.mark.parametrize("name", ["''", "'  '", ".", "../other", "/elsewhere/run"])
def test_a_run_stays_below_its_output_root(name: str, tmp_path: Path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(ConfigError, match="must be the name of a folder under output_root"):
        enter(tmp_path, name)
    assert (tmp_path / "kept").is_dir()


def test_a_folder_that_is_no_run_is_not_touched(tmp_path: Path):
    (tmp_path / "videos" / "P01").mkdir(parents=True)
    with pytest.raises(RunError, match=r"not a run directory \(it holds P01\)"):
        enter(tmp_path, "videos")
    assert (tmp_path / "videos" / "P01").is_dir()


def test_what_a_run_left_before_its_first_checkpoint_is_removed(tmp_path: Path):
    (tmp_path / "died" / "tensorboard").mkdir(parents=True)
    (tmp_path / "died" / "config.yaml").write_text("")
    assert enter(tmp_path, "died").path == tmp_path / "died"
    assert not (tmp_path / "died").exists()


def test_skipped_segments_of_all_branches_are_inherited_where_branches_have_one_name(tmp_path: Path):
    skips = {"rgb": {"train": {"uid1": "lost"}}, "flow": {}, "obj": {"validation": {"uid2": "torn"}}}
    for parent, skipped in skips.items():
        (tmp_path / parent / "seed0").mkdir(parents=True)
        write_json(tmp_path / parent / "seed0" / "run.json", {"skipped": skipped} if skipped else {})
    init = InitConfig(branches=[str(tmp_path / parent / "seed0") for parent in skips])
    assert inherited_skips(init) == {"start from seed0": {"uid1": "lost", "uid2": "torn"}}
