"""A sweep: one run for each combination of values that settings are given, and the table of their means.

`seed=0,1,2 dataset.fold=range(5)` is written as for Hydra's multirun. Each member is a process of its own and a run
like any other; one that fails is named and the others go on. A sweep that is started again goes on where it was.
"""

from __future__ import annotations

import itertools
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sgear.errors import ConfigError
from sgear.experiment.compose import compose_experiment, load_run_config
from sgear.experiment.settings import flatten, hydra_override, value_text
from sgear.metrics import metrics
from sgear.predictions.provenance import skipped_of
from sgear.training.run import RunDirectory, read_json

_REPEATS = ("seed", "dataset.fold", "dataset.split")
"""Settings over whose values a mean is taken."""
_OF_PLACE = ("name", "output_root", "runtime")
"""Settings that change no number."""
_LAST_LINES = 3


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Args:
        run: Its directory.
        overrides: Its settings, as `sgear train` takes them.
    """

    run: RunDirectory
    overrides: tuple[str, ...]

    @property
    def log(self) -> Path:
        """What its process printed; beside the runs, which hold nothing but their own files."""
        return self.run.path.parent / "logs" / f"{self.run.name}.log"

    @property
    def is_done(self) -> bool:
        """Whether it was trained and evaluated."""
        return self.run.report.is_file()


def members_of(overrides: Sequence[str]) -> list[Member]:
    """Return the members of a sweep, named after what differs.

    Raises:
        ConfigError: If nothing takes several values, the settings of a member are wrong, or two would have one name.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        swept = [(each.key_or_group, list(each.sweep_string_iterator())) for each in parsed if each.is_sweep_override()]
    except HydraException as err:
        raise ConfigError(f"the settings {list(overrides)} cannot be read: {str(err).splitlines()[0]}") from err
    if not swept:
        raise ConfigError("a sweep needs a setting with several values, e.g. seed=0,1,2 or 'dataset.fold=range(5)'")
    fixed = [text for text, each in zip(overrides, parsed, strict=True) if not each.is_sweep_override()]
    found = []
    for values in itertools.product(*(values for _, values in swept)):
        chosen = dict(zip((key for key, _ in swept), values, strict=True))
        settings = [*fixed, *(f"{key}={value}" for key, value in chosen.items())]
        config = compose_experiment(settings)
        if "name" not in chosen:
            marks = [f"{key.rpartition('.')[2]}{_plain(value)}" for key, value in chosen.items()]
            settings.append(hydra_override("name", "-".join([config.name, *marks])))
            config = compose_experiment(settings)
        found.append(Member(RunDirectory(Path(config.output_root) / config.name), tuple(settings)))
    if len({member.run.path for member in found}) < len(found):
        raise ConfigError("two members of this sweep would have one name; give the values other names with name=a,b")
    return found


def _plain(value: str) -> str:
    """Return a value as a part of the name of a folder."""
    return re.sub(r"[^\w.+-]+", "_", value).strip("_") or "none"


