"""Whether the values of an LMDB are float32, as their length alone does not tell.

Twice as many float16 numbers, or half as many float64 numbers, have the length of a row of float32. Read as float32
their bits give numbers of any size, though: most of them are huge or vanishing, which features are not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureWidthError

FLOAT_BYTES = 4
_OTHERS = ("float64", "float16")
_USUAL = (1e-12, 1e12)
_MOST_UNUSUAL = 0.05


def require_float32(values: bytes, origin: str) -> None:
    """Refuse values that are no float32 numbers.

    Args:
        values: One value of the database, or several in a row.
        origin: What they are, for the message.

    Raises:
        FeatureWidthError: If their length is none of float32 numbers, or they make sense as float16 or float64 alone.
    """
    if not values or len(values) % FLOAT_BYTES:
        raise FeatureWidthError(
            f"{origin} has {len(values)} bytes, which is no row of float32 numbers; export it again as float32 buffers"
        )
    if _is_usual(np.frombuffer(values, np.float32)):
        return
    for name in _OTHERS:
        dtype = np.dtype(name)
        if len(values) % dtype.itemsize == 0 and _is_usual(np.frombuffer(values, dtype)):
            raise FeatureWidthError(
                f"{origin} looks like {name}: its {len(values)} bytes are {len(values) // dtype.itemsize} numbers of "
                f"usual size then, and as float32 they are {len(values) // FLOAT_BYTES} without sense; export it again "
                "as float32 buffers"
            )


def _is_usual(numbers: NDArray) -> bool:
    """Return whether all numbers are finite and few of them, other than 0, are of a size that features do not have."""
    if not np.isfinite(numbers).all():
        return False
    sizes = np.abs(numbers[numbers != 0].astype(np.float64))
    unusual = (sizes < _USUAL[0]) | (sizes > _USUAL[1])
    return bool(unusual.sum() <= _MOST_UNUSUAL * len(numbers))
