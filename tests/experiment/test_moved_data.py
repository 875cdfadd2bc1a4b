"""A data set is what it holds, not where it lies: runs are evaluated and go on wherever their data are now."""

import json
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_recipes import own_data, small_kitchen
from typer.testing import CliRunner

from sgear.cli.main import app
from sgear.datasets.own import import_own
from sgear.errors import ConfigError, RunError, SgearError
from sgear.experiment import compose_experiment, load_run_config
from sgear.experiment.build import load_benchmark
from sgear.experiment.compose import save_config
from sgear.experiment.evaluate import evaluate_run, predict_split
from sgear.experiment.facts import data_record, learn_facts, require_same_data
from sgear.experiment.moved import PLACES, Places, at_places
from sgear.experiment.schema import DatasetConfig, ExperimentConfig, FeatureSourceConfig, InitConfig
from sgear.experiment.settings import flatten
from sgear.experiment.train import train_run, visual_prototypes
from sgear.features.imports import ArrayFormat, find_arrays, import_arrays
from sgear.training.run import RunDirectory, write_json
from sgear.video.find import list_videos
from sgear.video.training_copy import CopySettings, make_copy

ROWS = {"v1": 61, "v2": 62, "v3": 63}
SETTINGS = [
    *("model.width=32", "model.decoder.width=32", "model.decoder.num_layers=1", "model.encoder.feature_dim=4"),
    *("optim.epochs=2", "runtime.device=cpu", "name=run"),
]


def make_data(folder: Path, *, stop_s: float = 3.0, seed: int = 0) -> Path:
    """A csv data set with stored features, as `sgear data import` and `sgear features import` make it."""
    data = own_data(folder, [(f"v{i}", *times, "cut") for i in (1, 2, 3) for times in ((2, stop_s), (5, 6), (9, 10))])
    (folder / "arrays").mkdir()
    rng = np.random.default_rng(seed)
    for name, number in ROWS.items():
        np.save(folder / "arrays" / f"{name}.npy", rng.standard_normal((number, 4), dtype=np.float32))
    root = Path(data.root).rename(folder / "A")
    import_arrays(find_arrays(folder / "arrays"), root / "features" / "vit", ArrayFormat(fps=4.0), name="arrays")
    return root


