"""The recipes of 50 Salads on its own annotations, whole videos: real features, and images at the real times.

The fold and the split hold a few of their videos. Images, one a second, lie under the names of the real videos.
"""

from importlib import resources
from pathlib import Path

import pytest
import torch
from tiny_recipes import TinyRuns, configs, write_seconds

from sgear.errors import AnnotationError, ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data, load_benchmark
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.starts import read_class_order
from sgear.prototypes.original import names_without_action, read_class_names

ALL = configs("salads50")
# Ablations differ from salads50/spatialcnn in the network alone; test_recipes trains them.
RECIPES = [name for name in ALL if "/ablation/" not in name]
LENGTHS_S = {"rgb-01-1": 390, "rgb-18-2": 252}
FOLD = {"train": ("rgb-01-1",), "test": ("rgb-18-2",)}
SPLIT = {"train": ("rgb-01-1", "rgb-01-2", "rgb-02-1"), "test": ("rgb-03-1",)}


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Starting processes takes longer than filling a cache of these videos."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def root(salads, tmp_path_factory) -> Path:
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


def settings(root: Path, name: str) -> list[str]:
    video = ["source.frame_fps=1"] if ALL[name].source.kind == "video" else []
    return [f"dataset.root={root / 'data'}", *video]


def runs_in(root: Path) -> TinyRuns:
    return TinyRuns(root / "runs", lambda name: settings(root, name))


@pytest.mark.data
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_on_its_own_annotations_and_is_evaluated(name, root):
    report = runs_in(root).report(name)
    num_asked = {"salads50-avt": 14, "salads50-tcn": 15}[ALL[name].dataset.name]
    assert report["num_evaluated"] == report["num_asked"] == num_asked


@pytest.mark.data
@pytest.mark.parametrize("dataset", ["salads50-avt", "salads50"])
def test_the_first_action_is_taken_where_the_video_shows_it(dataset, root):
    """`cut tomato` of rgb-01-1 starts 20.13 s after its video, and 0.0 s on the clock of its raw annotations."""
    config = runs_in(root).config("salads50/avt_vit", f"dataset.name={dataset}")
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


@pytest.mark.data
def test_without_the_labels_of_a_video_nothing_is_trained_on_its_images(root, tmp_path):
    data = tmp_path / "50salads"
    data.mkdir()
    for path in (root / "data").iterdir():
        if path.name != "groundTruth":
            (data / path.name).symlink_to(path.resolve())
    (data / "groundTruth").mkdir()
    for dataset in ("salads50-avt", "salads50"):
        config = runs_in(root).config("salads50/avt_vit", f"dataset.root={data}", f"dataset.name={dataset}")
        with pytest.raises(AnnotationError, match=r"no frame-wise labels of 2 of 2 videos, first rgb-01-1\.txt.*Put "):
            build_data(config)


@pytest.mark.data
@pytest.mark.parametrize(
    "chosen",
    [
        ["experiment=salads50/avt_vit", "dataset.name=salads50-tcn"],
        ["experiment=salads50/fused", "source.features=rgb"],
    ],
)
def test_stored_features_have_a_clock_of_their_own(chosen, root):
    with pytest.raises(ConfigError, match="salads50-tcn counts seconds from row 0 of its own features"):
        build_data(compose_experiment([*chosen, f"dataset.root={root / 'data'}"]))


@pytest.mark.data
def test_encodings_and_checkpoints_of_the_releases_have_the_19_classes_in_the_same_order(root):
    taxonomy = load_benchmark(DatasetConfig(name="salads50-avt", root=str(root / "data"))).taxonomy
    mapping = root / "data" / "mapping.txt"
    assert names_without_action(read_class_names(mapping), taxonomy) == []
    assert read_class_order(str(mapping), taxonomy, num_stored=19) == tuple(range(19))


@pytest.mark.parametrize("name", ALL)
def test_every_recipe_says_whose_protocol_it_has(name):
    text = (resources.files("sgear.experiment.conf") / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"Protocol: {ALL[name].dataset.name}" in text[: text.index("\nname:")]


@pytest.mark.parametrize("features", ["spatialcnn", "accelerometer", "fused"])
def test_avt_and_sgear_have_the_same_budget(features):
    sgear, avt = (compose_experiment([f"experiment=salads50/{features}{suffix}"]) for suffix in ("", "_avt"))
    assert (sgear.model.name, avt.model.name) == ("sgear", "avt")
    for part in ("optim", "protocol", "source", "dataset"):
        assert getattr(sgear, part) == getattr(avt, part)
    assert (sgear.model.encoder, sgear.model.decoder) == (avt.model.encoder, avt.model.decoder)
