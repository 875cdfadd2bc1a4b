"""The page on how to add a data set: its code, installed as a package of somebody else, is found by every command."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import install
from typer.testing import CliRunner

from sgear.cli.main import app
from sgear.datasets import corpus_of, dataset_names, dataset_spec, load_dataset
from sgear.errors import AnnotationError, ConfigError


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    dataset_spec.cache_clear()
    yield install(tmp_path, "add-dataset.md", monkeypatch)
    dataset_spec.cache_clear()
    sys.modules.pop("my_tea", None)


@pytest.fixture
def tea(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data" / "tea"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("video,start,stop,action\nv1,1,2,0\nv1,3,4.5,1\n")
    (folder / "test.csv").write_text("video,start,stop,action\nv2,1.5,2,1\n")
    monkeypatch.setenv("SGEAR_DATA", str(tmp_path / "data"))
    return folder


def test_the_data_set_of_the_page_is_found_and_read(module: Path, tea: Path) -> None:
    assert "tea" in dataset_names()
    assert corpus_of("tea") == "tea"
    benchmark = load_dataset("tea")
    assert (len(benchmark.train), benchmark.validation.uids, benchmark.headline) == (2, ["v2_0"], "top1")
    result = CliRunner().invoke(app, ["data", "info", "tea"])
    assert result.exit_code == 0, result.output
    (tea / "test.csv").write_text("video,start,stop,action\nv2,1.5,2,2\n")
    with pytest.raises(AnnotationError, match=r"test\.csv, line 2: action is '2', expected a whole number in 0\.\.1"):
        load_dataset("tea")


def test_a_field_that_is_forgotten_is_named_with_the_package(module: Path) -> None:
    module.write_text(module.read_text().replace('    corpus="tea",', "    "))
    with pytest.raises(ConfigError, match=r"plug-in 'tea'.*my-tea.*missing.*'corpus'.*uninstall my-tea"):
        load_dataset("tea")


def test_a_name_that_is_taken_is_refused(module: Path) -> None:
    entry = module.with_name("my_tea-1.0.dist-info") / "entry_points.txt"
    entry.write_text(entry.read_text().replace("tea =", "egtea ="))
    with pytest.raises(ConfigError, match=r"\['egtea'\] are installed twice"):
        dataset_names()
