import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FUZZERS = sorted((REPOSITORY / "fuzz").glob("fuzz_*.py"))


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed (Linux, Python < 3.14)"
)
@pytest.mark.parametrize("script", FUZZERS, ids=lambda path: path.stem)
def test_a_fixed_round_of_fuzzing_finds_nothing(script, tmp_path):
    # A seed and a count: the same inputs each time, so only a change of ours can make it fail. `make fuzz` searches.
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [sys.executable, script, "-seed=1", "-runs=3000", f"-artifact_prefix={tmp_path}/", str(corpus)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Done " in done.stderr
