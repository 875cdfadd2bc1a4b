"""A quick choice of size and length of a training on folds of its own training people; validation is not read.

For small data sets, which the sizes of published recipes learn by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from sgear.datasets import dataset_spec
from sgear.errors import ConfigError, RunError
from sgear.experiment.compose import compose_experiment
from sgear.experiment.settings import hydra_override
from sgear.experiment.sweep import Member, SweepRow, failure_text, run_sweep, table_of
from sgear.models.avt import AvtConfig
from sgear.models.sgear import SGearConfig
from sgear.training.run import RunDirectory

NUM_FOLDS = 3
_SMALL = ("model.width=64", "model.decoder.width=64", "model.decoder.num_layers=1")
_LENGTHS = (1.0, 0.5, 0.25)


def candidates(overrides: Sequence[str]) -> list[Member]:
    """Return the trainings of a choice: two sizes, three lengths, three folds.

    Raises:
        ConfigError: If the model has no size to choose, or folds are chosen already.
    """
    config = compose_experiment(list(overrides))
    if not isinstance(config.model, AvtConfig | SGearConfig) or config.protocol.kind == "recognition":
        raise ConfigError(f"--tune chooses sizes of avt and sgear for anticipation, not of {config.model.name}")
    if config.dataset.num_folds:
        raise ConfigError("--tune divides the training people itself; leave out dataset.num_folds and dataset.fold")
    root = Path(config.output_root) / f"{config.name}-tune"
    epochs = sorted({max(1, round(share * config.optim.epochs)) for share in _LENGTHS}, reverse=True)
    members = []
    for (size, small), length, fold in product((("", ()), ("small-", _SMALL)), epochs, range(NUM_FOLDS)):
        name = f"{size}{length}-epochs-fold{fold}"
        settings = [
            *overrides,
            *small,
            f"optim.epochs={length}",
            # A warm-up longer than half of a short training would leave it nothing.
            f"optim.warmup_epochs={min(config.optim.warmup_epochs, length / 2)}",
            *(f"dataset.num_folds={NUM_FOLDS}", f"dataset.fold={fold}"),
            *(hydra_override("output_root", str(root)), f"name={name}"),
        ]
        compose_experiment(settings)
        members.append(Member(RunDirectory(root / name), tuple(settings)))
    return members


def choose(
    overrides: Sequence[str], *, num_jobs: int, say: Callable[[str], None]
) -> tuple[list[str], list[SweepRow], SweepRow]:
    """Train the candidates, and return the settings of the best one, all rows, and the best.

    Args:
        overrides: Settings of the training.
        num_jobs: Processes at a time.
        say: Receives a line for each training.

    Raises:
        ConfigError: See `candidates`.
        RunError: If a candidate failed.
    """
    members = candidates(overrides)
    if failed := run_sweep(members, num_jobs=num_jobs, say=say):
        raise RunError(failure_text(failed))
    rows = table_of([member.run for member in members])
    metric = dataset_spec(compose_experiment(list(overrides)).dataset.name).headline
    # Of equals the first row: the larger and longer one, as the recipe has it.
    best = max(rows, key=lambda row: row.means[metric])
    chosen = next(member for member in members if member.run.name == best.runs[0])
    added = chosen.overrides[len(overrides) : -4]
    return [*overrides, *added], rows, best
