import shlex
from pathlib import Path

import pytest
import typer

from sgear.cli.data_sets import MOST_SHOWN, run_import
from sgear.datasets.own import load_own
from sgear.errors import ConfigError
from sgear.experiment import compose_experiment

ROWS = ["video,start,stop,label", "a,2,3,take [cup]", "a,4,5,put", "b,2,3,take [cup]", "b,4,5,put"]


@pytest.fixture
def csv(tmp_path) -> Path:
    return write(tmp_path / "own.csv", ROWS)


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_an_import_prints_splits_and_classes_and_writes_the_folder(csv, tmp_path, capsys):
    run_import(csv, tmp_path / "out")
    printed = capsys.readouterr().out
    assert "train" in printed
    assert "2 action classes" in printed
    assert "Splits: by video, seed 0" in printed
    assert f"sgear train experiment=own/avt dataset.root={tmp_path / 'out'}\n" in printed
    assert len(load_own(tmp_path / "out").train) == 2


def test_a_wrong_row_exits_with_2_and_writes_nothing(csv, tmp_path, capsys):
    write(csv, [*ROWS, "b,7,6,take [cup]", "b,x,9,take"])
    with pytest.raises(typer.Exit) as raised:
        run_import(csv, tmp_path / "out")
    assert raised.value.exit_code == 2
    assert list(tmp_path.iterdir()) == [csv]
    printed = capsys.readouterr().out
    assert "error line 6, stop '6': is not after the start 7." in printed
    assert "2 errors in" in printed


def test_the_command_that_trains_is_quoted_for_odd_folders_and_never_cut(csv, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = tmp_path / "my [own] videos"
    run_import(csv, out)
    command = capsys.readouterr().out.splitlines()[-1].partition("Train with: ")[2]
    words = shlex.split(command)
    assert words[:3] == ["sgear", "train", "experiment=own/avt"]
    assert compose_experiment(words[2:]).dataset.root == str(out)


def test_warnings_show_names_with_brackets_as_they_are(csv, tmp_path, capsys):
    run_import(write(csv, [*ROWS, "b,7,8,Take [Cup]"]), tmp_path / "out")
    assert "'Take [Cup]', 'take [cup]' differ only by case" in capsys.readouterr().out


def test_only_the_first_problems_are_shown_and_the_rest_is_counted(csv, tmp_path, capsys):
    write(csv, [*ROWS, *["b,7,6,put"] * (MOST_SHOWN + 3)])
    with pytest.raises(typer.Exit):
        run_import(csv, tmp_path / "out")
    printed = capsys.readouterr().out
    assert printed.count("error line") == MOST_SHOWN
    assert "... and 3 more: 3 errors" in printed


def test_a_check_writes_nothing(csv, tmp_path, capsys):
    result = run_import(csv, None, check_only=True)
    assert result.is_accepted
    assert list(tmp_path.iterdir()) == [csv]
    assert "nothing was written" in capsys.readouterr().out


@pytest.mark.parametrize(("out", "check_only"), [(None, False), (Path("out"), True)])
def test_a_folder_and_a_check_exclude_each_other(csv, out, check_only):
    with pytest.raises(ConfigError, match="either a folder to write, or --check"):
        run_import(csv, out, check_only=check_only)


def test_a_share_out_of_range_is_one_clear_error(csv, tmp_path):
    with pytest.raises(ConfigError, match="between 0 and 1, got 2"):
        run_import(csv, tmp_path / "out", validation_share=2.0)
