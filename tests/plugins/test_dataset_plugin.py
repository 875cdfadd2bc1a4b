"""The page on how to add a data set: its code, installed as a package of somebody else, is found by every command."""

import re
import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sgear import plugins
from sgear.cli.main import app
from sgear.datasets import base, corpus_of, dataset_names, load_dataset
from sgear.errors import AnnotationError, ConfigError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-dataset.md"
CODE, ENTRY = re.findall(r"```(?:python|toml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, with the package of the page."""
    (tmp_path / "my_tea.py").write_text(CODE)
    info = tmp_path / "my_tea-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tea\nVersion: 1.0\n")
    header, *lines = ENTRY.strip().splitlines()
    assert header == f'[project.entry-points."{base.ENTRY_POINTS}"]'
    (info / "entry_points.txt").write_text(
        "\n".join([f"[{base.ENTRY_POINTS}]", *(line.replace('"', "") for line in lines)])
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", set())
    invalidate_caches()
    base.dataset_spec.cache_clear()
    yield tmp_path
    base.dataset_spec.cache_clear()
    sys.modules.pop("my_tea", None)


@pytest.fixture
def tea(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data" / "tea"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("video,start,stop,action\nv1,1,2,0\nv1,3,4.5,1\n")
    (folder / "test.csv").write_text("video,start,stop,action\nv2,1.5,2,1\n")
    monkeypatch.setenv("SGEAR_DATA", str(tmp_path / "data"))
    return folder


def test_the_data_set_of_the_page_is_found_and_read(site: Path, tea: Path) -> None:
    assert "tea" in dataset_names()
    assert corpus_of("tea") == "tea"
    benchmark = load_dataset("tea")
    assert (len(benchmark.train), benchmark.validation.uids, benchmark.headline) == (2, ["v2_0"], "top1")
    result = CliRunner().invoke(app, ["data", "info", "tea"])
    assert result.exit_code == 0, result.output
    (tea / "test.csv").write_text("video,start,stop,action\nv2,1.5,2,2\n")
    with pytest.raises(AnnotationError, match=r"test\.csv, line 2: action is '2', expected a whole number in 0\.\.1"):
        load_dataset("tea")


def test_a_field_that_is_forgotten_is_named_with_the_package(site: Path) -> None:
    (site / "my_tea.py").write_text(CODE.replace('    corpus="tea",', "    "))
    with pytest.raises(ConfigError, match=r"plug-in 'tea'.*my-tea.*missing.*'corpus'.*uninstall my-tea"):
        load_dataset("tea")


def test_a_name_that_is_taken_is_refused(site: Path) -> None:
    for path in (site / "my_tea.py", site / "my_tea-1.0.dist-info" / "entry_points.txt"):
        path.write_text(path.read_text().replace("tea =", "egtea =").replace('name="tea"', 'name="egtea"'))
    with pytest.raises(ConfigError, match=r"\['egtea'\] are installed twice"):
        dataset_names()


def test_the_page_is_short() -> None:
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 60
