"""`sgear data info`: the table and its JSON."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from sgear.cli.data_sets import run_info
from sgear.errors import ConfigError
from sgear.kitchen import KitchenConfig, make_world, write_annotations


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    write_annotations(make_world(KitchenConfig(num_train_videos=3, num_validation_videos=2)), tmp_path / "annotations")
    return tmp_path


def printed(*args, **options) -> str:
    console = Console(file=io.StringIO(), width=100)
    run_info(*args, console=console, **options)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_names_splits_and_files(kitchen: Path) -> None:
    text = printed("kitchen", kitchen)
    assert "nothing to see at tau_a = 1 s" in text
    assert f"train: {kitchen / 'annotations' / 'EPIC_100_train.csv'}" in text.replace("\n", "")


def test_json_is_all_that_is_printed_and_holds_the_counts(kitchen: Path) -> None:
    found = json.loads(printed("kitchen", kitchen, tau_a_s=0.5, as_json=True))
    assert (found["name"], found["tau_a_s"]) == ("kitchen", 0.5)
    assert found["splits"]["train"]["num_videos"] == 3
    assert found["files"]["validation"].endswith("EPIC_100_validation.csv")


def test_an_impossible_anticipation_time_is_one_clear_line(kitchen: Path) -> None:
    with pytest.raises(ConfigError, match="--tau-a: tau_a_s must be positive"):
        run_info("kitchen", kitchen, tau_a_s=-1.0)


@pytest.mark.data
def test_the_table_of_epic100_shows_the_published_counts(real_data: Path) -> None:
    text = printed("epic100", real_data / "epic-kitchens-100-annotations")
    for count in ("67,217", "9,668", "13,092", "3,806", "1,352", "238", "372", "1,760", "1,900", "3,105", "1,065"):
        assert count in text
    assert "rebuilt, not official" in text or "EPIC_100_train.csv" in text
