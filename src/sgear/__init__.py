"""Egocentric action anticipation: S-GEAR and its peers, from video to trusted numbers.

The public names are below; each is loaded when it is first used, so that `import sgear` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgear.anticipator import Anticipator, load
    from sgear.api import (
        create_model,
        evaluate,
        fuse,
        list_datasets,
        list_experiments,
        list_models,
        load_dataset,
        train,
    )
    from sgear.forecast import Forecast
    from sgear.predictions import Predictions
    from sgear.timing import AnticipationProtocol
    from sgear.video.camera import camera

__version__ = "0.1.0"

__all__ = [
    "AnticipationProtocol",
    "Anticipator",
    "Forecast",
    "Predictions",
    "__version__",
    "camera",
    "create_model",
    "evaluate",
    "fuse",
    "list_datasets",
    "list_experiments",
    "list_models",
    "load",
    "load_dataset",
    "train",
]

_API = ("create_model", "evaluate", "fuse", "list_datasets", "list_experiments", "list_models", "load_dataset", "train")
_HOMES: dict[str, str] = dict.fromkeys(("Anticipator", "load"), "sgear.anticipator")
_HOMES |= dict.fromkeys(_API, "sgear.api")
_HOMES |= {
    "AnticipationProtocol": "sgear.timing",
    "Forecast": "sgear.forecast",
    "Predictions": "sgear.predictions",
    "camera": "sgear.video.camera",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sgear' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
