"""`sgear submit` and `sgear check`: make and check files for the EPIC-KITCHENS anticipation servers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.text import Text

from sgear.cli.predictions import load_predictions
from sgear.cli.terminal import open_screen, say, warn
from sgear.datasets import Benchmark, load_dataset
from sgear.errors import ConfigError, PredictionError
from sgear.files import require_regular_file, require_writable
from sgear.predictions import Predictions
from sgear.predictions.other_files import Problem
from sgear.predictions.provenance import caveats_of
from sgear.predictions.submission import (
    CHALLENGES,
    MAX_SLS,
    SLS_NAMES,
    Challenge,
    write_submission,
)
from sgear.predictions.submission_check import check_submission
from sgear.segments import SegmentTable
from sgear.taxonomy import FIELDS, Field

_NUM_SHOWN = 40
_STYLES = {"error": "red", "warning": "yellow"}


def run_submit(
    files: list[Path],
    dataset: str,
    out: Path,
    sls: Sequence[int] | None,
    *,
    split: str = "test",
    root: Path | None = None,
    seed: int = 0,
) -> None:
    """Write a submission file and check it as the server would.

    Raises:
        SgearError: If options contradict each other, or the predictions cannot be submitted.
    """
    challenge = _challenge(dataset)
    _check_sls(challenge, sls)
    require_writable(out if out.suffix else out / f"{challenge.splits[0]}.json")
    benchmark = load_dataset(dataset, root)
    asked = _splits(challenge, benchmark, split)
    if split == "validation" and challenge.name == "epic55" and out.suffix != ".json":
        raise ConfigError(f"--out {out}: the validation split of epic55 is written to a .json; no server takes it")
    tables = _tables(files, asked, benchmark)
    for name, table in tables.items():
        if table.taxonomy.digest != benchmark.taxonomy.digest:
            raise PredictionError(
                f"the predictions of {name} have another vocabulary ({table.taxonomy.num_actions} actions) than "
                f"{dataset} ({benchmark.taxonomy.num_actions} actions)"
            )
        warn(f"{name}: {warning}" for warning in caveats_of(table.protocol, [table.provenance]))
    counts: dict[Field, np.ndarray] = {
        name: np.bincount(
            benchmark.train.column(f"{name}_id")[benchmark.train.column(f"{name}_id") >= 0],
            minlength=len(benchmark.taxonomy.names(name)),
        )
        for name in FIELDS
    }
    # A zip of the validation split holds a `test.json`, as the official script asks for.
    if split == "validation" and out.suffix != ".json":
        tables = {challenge.splits[0]: tables[split]}
    write_submission(tables, out, challenge, sls=sls, train_counts=counts, seed=seed)
    errors = [problem for problem in _problems(out, challenge, asked, benchmark) if problem.level == "error"]
    if errors:
        raise PredictionError(f"{out}: {errors[0]}")
    size_mb = sum(file.stat().st_size for file in ([out] if out.is_file() else out.iterdir())) / 1e6
    say(f"wrote {out}: {sum(map(len, tables.values()))} segments, {size_mb:.1f} MB, checked")


def run_check(file: Path, dataset: str, split: str = "test", *, root: Path | None = None) -> bool:
    """Print everything that is wrong with a submission file; return whether the server will accept it.

    Raises:
        SgearError: If the data set or the split is unknown, or there is no such file.
    """
    challenge = _challenge(dataset)
    if not file.is_dir():
        require_regular_file(file, PredictionError)
    benchmark = load_dataset(dataset, root)
    problems = _problems(file, challenge, _splits(challenge, benchmark, split), benchmark)
    screen = open_screen()
    for problem in problems[:_NUM_SHOWN]:
        say(Text.assemble((problem.level, _STYLES[problem.level]), f" {problem}"), screen=screen)
    if len(problems) > _NUM_SHOWN:
        say(f"and {len(problems) - _NUM_SHOWN} more", screen=screen)
    num_errors = sum(problem.level == "error" for problem in problems)
    if not num_errors:
        say(f"{file}: a valid submission to {dataset}", screen=screen)
    return not num_errors


def _challenge(dataset: str) -> Challenge:
    if dataset not in CHALLENGES:
        raise ConfigError(f"--dataset {dataset}: there are challenges of {', '.join(sorted(CHALLENGES))}")
    return CHALLENGES[dataset]


def _check_sls(challenge: Challenge, sls: Sequence[int] | None) -> None:
    if not challenge.has_sls:
        if sls:
            raise ConfigError(f"--sls: submissions to {challenge.name} state no supervision levels")
        return
    if sls is None or len(sls) != len(SLS_NAMES) or any(not 0 <= level <= MAX_SLS for level in sls):
        raise ConfigError(
            f"--sls needs three levels in 0..{MAX_SLS}: pre-training, training labels, training data, for example "
            "--sls '1 3 3'; docs/submissions.md says what they mean"
        )


def _splits(challenge: Challenge, benchmark: Benchmark, split: str) -> dict[str, SegmentTable]:
    if split == "validation":
        return {split: benchmark.validation}
    wanted = challenge.splits if split == "test" else (split,)
    missing = [name for name in wanted if name not in benchmark.tests]
    if missing:
        known = ", ".join(["test", "validation", *benchmark.tests])
        raise ConfigError(f"--split {split}: {benchmark.name} has no split {missing[0]}; known: {known}")
    return {name: benchmark.tests[name] for name in wanted}


def _tables(files: list[Path], asked: dict[str, SegmentTable], benchmark: Benchmark) -> dict[str, Predictions]:
    """Return the predictions of each split, in the order of its segments."""
    loaded = [
        load_predictions(path, split, benchmark=benchmark)
        for path in files
        for split in (asked if path.is_dir() else ("",))
    ]
    tables = {}
    for split, segments in asked.items():
        uids = set(segments.uids)
        rows_of = [np.flatnonzero([uid in uids for uid in table.uids]) for table in loaded]
        holders = [index for index, rows in enumerate(rows_of) if len(rows)]
        if len(holders) != 1:
            what = "none of the files holds" if not holders else f"{len(holders)} files hold"
            raise PredictionError(f"{what} predictions of the {split} split; give each segment once")
        holder = loaded[holders[0]]
        tables[split] = holder.take(rows_of[holders[0]]).aligned_to(tuple(segments.uids))
    every = {uid for segments in asked.values() for uid in segments.uids}
    extra = [uid for table in loaded for uid in table.uids if uid not in every]
    if extra:
        raise PredictionError(
            f"{len(extra)} predicted segments are not in {', '.join(asked)}, first {extra[0]!r}; was it another split?"
        )
    return tables


def _problems(path: Path, challenge: Challenge, asked: dict[str, SegmentTable], benchmark: Benchmark) -> list[Problem]:
    problems: list[Problem] = []
    for split, segments in asked.items():
        is_test = split in challenge.splits
        file = path / f"{split}.json" if path.is_dir() else path
        problems += check_submission(
            file,
            uids=segments.uids,
            taxonomy=benchmark.taxonomy,
            challenge=challenge,
            member=f"{split}.json" if is_test else None,
        )
    return list(dict.fromkeys(problems))
