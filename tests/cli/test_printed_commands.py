"""A command that a message prints can be copied as it stands, whatever the folders and names in it are called."""

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from whole_command import run_here

import sgear
from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.kitchen import read_config

SOURCE = Path(sgear.__file__).parent
VERBS = "train|import-weights|evaluate|fuse|compare|submit|anticipate|report|quickstart|data|features|prototypes"
COMMAND = re.compile(rf"(?P<before>['`]?)sgear (?:{VERBS})\b(?P<rest>[^\n]*)")
SAFE = ("quoted(", "as_override(", "shlex.")
# Words that the package itself chooses: the name of a recipe, a kind of prototypes, a type of values.
OURS = {
    "experiment/recipes.py": {"name"},
    "prototypes/files.py": {"kind", "wanted"},
    "features/lmdb_layout.py": {"kind"},
}
ODD = "my data (1)'s $HOME"


def printed_texts(tree: ast.AST):
    """Every f-string, and every sum of texts, with what is filled in between marks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(part_text, node.values))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            yield node.lineno, part_text(node.left) + part_text(node.right)


def part_text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(part_text, node.values))
    return f"\u27e6{ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node)}\u27e7"


def unquoted_parts(text: str) -> list[str]:
    found = []
    for match in COMMAND.finditer(text):
        command = match["rest"].split(match["before"])[0] if match["before"] else match["rest"].split("; ")[0]
        found += [part for part in re.findall("\u27e6(.*?)\u27e7", command) if not part.startswith(SAFE)]
    return found


def test_all_that_is_filled_into_a_command_is_quoted():
    wrong, num_commands = [], 0
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for line, text in printed_texts(ast.parse(path.read_text(encoding="utf-8"))):
            num_commands += len(COMMAND.findall(text))
            wrong += [f"{name}:{line}: {part}" for part in unquoted_parts(text) if part not in OURS.get(name, ())]
    assert wrong == []
    assert num_commands > 25


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ('f"next: sgear report {run.path}"', ["run.path"]),
        ("f\"make it with 'sgear evaluate {path}' and {more}\"", ["path"]),
        ('f"next: sgear report {quoted(run.path)}; {other}"', []),
        ('"next: sgear report " + str(path)', ["str(path)"]),
        ('"next: sgear report %s" % path', ["path"]),
        ('f"{path}: sgear train makes one"', []),
    ],
)
def test_the_law_finds_what_is_not_quoted(code, parts):
    found = [part for _, text in printed_texts(ast.parse(code)) for part in unquoted_parts(text)]
    assert found == parts


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / ODD).mkdir()
    return tmp_path / ODD


def command_in(text: str, before: str) -> list[str]:
    """The words of the command behind some words, as a shell would see them."""
    line = next(line for line in text.splitlines() if before in line)
    words = shlex.split(line.partition(before)[2])
    assert words[0] == "sgear"
    return words[1:]


def test_the_command_that_makes_predictions_works_for_a_run_of_any_name(folder):
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text("name: run\n")
    refused = run_here("fuse", folder / "run", folder / "run", "--out", folder / "x.safetensors")
    assert refused.returncode == 2
    words = command_in(refused.stderr, "make them with: ")
    assert words == ["evaluate", str(folder / "run"), "--split", "validation"]


def test_the_settings_of_an_import_work_in_a_folder_of_any_name(folder):
    arrays = folder / "arrays"
    arrays.mkdir()
    np.save(arrays / "P01_01.npy", np.random.default_rng(0).standard_normal((20, 8)))
    done = run_here("features", "import", arrays, "--out", folder / "store", "--fps", "4", "--orientation", "rows")
    assert done.returncode == 0, done.stderr
    settings = shlex.split(done.stdout.partition("train on it with ")[2])
    config = compose_experiment(["experiment=own/avt_features", *settings])
    assert config.source.features == str(folder / "store")


def test_a_kitchen_that_is_not_there_is_named_with_the_command_that_makes_it(folder):
    with pytest.raises(ConfigError) as raised:
        read_config(folder / "none")
    assert command_in(str(raised.value), "make one with: ") == ["data", "kitchen", str(folder / "none")]
