"""The files of a run directory, and nothing else in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgear.errors import RunError
from sgear.predictions.table import protocol_differences, whole_protocol

_NAMES = {
    "checkpoints",
    "config.yaml",
    "horizons.json",
    "metrics.jsonl",
    "model",
    "predictions",
    "report.html",
    "report.json",
    "run.json",
    "tensorboard",
}
"""Everything that a run writes."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside one run.

    `config.yaml` what was asked, `run.json` where it came from, `metrics.jsonl` the log, `checkpoints/` to resume,
    `model/` the trained model, `predictions/` scores per split, `report.json` the numbers, `horizons.json` the numbers
    at several anticipation times.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def provenance(self) -> Path:
        """Versions, commit, data fingerprint."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Training states."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.path / "model"

    @property
    def predictions(self) -> Path:
        """Scores on the validation split."""
        return self.path / "predictions" / "validation.safetensors"

    def split_predictions(self, split: str) -> Path:
        """Scores on another split, e.g. `test`."""
        return self.path / "predictions" / f"{split}.safetensors"

    def horizon_predictions(self, tau_a_s: float) -> Path:
        """Scores on the validation split at another anticipation time."""
        return self.path / "predictions" / f"validation-tau_a-{tau_a_s:g}s.safetensors"

    @property
    def horizons(self) -> Path:
        """The numbers at several anticipation times, where they were asked for."""
        return self.path / "horizons.json"

    @property
    def report(self) -> Path:
        """The numbers."""
        return self.path / "report.json"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    def clear(self) -> None:
        """Remove what a run left that died before its first checkpoint.

        Raises:
            RunError: If the folder holds anything that is not of a run; nothing is removed then.
        """
        names = {entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")}
        strangers = sorted(names - _NAMES)
        if strangers:
            raise RunError(
                f"{self.path}: not a run directory (it holds {', '.join(strangers[:3])}), so nothing is written there; "
                "choose another name=... or output_root=..."
            )
        shutil.rmtree(self.path)

    def require(self) -> RunDirectory:
        """Return self if this is a run directory.

        Raises:
            RunError: If it is not.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run directory; 'sgear train' makes one")
        if not self.config.is_file():
            raise RunError(f"{self.path}: not a run directory (config.yaml is missing); 'sgear train' makes one")
        return self

    def require_evaluated(self) -> RunDirectory:
        """Return self if this is the directory of a run that was trained and evaluated.

        Raises:
            RunError: If it is not.
        """
        self.require()
        for path in (self.model, self.predictions, self.report):
            if not path.exists():
                raise RunError(
                    f"{path} is missing; train the run with 'sgear train', or write it with 'sgear evaluate'"
                )
        return self


def require_one_protocol(path: Path, stated: Mapping[str, dict[str, float | str]]) -> None:
    """Raise unless all parts of a run state one protocol: they differ where files of two runs lie in one folder.

    Args:
        path: Run directory.
        stated: Protocol by the name of the part that states it, two or more.

    Raises:
        RunError: Names two parts, and the settings in which they differ.
    """
    (first, ours), *others = ((part, whole_protocol(protocol)) for part, protocol in stated.items())
    for part, theirs in others:
        if found := protocol_differences(ours, theirs):
            raise RunError(
                f"{path}: {first} and {part} state different protocols ({found}), so they are not of one run; copy the "
                "run again as a whole, or train it again"
            )


def write_json(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        RunError: If the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise RunError(f"{path}: no such file; train or evaluate the run first") from err
    except ValueError as err:
        raise RunError(f"{path}: not valid JSON ({err})") from err
