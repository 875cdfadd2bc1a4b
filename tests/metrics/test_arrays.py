"""Every metric gives for a tensor, of any precision that holds the numbers, what it gives for an array."""

import inspect

import numpy as np
import pytest
import torch

from sgear import metrics

NUM_SAMPLES, NUM_CLASSES, NUM_TIMES = 40, 7, 3
RNG = np.random.default_rng(0)
# Whole multiples of 1/64 up to 1: exact in bfloat16 and float16 too.
CELLS = RNG.integers(0, 65, (NUM_SAMPLES, NUM_CLASSES)) / 64
TARGETS = RNG.integers(0, NUM_CLASSES, NUM_SAMPLES)
HITS = RNG.integers(0, 2, (2, NUM_SAMPLES)).astype(bool)
TIMES_S = np.array([1.0, 0.5, 0.25])

ARGUMENTS = {
    "scores": CELLS,
    "probs": CELLS,
    "action_probs": CELLS,
    "confidence": CELLS.max(axis=1),
    "values": CELLS[:, 0],
    "first": CELLS[:, 0],
    "second": CELLS[:, 1],
    "targets": TARGETS,
    "classes": np.array([0, 2, 5]),
    "part_of_action": np.arange(NUM_CLASSES) % 3,
    "is_right": HITS[0],
    "hits": RNG.integers(0, 2, (NUM_SAMPLES, NUM_TIMES)).astype(bool),
    "ranks": RNG.integers(0, NUM_CLASSES, (NUM_SAMPLES, NUM_TIMES)),
    "tau_a_s": TIMES_S,
}
NUMBERS = {"k": 3, "num_parts": 3, "num_classes": NUM_CLASSES, "num_resamples": 50}
NOT_OF_ARRAYS = ("bootstrap_statistic", "metrics", "register_metric")
FUNCTIONS = sorted(name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name)))


def test_the_functions_are_those_of_arrays():
    assert len(FUNCTIONS) > 10
    # The rows of a resample are made by the function itself.
    assert {name for name in FUNCTIONS if not arguments_of(name)[0]} == set(NOT_OF_ARRAYS)


def arguments_of(name: str) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return the arrays and the numbers that a metric takes, by name."""
    names = inspect.signature(getattr(metrics, name)).parameters
    return tuple({key: table[key] for key in names if key in table} for table in (ARGUMENTS, NUMBERS))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in NOT_OF_ARRAYS])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_tensor_gives_the_value_of_an_array(name, dtype):
    arrays, numbers = arguments_of(name)
    function = getattr(metrics, name)
    expected = function(**arrays, **numbers)
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    for key, tensor in tensors.items():
        if tensor.is_floating_point():
            tensors[key] = tensor.to(getattr(torch, dtype)).requires_grad_()
    assert_equal(function(**tensors, **numbers), expected)
    if dtype != "bfloat16":
        same = {key: value.astype(dtype) if value.dtype.kind == "f" else value for key, value in arrays.items()}
        assert_equal(function(**same, **numbers), expected)


def assert_equal(found, expected) -> None:
    """Compare numbers, arrays, and results that are made of them."""
    if hasattr(expected, "__dict__"):
        assert type(found) is type(expected)
        found, expected = list(vars(found).values()), list(vars(expected).values())
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert not isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
