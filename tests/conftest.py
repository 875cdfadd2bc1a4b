import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("ci")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread():
    """Tests run side by side on two cores; more threads than that only wait for each other."""
    torch.set_num_threads(int(os.environ.get("SGEAR_TEST_THREADS", "1")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real recordings and annotations."""
    root = Path(os.environ.get("SGEAR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real data not found at {root}; set SGEAR_DATA to its folder")
    return root


@pytest.fixture(scope="session")
def salads(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of data whose `50salads` holds the raw annotations and the frame-wise labels of all 50 videos."""
    packed = real_data / "dense" / "50salads.tar.xz"
    if not packed.is_file():
        pytest.skip(f"frame-wise labels not found at {packed}")
    folder = tmp_path_factory.mktemp("salads")
    with tarfile.open(packed) as archive:
        labels = [member for member in archive if member.name.startswith("50salads/groundTruth/rgb-")]
        archive.extractall(folder, members=labels, filter="data")
    for path in (real_data / "50salads").iterdir():
        if path.name != "groundTruth":
            (folder / "50salads" / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def golden(real_data: Path) -> Path:
    """Folder of values that the peers' own code made, beside the real recordings."""
    root = real_data.parent / "golden"
    if not root.is_dir():
        pytest.skip(f"golden values not found at {root}")
    return root


@pytest.fixture(scope="session")
def draw_golden_scores():
    """Scores of the real validation segments by the recipe inside ek100_metrics.json, for a benchmark and a seed."""
    # Not above: the type checks of the tests must be in place before the package is loaded.
    from sgear.predictions import Predictions
    from sgear.taxonomy import FIELDS

    def draw(benchmark, seed: int, protocol: dict[str, float | str]) -> Predictions:
        rng = np.random.default_rng(seed)
        logits = {}
        for field in FIELDS:
            labels = benchmark.validation.column(f"{field}_id")
            drawn = rng.standard_normal((len(labels), len(benchmark.taxonomy.names(field))))
            rows = np.flatnonzero(rng.random(len(labels)) < 0.3)
            drawn[rows, labels[rows]] += 4.0
            logits[field] = drawn.astype(np.float32)
        return Predictions(
            uids=tuple(benchmark.validation.uids),
            logits=logits["action"],
            targets=benchmark.validation.column("action_id"),
            taxonomy=benchmark.taxonomy,
            protocol=protocol,
            verb_logits=logits["verb"],
            noun_logits=logits["noun"],
        )

    return draw
