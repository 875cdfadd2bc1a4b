import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("ci")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread():
    """Tests run side by side on two cores; more threads than that only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real recordings and annotations."""
    root = Path(os.environ.get("SGEAR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real data not found at {root}; set SGEAR_DATA to its folder")
    return root


@pytest.fixture(scope="session")
def golden(real_data: Path) -> Path:
    """Folder of values that the peers' own code made, beside the real recordings."""
    root = real_data.parent / "golden"
    if not root.is_dir():
        pytest.skip(f"golden values not found at {root}")
    return root
