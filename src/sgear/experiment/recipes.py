"""The experiments of the package: their names, what the head of each file says, and which of them makes a run."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path

from sgear.experiment.schema import DatasetConfig
from sgear.experiment.settings import as_override

_CONF = "sgear.experiment.conf"
_COMMAND = re.compile(r"\bsgear [a-z][^;`]*")
_SENTENCE = re.compile(r".*?\.(?=\s|$)")


@cache
def _texts() -> dict[str, str]:
    """Return the text of each experiment by its name."""
    root = resources.files(_CONF) / "experiment"
    with resources.as_file(root) as folder:
        files = sorted(path for path in folder.rglob("*.yaml") if not path.name.startswith("_"))
        return {path.relative_to(folder).with_suffix("").as_posix(): path.read_text(encoding="utf-8") for path in files}


def list_experiments() -> list[str]:
    """Return the names that `experiment=` accepts."""
    return sorted(_texts())


def families() -> dict[str, list[str]]:
    """Return the last part of each name by all that stands before it."""
    found: dict[str, list[str]] = {}
    for name in list_experiments():
        family, _, last = name.rpartition("/")
        found.setdefault(family, []).append(last)
    return found


def families_text() -> str:
    """Return all names in words, one family on each line."""
    return "\n".join(f"  {family}/ {', '.join(names)}" for family, names in families().items())


def purpose(name: str) -> str:
    """Return what an experiment is for: the first sentence of its head."""
    text = " ".join(_head(name))
    return sentence[0] if (sentence := _SENTENCE.match(text)) else text


def commands(name: str) -> list[str]:
    """Return the commands in the head of an experiment, each on one line."""
    text = "\n".join(_head(name)).replace("\\\n", "")
    found = [match[0] for line in text.splitlines() if (match := _COMMAND.search(line))]
    return [" ".join(command.split()).rstrip(".") for command in found]


def recipe_of_run(run: str) -> str | None:
    """Return the experiment whose run directory has a name; None where that is no name of the package."""
    line = re.compile(rf"^name: {re.escape(run)}$", re.MULTILINE)
    return next((name for name, text in _texts().items() if line.search(text)), None)


def training_command(run: Path, *, dataset: DatasetConfig | None = None) -> str | None:
    """Return the command that makes a run directory; None where no experiment makes one of its name.

    Args:
        run: The directory.
        dataset: Where the data set lies, and which part of it the run is wanted for. Default: as the experiment says.
    """
    name = recipe_of_run(run.name)
    if name is None:
        return None
    words = [f"sgear train experiment={name}"]
    wanted, usual = vars(dataset or DatasetConfig()), vars(DatasetConfig())
    keys = [key for key in ("root", "split", "granularity", "num_folds", "fold") if wanted[key] != usual[key]]
    words += [as_override(f"dataset.{key}", wanted[key]) for key in keys]
    if run.parent != Path("runs"):
        words.append(as_override("output_root", run.parent))
    return " ".join(words)


def command_for(file: Path) -> str | None:
    """Return the command that writes a file of this name, with its `--out`; None where no experiment names one."""
    asked = re.compile(rf"--out (\S*/)?{re.escape(file.name)}(\s|$)")
    every = (command for name in list_experiments() for command in commands(name))
    return next((command for command in every if asked.search(command)), None)


def _head(name: str) -> list[str]:
    """Return the comments at the top of an experiment, without the line that is meant for Hydra."""
    lines = []
    for line in _texts()[name].splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines
