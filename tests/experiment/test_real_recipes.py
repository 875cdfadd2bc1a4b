"""Recipes on the real annotations of their data sets, at tiny size, on a few of their videos.

Features and videos are generated under the real names, those of 50 Salads alone are its own features. Images, one a
second, are as grey as half their second.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipes import (
    WIDTHS,
    TinyRuns,
    recipe,
    recipes,
    recipes_of,
    recipes_on,
    seen_after_limit_s,
    write_features,
    write_seconds,
)

from sgear.datasets import Benchmark
from sgear.errors import AnnotationError, ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data, load_benchmark
from sgear.experiment.evaluate import predict_split
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.starts import read_class_order
from sgear.models.pretrained import WEIGHTS_FILE
from sgear.predictions import Predictions
from sgear.prototypes.original import names_without_action, read_class_names
from sgear.segments import UNKNOWN_ACTION

pytestmark = pytest.mark.data


def runs_in(root: Path, out: str = "runs") -> TinyRuns:
    """Runs of recipes on `root / "data"`."""

    def settings(name: str) -> list[str]:
        rate = ["source.frame_fps=1"] if recipe(name).source.kind == "video" else []
        return [f"dataset.root={root / 'data'}", *rate]

    return TinyRuns(root / out, settings)


# --- EPIC-KITCHENS --------------------------------------------------------------------------------------------------

# Training: recorded at 50 and at 59.94 fps. Validation: one participant of training, and one who never occurs there.
EPIC100 = {"P03_110": 18.1, "P26_12": 18.65, "P02_13": 29.51, "P32_07": 28.98, "P34_108": 53.22}
# RULSTM's split: three videos of training, two of validation, one of each test split.
EPIC55 = {"P06_02": 13.95, "P26_12": 18.65, "P08_07": 24.01, "P28_12": 27.04, "P14_02": 32.28, "P03_26": 11.13}
EPIC55["P09_01"] = 14.23
VIDEO_FOLDERS = {"epic100": "EpicKitchens100/videos_extension_ht256px", "epic55": "EpicKitchens/videos_ht256px/train"}
PARTS = {"epic100": {"overall", "unseen", "tail"}, "epic55": {"overall", "many_shot"}}


@pytest.fixture(scope="module", params=["epic100", "epic55"])
def epic(request, real_data, tmp_path_factory) -> Iterator[tuple[TinyRuns, Benchmark]]:
    """Runs, and what is annotated; a module's tests come one data set after the other."""
    videos = {"epic100": EPIC100, "epic55": EPIC55}[request.param]
    out = tmp_path_factory.mktemp(request.param)
    with recipes_on(request.param, videos, annotations=real_data, out=out, folder=VIDEO_FOLDERS[request.param]) as made:
        yield made


def test_the_annotations_are_the_real_ones(epic):
    _, benchmark = epic
    sizes = (benchmark.taxonomy.num_actions, len(benchmark.train), len(benchmark.validation))
    if benchmark.name == "epic100":
        assert (*sizes, len(benchmark.tests["test"])) == (3806, 20, 17, 10)
        assert benchmark.validation.of_video("P32_07").uids == ["P32_07_0", "P32_07_1", "P32_07_2"]
    else:
        assert sizes == (2513, 21, 15)
        assert benchmark.validation.of_video("P28_12").uids == [str(uid) for uid in range(34292, 34299)]


@pytest.mark.parametrize(("epic", "name"), recipes_of("epic100", "epic55"), indirect=["epic"])
def test_a_recipe_of_epic_kitchens_trains_and_is_evaluated(epic, name):
    runs, benchmark = epic
    report = runs.report(name)
    assert name.startswith(report["benchmark"])
    assert report["num_evaluated"] == report["num_asked"] == len(benchmark.validation)
    assert set(report["scores"]) >= PARTS[benchmark.name]
    assert Predictions.load(runs.run(name).predictions).uids == tuple(benchmark.validation.uids)


@pytest.mark.parametrize("recipe", ["tsn", "avt_tsn", "rulstm_rgb"])
def test_no_step_of_a_recipe_shows_anything_later_than_tau_a_before_the_action(epic, recipe):
    runs, benchmark = epic
    runs.run(f"{benchmark.name}/{recipe}")
    # Rows are a quarter of a second apart: the newest one that may be seen is not much older.
    assert -0.25 < seen_after_limit_s(runs.config(f"{benchmark.name}/{recipe}")) <= 1e-4


def test_test_splits_are_answered(epic):
    runs, benchmark = epic
    assert benchmark.tests
    for split, segments in benchmark.tests.items():
        predictions, _ = predict_split(runs.run(f"{benchmark.name}/avt_tsn").path, split=split)
        assert predictions.uids == tuple(segments.uids)


# --- EGTEA Gaze+: three videos that its first split cuts, the first 80 s of each --------------------------------------

VIDEOS = ("OP04-R04-ContinentalBreakfast", "OP04-R06-GreekSalad", "P02-R06-GreekSalad")
LENGTH_S = 80


def first_clips(path: Path) -> list[str]:
    """The real lines of clips that end within the images."""
    lines = path.read_text().splitlines(keepends=True)
    return [line for line in lines if line.startswith(VIDEOS) and int(line.split()[0].split("-")[-3]) < 1000 * LENGTH_S]


def with_other_labels(lines: list[str]) -> list[str]:
    """The same clips, each with the label of the next."""
    labels = [line.partition(" ")[2] for line in lines]
    return [f"{line.split()[0]} {label}" for line, label in zip(lines, labels[1:] + labels[:1], strict=True)]


@pytest.fixture(scope="module")
def egtea(real_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("egtea")
    (folder / "data").mkdir()
    for path in (real_data / "egtea").glob("*_idx.txt"):
        shutil.copyfile(path, folder / "data" / path.name)
    for part in ("train", "test"):
        lines = first_clips(real_data / "egtea" / f"{part}_split1.txt")
        (folder / "data" / f"{part}_split1.txt").write_text("".join(lines))
    for name in ("rgb", "flow"):
        write_features(folder / "data" / "features" / name, dict.fromkeys(VIDEOS, LENGTH_S), width=WIDTHS[name])
    write_seconds(folder / "data" / "videos", dict.fromkeys(VIDEOS, LENGTH_S))
    return folder


@pytest.mark.parametrize("name", recipes("egtea"))
def test_a_recipe_of_egtea_trains_and_is_evaluated(name, egtea):
    report = runs_in(egtea).report(name)
    num_clips = len((egtea / "data" / "test_split1.txt").read_text().splitlines())
    assert report["num_evaluated"] == report["num_asked"] == num_clips


@pytest.mark.parametrize("name", ["egtea/avt_tsn", "egtea/last_action"])
def test_the_labels_of_test_clips_make_no_difference_to_a_model(name, egtea):
    """All three videos are cut: their test clips lie in the windows of their training clips."""
    runs = [runs_in(egtea).run(name)]
    file = egtea / "data" / "test_split1.txt"
    real = file.read_text()
    file.write_text("".join(with_other_labels(real.splitlines(keepends=True))))
    try:
        runs.append(runs_in(egtea, "relabelled").run(name))
    finally:
        file.write_text(real)
    weights = [(run.model / WEIGHTS_FILE).read_bytes() for run in runs]
    targets = [Predictions.load(run.predictions).targets for run in runs]
    assert weights[0] == weights[1]
    assert not np.array_equal(*targets)


def test_the_window_of_a_clip_ends_tau_a_before_its_real_start(egtea):
    data = build_data(runs_in(egtea).config("egtea/avt_vit", "source.scale_jitter=[]"))
    for row, segment in enumerate(data.validation.segments):
        sample = data.validation[row]
        shown_s = 2 * sample["clip"].float().mean(dim=(1, 2, 3))
        instants_s = segment.start_s - 0.5 - torch.arange(9, -1, -1)
        mask = instants_s >= 0
        assert torch.equal(sample["mask"], mask)
        # An image is as grey as half its second.
        assert torch.equal(shown_s[mask], 2 * (instants_s[mask].floor() / 2).floor())


def test_what_training_loses_with_the_labels_of_test_clips(real_data, monkeypatch):
    """AVT's windows over the whole first split: labels of observed steps, all clips against those of training."""
    monkeypatch.setenv("SGEAR_DATA", str(real_data))
    data = build_data(TinyRuns(Path("runs"), lambda _: []).config("egtea/last_action"))
    num_labelled = num_lost = 0
    for video_id in data.benchmark.train.video_ids:
        clips = data.benchmark.train.of_video(video_id)
        instants_s = (clips.column("start_s")[:, None] - 0.5 - np.arange(10)).ravel()
        whole, ours = (samples.labels.at(video_id, instants_s) for samples in (data.validation, data.train))
        assert np.isin(ours, [UNKNOWN_ACTION, *clips.column("action_id")]).all()
        num_labelled += int((whole >= 0).sum())
        num_lost += int(((whole >= 0) & (ours != whole)).sum())
    assert (num_labelled, num_lost) == (33_903, 4_148)


# --- 50 Salads: whole videos; the fold and the split hold a few of them ----------------------------------------------

LENGTHS_S = {"rgb-01-1": 390, "rgb-18-2": 252}
FOLD = {"train": ("rgb-01-1",), "test": ("rgb-18-2",)}
SPLIT = {"train": ("rgb-01-1", "rgb-01-2", "rgb-02-1"), "test": ("rgb-03-1",)}


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Starting processes takes longer than filling a cache of these videos."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def fold(salads, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    data = folder / "data"
    (data / "splits" / "split_1").mkdir(parents=True)
    (data / "splits_abu_farha").mkdir()
    for path in (salads / "50salads").iterdir():
        if not path.name.startswith("splits"):
            (data / path.name).symlink_to(path)
    for part in ("train", "test"):
        (data / "splits_abu_farha" / f"{part}.split1.bundle").write_text("\n".join(FOLD[part]))
        (data / "splits" / "split_1" / f"{part}.txt").write_text("\n".join(SPLIT[part]))
    write_seconds(data / "videos", LENGTHS_S)
    return folder


# Ablations differ from salads50/spatialcnn in the network alone; test_recipes trains them.
@pytest.mark.parametrize("name", [name for name in recipes("salads50") if "/ablation/" not in name])
def test_a_recipe_of_50_salads_trains_and_is_evaluated(name, fold):
    report = runs_in(fold).report(name)
    num_asked = {"salads50-avt": 14, "salads50-tcn": 15}[recipe(name).dataset.name]
    assert report["num_evaluated"] == report["num_asked"] == num_asked


@pytest.mark.parametrize("dataset", ["salads50-avt", "salads50"])
def test_the_first_action_is_taken_where_the_video_shows_it(dataset, fold):
    """`cut tomato` of rgb-01-1 starts 20.13 s after its video, and 0.0 s on the clock of its raw annotations."""
    config = runs_in(fold).config("salads50/avt_vit", f"dataset.name={dataset}")
    data = build_data(config)
    row = data.train.segments.uids.index("rgb-01-1_0")
    segment = next(iter(data.train.segments.of_video("rgb-01-1")))
    assert data.benchmark.taxonomy.action_names[segment.action_id] == "cut tomato"
    assert segment.start_s == pytest.approx(604 / 30)
    sample = data.train[row]
    assert sample["mask"].all()
    shown_s = 2 * sample["clip"].float().mean(dim=(1, 2, 3))
    # From 1.13 to 19.13 s; an image is as grey as half its second.
    assert torch.allclose(shown_s, torch.arange(1.0, 20.0, 2.0), atol=2.0)
    # All of it is before the first action.
    assert (sample["step_labels"] == -1).all()


def test_without_the_labels_of_a_video_nothing_is_trained_on_its_images(fold, tmp_path):
    data = tmp_path / "50salads"
    data.mkdir()
    for path in (fold / "data").iterdir():
        if path.name != "groundTruth":
            (data / path.name).symlink_to(path.resolve())
    (data / "groundTruth").mkdir()
    for dataset in ("salads50-avt", "salads50"):
        config = runs_in(fold).config("salads50/avt_vit", f"dataset.root={data}", f"dataset.name={dataset}")
        with pytest.raises(AnnotationError, match=r"no frame-wise labels of 2 of 2 videos, first rgb-01-1\.txt.*Put "):
            build_data(config)


@pytest.mark.parametrize(
    "chosen",
    [
        ["experiment=salads50/avt_vit", "dataset.name=salads50-tcn"],
        ["experiment=salads50/fused", "source.features=rgb"],
    ],
)
def test_stored_features_have_a_clock_of_their_own(chosen, fold):
    with pytest.raises(ConfigError, match="salads50-tcn counts seconds from row 0 of its own features"):
        build_data(compose_experiment([*chosen, f"dataset.root={fold / 'data'}"]))


def test_encodings_and_checkpoints_of_the_releases_have_the_19_classes_in_the_same_order(fold):
    taxonomy = load_benchmark(DatasetConfig(name="salads50-avt", root=str(fold / "data"))).taxonomy
    mapping = fold / "data" / "mapping.txt"
    assert names_without_action(read_class_names(mapping), taxonomy) == []
    assert read_class_order(str(mapping), taxonomy, num_stored=19) == tuple(range(19))