def run_sweep(members: Sequence[Member], *, num_jobs: int, say: Callable[[str], None]) -> list[Member]:
    """Train the members that are not done, so many at a time; return those that failed.

    Args:
        members: The members.
        num_jobs: Processes at a time, at least 1.
        say: Receives a line for each member.

    Raises:
        ConfigError: If `num_jobs` is below 1.
    """
    if num_jobs < 1:
        raise ConfigError(f"--jobs must be at least 1, got {num_jobs}")
    failed = []
    children: set[subprocess.Popen] = set()

    def train(member: Member) -> int:
        member.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "sgear.cli.main", "train", *member.overrides, "runtime.resume=auto"]
        with member.log.open("ab") as log:
            # In a session of its own: Ctrl-C would reach it beside our own signal, and a second one ends it at once.
            child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)  # noqa: S603
            children.add(child)
            try:
                return child.wait()
            finally:
                children.discard(child)

    waiting = [member for member in members if not member.is_done]
    if len(waiting) < len(members):
        say(f"{len(members) - len(waiting)} of {len(members)} members are done already")
    with ThreadPoolExecutor(num_jobs) as pool:
        try:
            for number, (member, code) in enumerate(zip(waiting, pool.map(train, waiting), strict=True), start=1):
                if code:
                    failed.append(member)
                    last = " / ".join(member.log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:])
                    say(f"{number}/{len(waiting)} {member.run.name}: FAILED (exit code {code}): {last}")
                else:
                    say(f"{number}/{len(waiting)} {member.run.name}: {_headline(member.run)}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # Each writes a checkpoint and ends; the sweep goes on from there when it is started again.
            for child in list(children):
                child.terminate()
            raise
    return failed


def _headline(run: RunDirectory) -> str:
    scores = read_json(run.report)["scores"]["overall"]["action"]
    return ", ".join(f"{metric.title} {100 * scores[name]:.1f}" for name, metric in metrics(brief=True).items())


@dataclass(frozen=True)
class SweepRow:
    """Runs that differ only in what is repeated.

    Args:
        settings: What tells this row from others, by dotted key.
        runs: Their names.
        means: Mean of each metric of actions over the runs, in [0, 1].
        deviations: Sample standard deviation of each; None with one run.
        num_skipped: Segments that the runs could not read, in all.
    """

    settings: dict[str, str]
    runs: tuple[str, ...]
    means: dict[str, float]
    deviations: dict[str, float | None]
    num_skipped: int = 0


def table_of(runs: Sequence[RunDirectory]) -> list[SweepRow]:
    """Return means and deviations over seeds, folds and splits, one row for each choice of the other settings.

    Raises:
        SgearError: If a run is not evaluated or damaged.
        ConfigError: If runs are of different data sets, whose numbers have no common mean.
    """
    if not runs:
        raise ConfigError("a table of a sweep needs at least one run")
    settings = [_settings_of(run.require_evaluated()) for run in runs]
    reports = [read_json(run.report) for run in runs]
    datasets = sorted({str(values["dataset.name"]) for values in settings})
    if len(datasets) > 1:
        raise ConfigError(f"runs on {', '.join(datasets)} have no common table; give those of one data set")
    differing = [key for key in dict.fromkeys(itertools.chain(*settings)) if _differs(key, settings)]
    groups: dict[tuple, list[int]] = {}
    for index, values in enumerate(settings):
        groups.setdefault(tuple(value_text(values.get(key, "-")) for key in differing), []).append(index)
    rows = []
    for values, members in groups.items():
        scores = [reports[index]["scores"]["overall"]["action"] for index in members]
        by_metric = {name: [float(each[name]) for each in scores] for name in metrics() if name in scores[0]}
        rows.append(
            SweepRow(
                settings=dict(zip(differing, values, strict=True)),
                runs=tuple(runs[index].name for index in members),
                means={name: statistics.fmean(numbers) for name, numbers in by_metric.items()},
                deviations={
                    name: statistics.stdev(numbers) if len(numbers) > 1 else None for name, numbers in by_metric.items()
                },
                num_skipped=sum(len(part) for index in members for part in skipped_of(reports[index]).values()),
            )
        )
    return rows


def _settings_of(run: RunDirectory) -> dict[str, Any]:
    values = flatten(load_run_config(run.config))
    return {key: value for key, value in values.items() if key.partition(".")[0] not in _OF_PLACE}


def _differs(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    return key not in _REPEATS and len({repr(values.get(key)) for values in settings}) > 1


def failure_text(failed: Sequence[Member]) -> str:
    """Return which members failed and where their words stand."""
    shown = "\n  ".join(f"{member.run.name}: {member.log}" for member in failed)
    return f"{len(failed)} members failed; what they printed stands in\n  {shown}\nstart the sweep again to go on"
