"""The recipes of EGTEA Gaze+ on its own annotations: three videos that its first split cuts, the first 80 s of each.

Images, one a second, and random features lie under the names of the real videos.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipes import TinyRuns, configs, write_features, write_seconds

from sgear.experiment.build import build_data
from sgear.models.pretrained import WEIGHTS_FILE
from sgear.predictions import Predictions
from sgear.segments import UNKNOWN_ACTION
from sgear.training.run import RunDirectory

RECIPES = configs("egtea")
VIDEOS = ("OP04-R04-ContinentalBreakfast", "OP04-R06-GreekSalad", "P02-R06-GreekSalad")
LENGTH_S = 80
WIDTH = 4

pytestmark = pytest.mark.data


def first_clips(path: Path) -> list[str]:
    """The real lines of clips that end within the images."""
    lines = path.read_text().splitlines(keepends=True)
    return [line for line in lines if line.startswith(VIDEOS) and int(line.split()[0].split("-")[-3]) < 1000 * LENGTH_S]


def with_other_labels(lines: list[str]) -> list[str]:
    """The same clips, each with the label of the next."""
    labels = [line.partition(" ")[2] for line in lines]
    return [f"{line.split()[0]} {label}" for line, label in zip(lines, labels[1:] + labels[:1], strict=True)]


@pytest.fixture(scope="module")
def root(real_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("egtea")
    (folder / "data").mkdir()
    for path in (real_data / "egtea").glob("*_idx.txt"):
        shutil.copyfile(path, folder / "data" / path.name)
    for part in ("train", "test"):
        lines = first_clips(real_data / "egtea" / f"{part}_split1.txt")
        (folder / "data" / f"{part}_split1.txt").write_text("".join(lines))
    for name in ("rgb", "flow"):
        write_features(folder / "data" / "features" / name, dict.fromkeys(VIDEOS, LENGTH_S), width=WIDTH)
    write_seconds(folder / "data" / "videos", dict.fromkeys(VIDEOS, LENGTH_S))
    return folder


def settings(root: Path, name: str) -> list[str]:
    config = RECIPES[name]
    chosen = [f"dataset.root={root / 'data'}"]
    if config.source.kind == "video":
        chosen.append("source.frame_fps=1")
    if config.source.kind == "features":
        kinds = config.source.features.count("+") + 1
        chosen.append(f"model.encoder.feature_dim={kinds * WIDTH}")
        if not config.model.encoder.map:
            chosen.append(f"model.width={kinds * WIDTH}")
        if config.model.name == "rulstm":
            chosen.append(f"model.rulstm.modalities={[WIDTH] * kinds}")
    return chosen


def runs_in(root: Path, out: str = "runs") -> TinyRuns:
    return TinyRuns(root / out, lambda name: settings(root, name))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_on_its_own_annotations_and_is_evaluated(name, root):
    report = runs_in(root).report(name)
    num_clips = len((root / "data" / "test_split1.txt").read_text().splitlines())
    assert report["num_evaluated"] == report["num_asked"] == num_clips


@pytest.mark.parametrize("name", ["egtea/avt_tsn", "egtea/last_action"])
def test_the_labels_of_test_clips_make_no_difference_to_a_model(name, root):
    """All three videos are cut: their test clips lie in the windows of their training clips."""
    runs_in(root).run(name)
    file = root / "data" / "test_split1.txt"
    real = file.read_text()
    file.write_text("".join(with_other_labels(real.splitlines(keepends=True))))
    try:
        runs_in(root, "relabelled").run(name)
    finally:
        file.write_text(real)
    runs = [RunDirectory(root / runs / RECIPES[name].name) for runs in ("runs", "relabelled")]
    weights = [(run.model / WEIGHTS_FILE).read_bytes() for run in runs]
    targets = [Predictions.load(run.predictions).targets for run in runs]
    assert weights[0] == weights[1]
    assert not np.array_equal(*targets)


def test_the_window_of_a_clip_ends_tau_a_before_its_real_start(root):
    data = build_data(runs_in(root).config("egtea/avt_vit", "source.scale_jitter=[]"))
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
