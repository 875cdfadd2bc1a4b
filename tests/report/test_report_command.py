"""`sgear report` from run directories to the page."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from report_examples import PROTOCOL, make_predictions
from report_run_files import write_run

from sgear.cli.report import run_report
from sgear.errors import ConfigError, PredictionError, RunError, WriteError
from sgear.experiment.build import load_benchmark
from sgear.experiment.compose import save_config
from sgear.experiment.schema import AnticipationConfig, DatasetConfig, ExperimentConfig, InitConfig
from sgear.kitchen import KitchenConfig, make_world, write_annotations
from sgear.prototypes import LanguagePrototypes
from sgear.training.run import RunDirectory


@pytest.fixture(scope="module")
def kitchen_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("kitchen")
    world = make_world(KitchenConfig(num_train_videos=4, num_validation_videos=2, actions_per_video=20))
    write_annotations(world, root / "annotations")
    return root


def _kitchen_run(path: Path, root: Path, *, tau_a_s: float = 1.0, language: bool = False) -> RunDirectory:
    dataset = DatasetConfig(name="kitchen", root=str(root))
    benchmark = load_benchmark(dataset)
    run = write_run(path, benchmark, predictions=make_predictions(benchmark, protocol={**PROTOCOL, "tau_a_s": tau_a_s}))
    config = ExperimentConfig(name=path.name, dataset=dataset, protocol=AnticipationConfig(tau_a_s=tau_a_s))
    if language:
        file = path / "language.safetensors"
        num_actions = benchmark.taxonomy.num_actions
        LanguagePrototypes(
            vectors=torch.randn(num_actions, 4, generator=torch.Generator().manual_seed(0)),
            texts=benchmark.taxonomy.action_names,
            encoder="toy",
            taxonomy=benchmark.taxonomy,
        ).save(file)
        config = replace(config, init=InitConfig(language_prototypes=str(file)))
    save_config(config, run.config)
    return run


def test_report_lands_in_the_last_run_with_ceiling_video_and_language(tmp_path, kitchen_root, capsys):
    first = _kitchen_run(tmp_path / "first", kitchen_root)
    last = _kitchen_run(tmp_path / "last", kitchen_root, language=True)
    run_report([first.path, last.path], None)
    text = (last.path / "report.html").read_text(encoding="utf-8")
    assert "Bayes ceiling" in text
    assert "Forecast timeline" in text
    assert "Do words and images agree?" in text
    assert len(text) < 3_000_000
    printed = capsys.readouterr().out
    assert "frequency baseline" in printed
    assert "Bayes ceiling" in printed


def test_a_page_that_cannot_be_written_is_refused_before_any_run_is_read(tmp_path, kitchen_root):
    run = _kitchen_run(tmp_path / "run", kitchen_root)
    (tmp_path / "file").write_text("")
    run.metrics.write_text("not read")
    with pytest.raises(ConfigError, match=r"--out x\.pdf: the page is written as HTML"):
        run_report([run.path], Path("x.pdf"))
    with pytest.raises(WriteError, match="is no folder"):
        run_report([run.path], tmp_path / "file" / "x.html")


def test_runs_of_different_protocols_are_refused(tmp_path, kitchen_root):
    first = _kitchen_run(tmp_path / "first", kitchen_root)
    last = _kitchen_run(tmp_path / "last", kitchen_root, tau_a_s=2.0)
    with pytest.raises(PredictionError, match=r"first and last: .* different protocols"):
        run_report([first.path, last.path], tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_a_run_whose_parts_state_different_protocols_is_refused(tmp_path, kitchen_root):
    run = _kitchen_run(tmp_path / "run", kitchen_root)
    other = _kitchen_run(tmp_path / "other", kitchen_root, tau_a_s=2.0)
    shutil.copy(other.config, run.config)
    with pytest.raises(RunError, match=r"config\.yaml and the predictions state different protocols \(tau_a_s 2"):
        run_report([run.path], tmp_path / "out.html")
    shutil.copy(other.predictions, run.predictions)
    with pytest.raises(RunError, match=r"the model and validation\.safetensors state different protocols \(tau_a_s 1"):
        run_report([run.path], tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        run_report([tmp_path], None)
