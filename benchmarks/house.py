"""How large the house is and how long its doors take to open: `python benchmarks/house.py [--against COMMIT]`.

Counts lines and files, comments where the method lives, and what scoring a file of predictions imports; with
`--against`, the same of another commit beside it, from a clone of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tokenize
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
METHOD = ("models", "losses", "training")
HEAVY = ("matplotlib", "sklearn", "hydra", "tensorboard", "timm", "torchvision")
_COUNT = (
    "import sys\n"
    "sys.argv = ['sgear', *{args}]\n"
    "from sgear.cli.main import main\n"
    "try:\n    main()\nexcept SystemExit:\n    pass\n"
    "own = [name for name in sys.modules if name.split('.')[0] == 'sgear']\n"
    "print('MODULES', len(own), ','.join(name for name in {heavy} if name in sys.modules))\n"
)


def python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder."""
    return sorted(folder.rglob("*.py"))


def num_lines(files: list[Path]) -> int:
    """Return how many lines files have."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def comments_per_100(files: list[Path]) -> float:
    """Return comments per 100 lines that are not empty."""
    comments = lines = 0
    for path in files:
        with path.open("rb") as stream:
            comments += sum(token.type == tokenize.COMMENT for token in tokenize.tokenize(stream.readline))
        lines += sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())
    return 100 * comments / max(1, lines)


def imported(tree: Path, args: list[str]) -> tuple[int, str, float]:
    """Return how many modules of the package a command imports, which heavy ones, and its seconds (best of 3)."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    seconds, said = [], ""
    for _ in range(3):
        begin = time.perf_counter()
        code = _COUNT.format(args=args, heavy=HEAVY)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)  # noqa: S603
        seconds.append(time.perf_counter() - begin)
        said = next(line for line in done.stdout.splitlines() if line.startswith("MODULES"))
    _, count, *heavy = said.split(" ")
    return int(count), (heavy[0] if heavy and heavy[0] else "none"), min(seconds)


def _file_to_score(tree: Path, folder: Path) -> list[str]:
    """Write a kitchen and scores of its validation segments; return what `sgear evaluate` takes."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    code = (
        "import sys, numpy as np, pathlib\n"
        "from sgear.kitchen import KitchenConfig, build_kitchen\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "asked = build_kitchen(root / 'kitchen', KitchenConfig(), num_processes=1, with_videos=False)\n"
        "shape = (len(asked.validation), asked.taxonomy.num_actions)\n"
        "scores = np.random.default_rng(0).standard_normal(shape).astype(np.float32)\n"
        "np.savez(root / 'preds.npz', uids=np.array(asked.validation.uids), scores=scores)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, check=True)  # noqa: S603
    return [str(folder / "preds.npz"), "--dataset", "epic100", "--root", str(folder / "kitchen" / "annotations")]


def measured(tree: Path) -> dict[str, str]:
    """Return the rows of the table for a checkout."""
    source, tests = python_files(tree / "src" / "sgear"), python_files(tree / "tests")
    method = [path for path in source if path.relative_to(tree / "src" / "sgear").parts[0] in METHOD]
    helped, _, help_s = imported(tree, ["--help"])
    with tempfile.TemporaryDirectory() as folder:
        scored, heavy, score_s = imported(tree, ["evaluate", *_file_to_score(tree, Path(folder))])
    return {
        "source lines": f"{num_lines(source):,}",
        "source files": str(len(source)),
        "test lines": f"{num_lines(tests):,}",
        "comments per 100 lines (models, losses, training)": f"{comments_per_100(method):.1f}",
        "`sgear --help`: modules / seconds": f"{helped} / {help_s:.2f}",
        "scoring a file: modules / seconds": f"{scored} / {score_s:.2f}",
        "scoring a file imports of the heavy ones": heavy,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", help="commit to measure beside this tree")
    against = parser.parse_args().against
    columns = {"now": measured(REPOSITORY)}
    if against:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "clone", "-q", str(REPOSITORY), folder], check=True)  # noqa: S603, S607
            subprocess.run(["git", "-C", folder, "checkout", "-q", against], check=True)  # noqa: S603, S607
            columns = {against: measured(Path(folder)), **columns}
    print(f"| | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for row in columns["now"]:
        print(f"| {row} | {' | '.join(values[row] for values in columns.values())} |")


if __name__ == "__main__":
    main()
