"""Commands load what they need: scores of a file take no network, no plots, and no configuration."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sgear.datasets import load_dataset

HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "matplotlib",
    "sklearn",
    "hydra",
    "omegaconf",
    "tensorboard",
    "accelerate",
    "av",
}
COUNT = """
import json, sys
from sgear.cli.main import main
sys.argv = ["sgear", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_of(*words: object) -> tuple[int, set[str]]:
    """Return the exit code of a command, and all modules that it has loaded at its end."""
    done = subprocess.run([sys.executable, "-c", COUNT, *map(str, words)], capture_output=True, text=True, check=False)
    return done.returncode, set(json.loads(done.stderr.splitlines()[-1]))


def require_light(modules: set[str]) -> None:
    assert not HEAVY & modules
    assert len([name for name in modules if name == "sgear" or name.startswith("sgear.")]) <= 60


@pytest.mark.data
def test_scores_of_a_file_load_little(real_data, tmp_path):
    root, file = real_data / "egtea", tmp_path / "preds.npz"
    asked = load_dataset("egtea", root)
    scores = np.random.default_rng(0).standard_normal((len(asked.validation), asked.taxonomy.num_actions))
    np.savez(file, uids=np.array(asked.validation.uids), scores=scores.astype(np.float32))
    code, modules = modules_of("evaluate", file, "--dataset", "egtea", "--root", root)
    assert code == 0
    require_light(modules)


@pytest.mark.data
def test_the_largest_data_set_loads_little(real_data, tmp_path):
    np.savez(tmp_path / "preds.npz", uids=np.array(["P01_11_0"]), scores=np.zeros((1, 3806), np.float32))
    root = real_data / "epic-kitchens-100-annotations"
    code, modules = modules_of("evaluate", tmp_path / "preds.npz", "--dataset", "epic100", "--root", root)
    assert code == 2
    assert "sgear.datasets.epic" in modules
    require_light(modules)


def test_help_loads_no_network():
    code, modules = modules_of("--help")
    assert code == 0
    assert not HEAVY & modules


BLOCKED = """
import sys
for name in %r:
    sys.modules[name] = None
from sgear.cli.main import main
sys.argv = ["sgear", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    ("words", "extra"),
    [(("train", "experiment=own/avt"), "train"), (("report", "RUN"), "report"), (("anticipate", "v.mp4"), "")],
)
def test_a_command_names_the_extra_that_it_lacks(words, extra, tmp_path):
    absent = ("hydra", "omegaconf", "accelerate", "matplotlib", "sklearn", "tensorboard")
    command = [sys.executable, "-c", BLOCKED % (absent,), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert (f"pip install 'sgear[{extra}]'" in done.stderr) == bool(extra)
