"""Text of files never acts on a terminal: what would, is written out or refused, wherever it stands."""

import ast
import hashlib
import io
import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.table import Table
from rich.text import Text
from whole_command import run_here

import sgear
from sgear.cli.anticipate import _table
from sgear.cli.terminal import Screen, open_screen, say, write_out
from sgear.datasets.own import import_own
from sgear.features import FeatureStoreWriter, Provenance
from sgear.forecast import Forecast
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.predictions import Predictions
from sgear.prototypes import VisualPrototypes
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\x08\x7f\u202e"
"""Sets the title, clears the screen, turns what follows red and around, and takes a letter back."""


def assert_harmless(*texts: str) -> None:
    for text in texts:
        acting = {char for char in text if unicodedata.category(char) == "Cc" and char not in "\n\t"}
        assert acting | (set(text) & {"\u202e"}) == set(), text


def run(*words: object) -> tuple[int, str]:
    """Run a command, and return its exit code and all it printed, which must be harmless."""
    done = run_here(*words, columns=200)
    assert_harmless(done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


# --- one door ------------------------------------------------------------------------------------------------------


def test_everything_that_is_printed_is_written_out(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    table = Table(f"head {EVIL}", title=f"title {EVIL}", caption=f"caption {EVIL}")
    table.add_row(f"cell {EVIL}")
    table.add_row(Text.assemble((f"styled {EVIL}", "red")))
    open_screen().print(table)
    open_screen().print(_table(Path(f"{EVIL}.mp4"), [Forecast(1.0, 1.0, ((EVIL, 0.25),))], 1))
    say(f"sentence {EVIL}")
    say(Text.assemble(("error", "red"), f" {EVIL}"), style="bold")
    open_screen(stderr=True).print(EVIL)
    write_out(f"{EVIL}\n")
    printed = capsys.readouterr()
    assert_harmless(*printed)
    assert printed.out.count(r"\x1b[2J") == 10
    assert all(word in printed.out for word in ("head", "title", "caption", "cell", "styled", "sentence"))


def test_colours_still_reach_a_terminal():
    screen = Screen(file=io.StringIO(), force_terminal=True, width=40, color_system="standard")
    say("careful \x1b[2J", style="red", screen=screen)
    assert screen.file.getvalue() == "\x1b[31mcareful \\x1b[2J\x1b[0m\n"  # type: ignore[attr-defined]


def test_a_cell_is_as_wide_as_what_is_printed_of_it(capsys):
    table = Table("name", "number")
    table.add_row("\x1b[2Jcup", "1")
    table.add_row("a pot", "2")
    open_screen().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert r"│ \x1b[2Jcup │ 1      │" in lines


def test_no_other_code_writes_to_the_terminal():
    """All goes through `sgear.cli.terminal`, but for the last words of `main`, which are checked too, and a cursor."""
    ours = Path(sgear.__file__).parent
    found = []
    for path in sorted(ours.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            writes = called in ("print", "typer.echo", "typer.secho", "Console", "warnings.warn")
            # A bar of progress, not how far a training is.
            is_bar = called == "Progress" and isinstance(node, ast.Call) and bool(node.args)
            writes |= is_bar and not any(each.arg == "console" for each in node.keywords)
            writes |= isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr")
            if writes and path != ours / "cli" / "terminal.py":
                found.append(f"{path.relative_to(ours).as_posix()}: {ast.unparse(node)}")
    assert sorted(set(found)) == [
        "cli/main.py: typer.secho(f'error: {visible(message)}', err=True, fg=typer.colors.RED)",
        "cli/main.py: typer.secho(f'{stop}; go on with: {visible(command)}', err=True)",
        "stopping.py: sys.stdout",
    ]


def test_words_of_a_command_are_refused_before_they_are_shown():
    """What a shell makes of `*` are names of files."""
    for words in (["report", EVIL], ["evaluate", "a", EVIL], [EVIL], ["train", f"name={EVIL}"], ["runs\r"]):
        code, printed = run(*words)
        assert code == 2
        assert "holds a control character" in printed


# --- places where such text may stand -------------------------------------------------------------------------------

OWN = {"uid": "1", "participant": "ann", "video": "a", "split": "train", "start": "2", "stop": "3", "label": "cut"}


@pytest.mark.parametrize("column", OWN)
@pytest.mark.parametrize("is_header", [False, True])
def test_cells_of_an_own_csv(tmp_path, column, is_header):
    odd = {**OWN, column: f"{OWN[column]}{EVIL}"}
    header = [f"{name}{EVIL}" if is_header and name == column else name for name in OWN]
    rows = [
        header,
        *([OWN.values()] if is_header else [odd.values()]),
        ["2", "bob", "b", "validation", "1", "2", "cut"],
    ]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(map(",".join, rows)) + "\n", encoding="utf-8")
    code, printed = run("data", "import", path, "--check")
    assert code == (0 if is_header and column in ("uid", "participant", "split") else 2), printed
    assert r"\x1b" in printed


def test_names_in_the_files_of_an_imported_folder(tmp_path):
    csv = tmp_path / "own.csv"
    csv.write_text("video,start,stop,label\na,2,3,cut\na,4,5,put\nb,2,3,cut\nb,4,5,put\n")
    import_own(csv, tmp_path / "own")
    taxonomy, summary = (tmp_path / "own" / name for name in ("taxonomy.json", "summary.json"))
    text = json.dumps(json.loads(taxonomy.read_text()) | {"action_names": [f"cut{EVIL}", f"put{EVIL}"]})
    told = json.loads(summary.read_text())
    told["sha256"]["taxonomy.json"] = hashlib.sha256(text.encode()).hexdigest()
    taxonomy.write_text(text)
    summary.write_text(json.dumps(told))
    assert run("data", "info", "csv", "--root", tmp_path / "own")[0] == 0
    summary.write_text(json.dumps(told | {"format": EVIL}))
    code, printed = run("data", "info", "csv", "--root", tmp_path / "own")
    assert code == 2
    assert r"\x1b" in printed


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("escapes") / "kitchen"
    config = KitchenConfig(
        num_train_videos=3, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=8
    )
    build_kitchen(root, config, num_processes=1, with_videos=False)
    return root


@pytest.mark.parametrize("name", ["EPIC_100_train.csv", "EPIC_100_verb_classes.csv"])
def test_every_cell_of_the_files_of_a_data_set(kitchen, tmp_path, name):
    path = Path(shutil.copytree(kitchen / "annotations", tmp_path / "annotations")) / name
    lines = path.read_text().splitlines()
    for line in (0, 1):
        for column in range(len(lines[0].split(","))):
            cells = lines[line].split(",")
            cells[column] = f'"{EVIL}{cells[column].strip(chr(34))}"'
            path.write_text("\n".join([*lines[:line], ",".join(cells), *lines[line + 1 :]]) + "\n")
            assert run("data", "info", "kitchen", "--root", tmp_path / "annotations")[0] in (0, 2)


def test_words_of_a_feature_store(tmp_path):
    made_by = Provenance(encoder=f"e{EVIL}", weights=f"w{EVIL}", preprocessing=f"p{EVIL}", fps=4.0)
    writer = FeatureStoreWriter(tmp_path / "store", made_by, width=4, dtype="float32")
    writer.write("v", np.arange(8) / 4, np.ones((8, 4), np.float32))
    writer.finish()
    code, printed = run("features", "inspect", tmp_path / "store", "--videos", "--verify")
    assert code == 0
    assert r"\x1b" in printed
    for text in ("{", json.dumps({"format": EVIL}), json.dumps({EVIL: 1}), EVIL):
        (tmp_path / "store" / "store.json").write_text(text)
        assert run("features", "inspect", tmp_path / "store")[0] == 2


def test_keys_of_an_lmdb_and_names_of_arrays(tmp_path):
    import lmdb

    value = np.linspace(1, 2, 64, dtype=np.float32).tobytes()
    for name, key in (("good", f"a{EVIL}_frame_0000000001.jpg"), ("bad", f"{EVIL}a")):
        with lmdb.open(str(tmp_path / name), lock=False) as database, database.begin(write=True) as transaction:
            transaction.put(key.encode(), value)
        code, printed = run("features", "inspect", tmp_path / name, "--videos", "--verify")
        assert code == (0 if name == "good" else 2)
        assert r"\x1b" in printed
    (tmp_path / "arrays").mkdir()
    np.savez(tmp_path / "arrays" / "v.npz", **{EVIL: np.ones((4, 2))})
    code, printed = run("features", "import", tmp_path / "arrays", "--fps", "4", "--out", tmp_path / "s")
    assert code == 2
    assert r"\x1b" in printed
    (tmp_path / "arrays" / "v.npz").rename(tmp_path / "arrays" / f"{EVIL}.npz")
    run("features", "import", tmp_path / "arrays", "--fps", "4", "--out", tmp_path / "s")


def test_names_of_files_in_a_folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / f"{EVIL}.mp4").write_bytes(b"no video")
    (folder / f"{EVIL}.txt").write_bytes(b"")
    for words in (
        ["data", "verify", folder, "--workers", "1"],
        ["features", "inspect", folder],
        ["data", "info", "csv", "--root", folder],
        ["report", folder],
    ):
        assert run(*words)[0] in (1, 2)


TAXONOMY = Taxonomy(
    verbs=(f"cut{EVIL}", "put"), nouns=(f"cup{EVIL}", "pot", "pan"), action_pairs=((0, 0), (0, 1), (1, 2))
)


def test_names_and_words_of_predictions(tmp_path):
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, file in enumerate(files):
        Predictions(
            uids=tuple(f"v_{index}{EVIL}" for index in range(30)),
            logits=np.random.default_rng(seed).normal(size=(30, 3)).astype(np.float32),
            targets=np.arange(30) % 3,
            taxonomy=TAXONOMY,
            protocol=AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0).to_dict(),
            provenance={"model": f"m{EVIL}"},
        ).save(file)
    assert run("compare", *files)[0] == 0
    assert run("compare", *files, "--json")[0] == 0
    assert run("fuse", *files, "--out", tmp_path / "fused.safetensors")[0] == 0
    for words in (["evaluate", files[0], "--dataset", "csv"], ["submit", files[0], "--dataset", "epic100"]):
        assert run(*words, "--root", tmp_path)[0] == 2


def test_names_of_prototypes(tmp_path):
    file = tmp_path / "v.safetensors"
    VisualPrototypes(
        vectors=torch.eye(3, 8),
        num_exemplars=torch.tensor([2, 1, 1]),
        taxonomy=TAXONOMY,
        run=f"run{EVIL}",
    ).save(file)
    code, printed = run("prototypes", "inspect", file)
    assert code == 0, printed
    assert r"\x1b" in printed


@pytest.mark.parametrize("text", [f"name: '{EVIL}'\n", f'"{EVIL}": 1\n', 'name: "\\e[2J"\n', '"\\e[2J": 1\n', EVIL])
def test_the_settings_of_a_run(tmp_path, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(text)
    for words in (["evaluate", tmp_path / "run"], ["report", tmp_path / "run"], ["compare", tmp_path / "run", "x"]):
        assert run(*words)[0] == 2