def train(*overrides: str) -> RunDirectory:
    return train_run(compose_experiment(["experiment=own/avt_features", *SETTINGS, *overrides]))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with the data set A and a run on it, which was started there with relative paths."""
    folder = tmp_path_factory.mktemp("project")
    make_data(folder)
    with chdir(folder):
        train("dataset.root=A")
    return folder


@pytest.fixture
def moved(project, tmp_path) -> Path:
    """The run, and its data in another place, at B."""
    shutil.copytree(project / "runs", tmp_path / "runs")
    shutil.copytree(project / "A", tmp_path / "B")
    return tmp_path


def command(*words: object) -> None:
    result = CliRunner().invoke(app, [*map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


# --- moved data -----------------------------------------------------------------------------------------------------


def test_a_run_is_evaluated_and_resumed_where_its_data_lie_now(project, moved):
    run = moved / "runs" / "run"
    expected = json.loads((project / "runs" / "run" / "report.json").read_text())
    with pytest.raises(SgearError, match=r"A: no such folder of an imported csv\. Name the folder .*--root"):
        evaluate_run(run)
    command("report", run, "--root", moved / "B")
    assert (run / "report.html").is_file()
    command("evaluate", run, "--root", moved / "B")
    assert json.loads((run / "report.json").read_text())["scores"] == expected["scores"]
    settings = (f"output_root={moved / 'runs'}", "runtime.resume=true")
    train(*settings, f"dataset.root={moved / 'B'}")
    # From now on the run knows where its data are.
    assert evaluate_run(run)["scores"] == expected["scores"]
    with pytest.raises(ConfigError, match=r"cannot resume with other settings: optim\.lr was"):
        train(*settings, f"dataset.root={moved / 'B'}", "optim.lr=0.5")


@pytest.mark.data
def test_the_case_of_the_data_set_that_moved(real_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = real_data / "cases" / "03_moved_data_set"
    assert import_own(case / "13_oneclass.csv", Path("A")).is_accepted
    import_arrays(find_arrays(case / "feat1c"), Path("A/features/vit"), ArrayFormat(fps=4.0), name="feat1c")
    train("dataset.root=A", "model.encoder.feature_dim=16")
    Path("A").rename("B")
    command("evaluate", "runs/run", "--root", "B")
    train("dataset.root=B", "model.encoder.feature_dim=16", "runtime.resume=true")


def test_a_root_that_does_not_hold_the_data_is_refused_by_name(moved):
    for root in ("nowhere/at/all", "runs"):
        with pytest.raises(SgearError, match=rf"{moved / root}.*no such"):
            command("evaluate", moved / "runs" / "run", "--root", moved / root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_s": 3.5}, r"its segments of train are others \(6 of them, not 6\)"),
        ({"seed": 1}, r"other features of 3 videos \(v1, v2, v3\)"),
    ],
)
def test_other_data_are_refused_by_name_in_every_command(moved, changes, message, tmp_path):
    other, run = make_data(tmp_path / "other", **changes), moved / "runs" / "run"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refusal = rf"{other}: holds other data than {run} was made on: {message}\. Name the folder that holds the same"
    with pytest.raises(RunError, match=refusal):
        command("evaluate", run, "--root", other)
    with pytest.raises(RunError, match=refusal):
        train(f"output_root={moved / 'runs'}", f"dataset.root={other}", "runtime.resume=true")
    if "stop_s" in changes:
        with pytest.raises(RunError):
            command("report", run, "--root", other)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_annotations_that_changed_where_they_lie_are_other_data(moved, tmp_path):
    run = moved / "runs" / "run"
    command("evaluate", run, "--root", moved / "B")
    train(f"output_root={moved / 'runs'}", f"dataset.root={moved / 'B'}", "runtime.resume=true")
    other = make_data(tmp_path / "other", stop_s=3.5)
    shutil.rmtree(moved / "B")
    other.rename(moved / "B")
    with pytest.raises(RunError, match="its segments of train are others"):
        evaluate_run(run)


def test_stored_features_that_moved_alone_are_found_under_another_folder(moved):
    (moved / "elsewhere").mkdir()
    shutil.move(moved / "B" / "features" / "vit", moved / "elsewhere" / "vit")
    run, root = moved / "runs" / "run", moved / "B"
    with pytest.raises(SgearError, match=r"features 'vit' were not found.*--feature-root"):
        command("evaluate", run, "--root", root)
    command("evaluate", run, "--root", root, "--feature-root", moved / "elsewhere")
    with pytest.raises(ConfigError, match=r"--video-root has no effect: the run reads source\.kind=features"):
        command("evaluate", run, "--root", root, "--video-root", moved)


def test_options_of_a_run_and_of_a_file_of_predictions_are_told_apart(moved):
    run = moved / "runs" / "run"
    for option in (["--dataset", "csv"], ["--dataset-split", "2"], ["--granularity", "low"]):
        with pytest.raises(ConfigError, match=rf"{option[0]} goes with a file of predictions, but .*run is not one"):
            command("evaluate", run, *option)
    file = [run / "predictions" / "validation.safetensors", "--dataset", "csv", "--root", moved / "B"]
    for option in (["--split", "train"], ["--tau-a", "2"], ["--video-root", "."], ["--views", "x"]):
        with pytest.raises(ConfigError, match=rf"{option[0]} goes with a run directory"):
            command("evaluate", *file, *option)


# --- relative paths -------------------------------------------------------------------------------------------------


def test_a_run_made_with_a_relative_root_works_from_any_folder_and_moves_with_its_data(project, tmp_path):
    expected = json.loads((project / "runs" / "run" / "report.json").read_text())
    whole = Path(shutil.copytree(project, tmp_path / "whole"))
    with chdir(tmp_path):
        assert evaluate_run(project / "runs" / "run") == expected
        predictions, _ = predict_split(project / "runs" / "run", split="train")
        assert len(predictions) == 6
        (project / "A").rename(project / "away")
        try:
            assert evaluate_run(whole / "runs" / "run") == expected
        finally:
            (project / "away").rename(project / "A")


def placed(text: str) -> ExperimentConfig:
    """A configuration in which every setting that names a place is the same text."""
    config = ExperimentConfig(
        dataset=DatasetConfig(root=text, video_roots=[text]),
        source=FeatureSourceConfig(features=text, feature_roots=[text]),
        init=InitConfig(
            run=text, weights=text, class_names=text, branches=[text], visual_prototypes=text, language_prototypes=text
        ),
    )
    return replace(config, model=replace(config.model, encoder=replace(config.model.encoder, weights=text)))


def test_every_setting_that_names_a_place_counts_from_the_folder_of_the_training(moved, tmp_path, monkeypatch):
    store = tmp_path / "made" / "store"
    shutil.copytree(moved / "B" / "features" / "vit", store)
    run = RunDirectory(tmp_path / "made" / "runs" / "x")
    save_config(placed("store"), run.config)
    write_json(run.data, {"working_folder": "../.."})
    monkeypatch.chdir(moved)
    found = flatten(load_run_config(run.config))
    defaults = flatten(ExperimentConfig(source=FeatureSourceConfig()))
    differing = {key: value for key, value in found.items() if value != defaults[key]}
    assert differing.keys() == set(PLACES)
    assert all(value in (str(store), [str(store)]) for value in differing.values())
    # What lay in the old folder of the data set is looked for in the new one.
    inside = placed(str(store.parent / "old" / "store"))
    inside = replace(inside, dataset=replace(inside.dataset, root=str(store.parent / "old")))
    now = flatten(at_places(inside, Places(root=store.parent)))
    assert now.pop("dataset.root") == str(store.parent)
    assert all(now[key] in (str(store), [str(store)]) for key in set(PLACES) - {"dataset.root"})


def test_damaged_records_are_refused_with_what_to_do(moved):
    run = RunDirectory(moved / "runs" / "run")
    for text in ("[]", "{}", "{"):
        run.data.write_text(text)
        with pytest.raises(RunError, match=r"data\.json: .*damaged"):
            evaluate_run(run.path, places=Places(root=moved / "B"))
    # Runs of before have none.
    run.data.unlink()
    evaluate_run(run.path, places=Places(root=moved / "B"))
    with pytest.raises(ConfigError, match=r"dataset\.root was 'A' and is now"):
        train(f"output_root={moved / 'runs'}", f"dataset.root={moved / 'B'}", "runtime.resume=true")


# --- starts and videos ------------------------------------------------------------------------------------------------


def test_what_a_resumed_run_started_from_may_move_and_not_change(moved, tmp_path):
    run, root = moved / "runs" / "run", moved / "B"
    settings = (f"output_root={tmp_path / 'next'}", f"dataset.root={root}", "init.blocks=[decoder]")
    train(*settings, f"init.run={run}")
    shutil.copytree(run, tmp_path / "copy")
    train(*settings, f"init.run={tmp_path / 'copy'}", "runtime.resume=true")
    weights = tmp_path / "next" / "run" / "model" / "weights.safetensors"
    shutil.copy(weights, tmp_path / "copy" / "model" / "weights.safetensors")
    with pytest.raises(RunError, match=r"cannot resume from other files: init\.run"):
        train(*settings, f"init.run={tmp_path / 'copy'}", "runtime.resume=true")


def test_videos_are_the_same_as_copies_and_as_training_copies_and_nothing_else(tmp_path):
    small_kitchen(tmp_path / "a", actions_per_video=2)
    made = ExperimentConfig(dataset=DatasetConfig(name="kitchen", root=str(tmp_path / "a")))
    benchmark = load_benchmark(made.dataset)

    def facts_at(root: Path):
        videos = list_videos([root / "videos"])
        return learn_facts(made, benchmark, list(videos), videos=videos)

    run = RunDirectory(tmp_path / "run")
    write_json(run.data, data_record(made, benchmark, facts_at(tmp_path / "a"), run))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    there = replace(made, dataset=replace(made.dataset, root=str(tmp_path / "b")))
    require_same_data(run, there, benchmark, facts_at(tmp_path / "b"))
    first, second, *_ = sorted((tmp_path / "b" / "videos").rglob("*.mp4"))
    original = tmp_path / "a" / first.relative_to(tmp_path / "b")
    make_copy(original, first, CopySettings(short_side=32))
    assert first.stat().st_size != original.stat().st_size
    require_same_data(run, there, benchmark, facts_at(tmp_path / "b"))
    shutil.copy(second, first)
    with pytest.raises(RunError, match=rf"b: holds other data .*other videos of 1 videos \({first.stem}\)"):
        require_same_data(run, there, benchmark, facts_at(tmp_path / "b"))
    # Where a video lies as it lay, it may have been fetched again.
    require_same_data(run, made, benchmark, facts_at(tmp_path / "b"))


def test_prototypes_are_made_of_data_that_moved_and_of_no_others(moved, tmp_path):
    places = [f"dataset.root={moved / 'B'}", f"output_root={tmp_path}"]
    run = train_run(compose_experiment(["experiment=own/recognition_features", *SETTINGS, *places]))
    (moved / "B").rename(moved / "C")
    out = tmp_path / "visual.safetensors"
    command("prototypes", "visual", run.path, "--out", out, "--root", moved / "C")
    other = make_data(tmp_path / "other", seed=1)
    with pytest.raises(RunError, match="holds other data"):
        visual_prototypes(run.path, out, places=Places(root=other))
