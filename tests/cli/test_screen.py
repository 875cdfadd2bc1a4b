"""What users named is printed as it is, and a sentence is one line: it can be read by programs and copied."""

import io
import shlex
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from whole_command import run_here

from sgear.cli.anticipate import _table
from sgear.cli.data_sets import render_kitchen
from sgear.cli.terminal import open_screen, say
from sgear.experiment import compose_experiment, list_experiments
from sgear.experiment.recipes import families
from sgear.experiment.settings import flatten
from sgear.forecast import Forecast
from sgear.kitchen import KitchenConfig

ODD = "a[b]c [/red] :cup: [bold]x"


def test_a_sentence_is_one_line_as_it_was_written_however_narrow_the_screen(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    text = f"{ODD}; next: sgear report {'x' * 60}"
    say(text)
    say(text, style="bold red")
    assert capsys.readouterr().out == f"{text}\n{text}\n"


def test_titles_and_cells_of_tables_are_as_they_were_written(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    table = Table(ODD, title=f"title {ODD}")
    table.add_row(f"cell {ODD}")
    open_screen().print(table)
    printed = capsys.readouterr().out
    assert printed.count(ODD) == 3


def test_the_table_of_forecasts_keeps_the_names_of_video_and_actions(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    open_screen().print(_table(Path("a[b]c.mp4"), [Forecast(1.0, 1.0, ((ODD, 0.25),))], 1))
    printed = capsys.readouterr().out
    assert "a[b]c.mp4" in printed
    assert f"{ODD} 25%" in printed


def test_the_shown_settings_are_whole_yaml():
    odd = "my [own] videos, " + "x" * 90
    done = run_here("train", "--show", "experiment=own/avt", f'dataset.root="{odd}"')
    assert done.returncode == 0
    config = compose_experiment(["experiment=own/avt", f'dataset.root="{odd}"'])
    assert OmegaConf.to_container(OmegaConf.create(done.stdout)) == asdict(config)


def test_experiments_are_listed_with_their_purpose():
    lines = run_here("train", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list_experiments()
    assert all(len(line.split()) > 3 for line in lines)


def test_without_an_experiment_each_family_has_a_line():
    done = run_here("train")
    assert done.returncode == 2
    lines = done.stderr.splitlines()[1:]
    assert [line.split("/ ")[0].strip() for line in lines] == list(families())
    assert "  own/ avt, " in done.stderr


def test_an_experiment_that_is_nearly_named_is_offered():
    done = run_here("train", "experiment=own/avtt")
    assert done.returncode == 2
    assert "did you mean own/avt" in done.stderr


def test_every_setting_is_printed_with_its_value_and_meaning():
    lines = run_here("train", "--settings").stdout.splitlines()
    keys = [line.split("=")[0] for line in lines if not line.startswith((" ", "#"))]
    every = [compose_experiment([f"experiment={name}"]) for name in ("own/avt", "own/sgear_features", "epic100/rulstm")]
    every += [compose_experiment([f"experiment={name}"]) for name in ("own/recognition", "kitchen/last_action")]
    assert set(keys) >= {key for config in every for key in flatten(config)}
    assert len(keys) == len(set(keys))
    lines = [line for line in lines if not line.startswith("#")]
    assert all(line.startswith("    ") for before, line in pairwise(lines) if not before.startswith(" "))


def test_settings_of_an_experiment_stand_beside_their_defaults():
    printed = run_here("train", "--settings", "experiment=own/avt", "optim.lr=0.5").stdout
    assert "optim.lr=0.5  (default 0.001)\n    Peak learning rate.\n" in printed


def test_of_show_settings_and_list_one_is_asked_for():
    done = run_here("train", "--show", "--list")
    assert done.returncode == 2
    assert "give one of them" in done.stderr


def test_a_kitchen_without_videos_shows_no_bar_of_videos(tmp_path, capsys):
    render_kitchen(tmp_path / "k", KitchenConfig(num_train_videos=3, num_validation_videos=2), with_videos=False)
    printed = capsys.readouterr().out
    assert "0/?" not in printed
    assert "rendering videos" not in printed


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["report", "runs/kitchen-sgear"], "sgear train experiment=kitchen/sgear"),
        (["evaluate", "elsewhere/epic100-tsn"], "sgear train experiment=epic100/tsn output_root=elsewhere"),
        (["fuse", "runs/own-avt", "x", "--out", "y.safetensors"], "sgear train experiment=own/avt"),
        (["compare", "a b/own-avt", "x"], "sgear train experiment=own/avt 'output_root=\"a b\"'"),
    ],
)
def test_a_run_that_is_not_there_is_named_with_the_command_that_makes_it(words, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_here(*words)
    assert done.returncode == 2
    assert done.stderr.endswith(f"no such run directory; make it with: {command}\n")
    assert compose_experiment(shlex.split(command)[2:])


def test_colours_do_not_reach_a_file():
    screen = Console(file=io.StringIO(), width=40)
    say("red", style="red", screen=screen)
    assert screen.file.getvalue() == "red\n"  # type: ignore[attr-defined]
