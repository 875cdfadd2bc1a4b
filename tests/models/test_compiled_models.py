import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import EVERY, RULSTM

SCRIPT = Path(__file__).with_name("run_compiled.py")


def run(backend: str, *names: str) -> dict[str, float]:
    command = [sys.executable, str(SCRIPT), backend, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    return {what: float(difference) for what, difference in lines}


def test_a_training_step_compiles_whole_and_a_network_exports_for_any_number_of_clips():
    # One of each form of TCA and of prototype attention, on pixels: stored features have one token, which TCA skips.
    names = ("sgear", "sgear-decay", "sgear-causal", "sgear-released")
    differences = run("aot_eager", *names)
    assert set(differences) == {f"{name} {how}" for name in names for how in ("compiled", "exported")}
    assert max(differences.values()) <= 1e-6


def test_the_baselines_compile_whole_and_export_for_any_number_of_clips():
    differences = run("aot_eager", "avt", "rulstm")
    assert len(differences) == 4
    assert max(differences.values()) <= 1e-6


@pytest.mark.slow
def test_every_model_compiles_and_exports():
    names = (*EVERY, *RULSTM)
    differences = run("aot_eager", *names)
    assert len(differences) == 2 * len(names)
    assert max(differences.values()) <= 1e-6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_gives_the_losses_and_gradients_of_the_plain_model():
    # Fused kernels sum in another order; 6e-6 measured.
    assert max(run("inductor", "sgear", "avt", "rulstm-fused").values()) <= 5e-5
