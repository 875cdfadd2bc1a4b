"""`sgear prototypes`: from a data set to files, images and the layout of the original release."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sgear.cli.prototypes import app
from sgear.datasets import Benchmark
from sgear.errors import ConfigError, PrototypeError, RunError, WriteError
from sgear.experiment.build import load_benchmark
from sgear.experiment.compose import save_config
from sgear.experiment.schema import (
    AnticipationConfig,
    DatasetConfig,
    ExperimentConfig,
    FeatureSourceConfig,
    RecognitionConfig,
)
from sgear.experiment.train import visual_prototypes
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.models import build_model, model_config
from sgear.models.config import DecoderConfig, EncoderConfig
from sgear.models.pretrained import Preprocessing, TrainedModel, save_model
from sgear.prototypes import LanguagePrototypes, VisualPrototypes
from sgear.taxonomy import Taxonomy
from sgear.timing import RecognitionProtocol
from sgear.training.run import write_json


def sgear(*arguments: str | Path) -> str:
    """Run `sgear prototypes ...` in this process; a `SgearError` comes through as it is."""
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def kitchen_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "kitchen"
    config = KitchenConfig(num_train_videos=3, num_validation_videos=2, actions_per_video=30)
    build_kitchen(root, config, num_processes=1, with_videos=False)
    return root


@pytest.fixture(scope="module")
def benchmark(kitchen_root) -> Benchmark:
    return load_benchmark(DatasetConfig(name="kitchen", root=str(kitchen_root)))


@pytest.fixture(scope="module")
def language_file(benchmark, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("prototypes") / "language.safetensors"
    taxonomy = benchmark.taxonomy
    generator = torch.Generator().manual_seed(0)
    LanguagePrototypes(
        vectors=torch.randn(taxonomy.num_actions, 12, generator=generator),
        texts=taxonomy.action_names,
        encoder="toy",
        taxonomy=taxonomy,
        revision="r7",
    ).save(path)
    return path


def write_run(path: Path, root: Path, benchmark: Benchmark, *, name: str = "sgear", kind: str = "recognition") -> Path:
    """Write a run on stored features, as training leaves it, with random weights."""
    made = model_config(
        name=name,
        width=32,
        max_steps=4,
        encoder=EncoderConfig(name="features", feature_dim=64),
        decoder=DecoderConfig(width=32, num_layers=1, num_heads=4),
    )
    torch.manual_seed(0)
    trained = TrainedModel(
        model=build_model(made, num_actions=benchmark.taxonomy.num_actions),
        config=made,
        taxonomy=benchmark.taxonomy,
        protocol=RecognitionProtocol(num_steps=2),
        preprocessing=Preprocessing(kind="features"),
        log_prior=torch.zeros(benchmark.taxonomy.num_actions),
    )
    save_model(trained, path / "model")
    config = ExperimentConfig(
        name=path.name,
        dataset=DatasetConfig(name="kitchen", root=str(root)),
        protocol=RecognitionConfig(num_steps=2, jitter=0.0) if kind == "recognition" else AnticipationConfig(),
        source=FeatureSourceConfig(features="oracle"),
        model=made,
    )
    save_config(config, path / "config.yaml")
    write_json(path / "run.json", {"name": path.name, "seed": 0})
    return path


def test_visual_prototypes_of_a_run_use_the_training_clips_alone(kitchen_root, benchmark, tmp_path):
    run = write_run(tmp_path / "run", kitchen_root, benchmark)
    out = tmp_path / "visual.safetensors"
    printed = sgear("visual", run, "--out", out)
    prototypes = VisualPrototypes.load(out, benchmark.taxonomy)
    assert prototypes.num_exemplars.tolist() == benchmark.train.action_counts().tolist()
    assert f"{len(benchmark.train)} clips, {prototypes.num_filled} of them made from siblings" in " ".join(
        printed.split()
    )
    assert prototypes.run == "run"


def test_exemplars_are_limited_and_drawn_by_the_seed(kitchen_root, benchmark, tmp_path):
    run = write_run(tmp_path / "run", kitchen_root, benchmark)
    made = [visual_prototypes(run, tmp_path / "v.safetensors", max_exemplars=2, seed=seed) for seed in (0, 0, 1)]
    assert made[0].num_exemplars.tolist() == [min(2, count) for count in benchmark.train.action_counts()]
    assert torch.equal(made[0].vectors, made[1].vectors)
    assert not torch.equal(made[0].vectors, made[2].vectors)


def test_a_run_of_another_kind_or_vocabulary_is_refused(kitchen_root, benchmark, tmp_path):
    run = write_run(tmp_path / "anticipation", kitchen_root, benchmark, kind="anticipation")
    with pytest.raises(RunError, match="visual prototypes need a recognition run"):
        sgear("visual", run, "--out", tmp_path / "v.safetensors")
    other = tmp_path / "other-kitchen"
    config = KitchenConfig(num_train_videos=1, num_validation_videos=2, actions_per_video=12)
    build_kitchen(other, config, num_processes=1, with_videos=False)
    run = write_run(tmp_path / "run", other, benchmark)
    with pytest.raises(RunError, match=r"trained on \d+ actions .* but the data now has \d+"):
        sgear("visual", run, "--out", tmp_path / "v.safetensors")


def test_visual_prototypes_of_stored_features_need_no_run(kitchen_root, benchmark, tmp_path):
    out = tmp_path / "visual.safetensors"
    sgear(
        *("visual", "--features", "oracle", "--dataset", "kitchen", "--root", kitchen_root, "--out", out),
        *("--max-exemplars", "3"),
    )
    prototypes = VisualPrototypes.load(out, benchmark.taxonomy)
    assert prototypes.num_exemplars.max() == 3
    assert prototypes.run == "features oracle of kitchen, split 1"


def test_a_run_and_features_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match="give either RUN"):
        sgear("visual", "--out", tmp_path / "v.safetensors")
    with pytest.raises(ConfigError, match="give either RUN"):
        sgear("visual", tmp_path, "--features", "oracle", "--dataset", "kitchen", "--out", tmp_path / "v.safetensors")


def test_settings_of_a_data_set_beside_a_run_are_refused(tmp_path):
    for options in (["--split", "2"], ["--granularity", "low"], ["--num-folds", "2", "--fold", "1"]):
        with pytest.raises(ConfigError, match=rf"{options[0]}.* would have no effect beside RUN"):
            sgear("visual", tmp_path, *options, "--out", tmp_path / "v.safetensors")
    features = ("visual", "--features", "oracle", "--dataset", "kitchen", "--out", tmp_path / "v.safetensors")
    with pytest.raises(ConfigError, match="--fold 1 would have no effect without --num-folds"):
        sgear(*features, "--fold", "1")
    with pytest.raises(ConfigError, match=r"granularity=.low. has no effect on kitchen"):
        sgear(*features, "--granularity", "low")


def test_visual_prototypes_know_the_videos_they_were_learnt_from(kitchen_root, benchmark, tmp_path):
    run = write_run(tmp_path / "run", kitchen_root, benchmark)
    sgear("visual", run, "--out", tmp_path / "run.safetensors", "--max-exemplars", "3", "--seed", "5")
    common = ("visual", "--features", "oracle", "--dataset", "kitchen", "--root", kitchen_root)
    sgear(*common, "--out", tmp_path / "features.safetensors")
    of_run, of_features = (VisualPrototypes.load(tmp_path / f"{name}.safetensors") for name in ("run", "features"))
    for made in (of_run, of_features):
        (part,) = made.lineage.parts
        assert (part.dataset, part.split, part.num_folds) == ("kitchen", 1, 0)
        assert sorted(part.videos) == sorted(benchmark.train.video_ids)
    # The run was written without a record of its own.
    assert of_features.lineage.gaps == ()
    assert len(of_run.lineage.gaps) == 1
    weights = hashlib.sha256((run / "model" / "weights.safetensors").read_bytes()).hexdigest()
    assert of_run.provenance == {
        "path": str(run),
        "weights": f"sha256:{weights[:16]}",
        "max_exemplars": 3,
        "seed": 5,
    }
    assert of_features.provenance == {"max_exemplars": None, "seed": 0}
    printed = sgear("inspect", tmp_path / "features.safetensors")
    assert f"kitchen, split 1 ({len(benchmark.train.video_ids)} videos)" in printed


def test_visual_prototypes_of_a_fold_hold_its_videos_alone(kitchen_root, benchmark, tmp_path):
    common = ("visual", "--features", "oracle", "--dataset", "kitchen", "--root", kitchen_root)
    made = []
    for fold in (0, 1):
        out = tmp_path / f"{fold}.safetensors"
        sgear(*common, "--out", out, "--num-folds", "2", "--fold", fold)
        made.append(VisualPrototypes.load(out))
    videos = [set(each.lineage.parts[0].videos) for each in made]
    assert videos[0] | videos[1] == set(benchmark.train.video_ids)
    assert not videos[0] & videos[1]
    assert made[1].run == "features oracle of kitchen, split 1, fold 1 of 2"


def test_a_place_that_cannot_be_written_is_named_before_any_work(language_file, tmp_path):
    (tmp_path / "folder").mkdir()
    for command in (
        ("inspect", language_file, "--out", tmp_path / "image.png"),
        ("language", "--dataset", "no-such-data", "--out", tmp_path / "folder"),
        ("visual", "no-such-run", "--out", tmp_path / "folder"),
        ("visual", "--features", "x", "--dataset", "no-such-data", "--out", tmp_path / "folder"),
        ("export", "no-such-file", "--encodings", tmp_path / "folder"),
    ):
        if command[0] == "inspect":
            (tmp_path / "image.png").mkdir()
        with pytest.raises(WriteError, match="is a folder, expected the name of a file"):
            sgear(*command)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "image.png"]


def test_inspect_prints_numbers_and_the_nearest_neighbours(language_file, benchmark):
    printed = sgear("inspect", language_file, "--class", benchmark.taxonomy.action_names[0].replace(" ", "_"))
    assert f"{benchmark.taxonomy.num_actions} x 12" in printed
    assert "toy (r7)" in printed
    assert f"nearest to '{benchmark.taxonomy.action_names[0]}'" in printed


def test_an_unknown_class_is_answered_with_near_names(language_file):
    with pytest.raises(PrototypeError, match=r"is called 'take tomatto'; did you mean .*'take tomato'"):
        sgear("inspect", language_file, "--class", "take tomatto")


def test_inspect_compares_with_what_a_run_has_learned(language_file, kitchen_root, benchmark, tmp_path):
    run = write_run(tmp_path / "run", kitchen_root, benchmark)
    out = tmp_path / "page.html"
    dataset = ("--dataset", "kitchen", "--root", kitchen_root)
    printed = sgear("inspect", language_file, "--run", run, *dataset, "--out", out)
    assert "rank correlation with language" in printed
    assert "most alike, learned" in printed
    assert "Do the two sets agree?" in out.read_text(encoding="utf-8")


def test_a_model_without_prototypes_cannot_be_compared(language_file, kitchen_root, benchmark, tmp_path):
    run = write_run(tmp_path / "run", kitchen_root, benchmark, name="avt")
    with pytest.raises(PrototypeError, match="a model of the kind 'avt' has no prototypes"):
        sgear("inspect", language_file, "--run", run)


def test_two_files_of_one_kind_are_told_apart_by_their_names(language_file, tmp_path):
    (tmp_path / "copy.safetensors").write_bytes(language_file.read_bytes())
    printed = sgear("inspect", language_file, "--against", tmp_path / "copy.safetensors")
    assert "language copy" in printed
    assert "rank correlation with language language" in printed
    assert "1.00" in printed


def test_files_of_two_vocabularies_cannot_be_compared(language_file, tmp_path):
    other = Taxonomy.from_labels(["add_oil", "cut_cheese"])
    file = tmp_path / "other.safetensors"
    LanguagePrototypes(vectors=torch.eye(2), texts=other.action_names, encoder="toy", taxonomy=other).save(file)
    with pytest.raises(PrototypeError, match=r"made for 2 actions .* only in the file: \['add oil', 'cut cheese'\]"):
        sgear("inspect", language_file, "--against", file)


def test_inspect_writes_a_image_or_says_which_endings_there_are(language_file, tmp_path):
    sgear("inspect", language_file, "--out", tmp_path / "image.png")
    assert (tmp_path / "image.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ConfigError, match=r"ends in \.html and an image in \.png"):
        sgear("inspect", language_file, "--out", tmp_path / "image.pdf")


def test_settings_without_effect_are_refused(language_file, kitchen_root, tmp_path):
    out = ("--out", tmp_path / "l.safetensors")
    kitchen = ("--dataset", "kitchen", "--root", kitchen_root)
    with pytest.raises(ConfigError, match="give one of them"):
        sgear("inspect", language_file, "--against", language_file, "--run", tmp_path)
    for option in (("--root", kitchen_root), ("--granularity", "low")):
        with pytest.raises(ConfigError, match="say which --dataset is meant; give it, too"):
            sgear("inspect", language_file, *option)
    with pytest.raises(ConfigError, match="go together"):
        sgear("language", *kitchen, *out, "--original", tmp_path / "e.pth")
    with pytest.raises(ConfigError, match="go together"):
        sgear("language", *kitchen, *out, "--class-names", tmp_path / "n.txt")
    files = ("--original", tmp_path / "e.pth", "--class-names", tmp_path / "n.txt")
    with pytest.raises(ConfigError, match="no effect"):
        sgear("language", *kitchen, *out, *files, "--encoder", "offline")
    with pytest.raises(ConfigError, match="'reversed' is unknown; choose auto, as-written, head-first"):
        sgear("language", *kitchen, *out, "--compounds", "reversed")
    with pytest.raises(ConfigError, match="say what to write"):
        sgear("export", language_file)


def test_names_without_a_prototype_are_told_on_import_and_export(language_file, kitchen_root, benchmark, tmp_path):
    lines = [*benchmark.taxonomy.action_names, "action start", "action end"]
    (tmp_path / "names.txt").write_text("".join(f"{number} {name}\n" for number, name in enumerate(lines)))
    names = ("--class-names", tmp_path / "names.txt")
    printed = sgear("export", language_file, "--encodings", tmp_path / "e.pth", *names)
    assert "left out 2 names of the list that are no action of" in printed
    assert "action start, action end" in printed
    stored = torch.load(tmp_path / "e.pth", weights_only=True)
    torch.save({**stored, len(stored): torch.ones(12), len(stored) + 1: torch.ones(12)}, tmp_path / "e.pth")
    dataset = ("--dataset", "kitchen", "--root", kitchen_root, "--out", tmp_path / "l.safetensors")
    printed = sgear("language", *dataset, "--original", tmp_path / "e.pth", *names)
    assert "left out 2 names of the list that are no action of kitchen: action start, action end" in printed


def test_two_long_sources_are_printed_to_their_last_letter(language_file, benchmark, tmp_path):
    vectors, taxonomy = LanguagePrototypes.load(language_file).vectors, benchmark.taxonomy
    for number in (1, 2):
        encoder = f"an-owner-with-a-long-name/a-model-with-an-even-longer-name-number-{number}"
        prototypes = LanguagePrototypes(
            vectors=vectors, texts=taxonomy.action_names, encoder=encoder, taxonomy=taxonomy, revision=f"{number}" * 40
        )
        prototypes.save(tmp_path / f"{number}.safetensors")
    arguments = ["inspect", str(tmp_path / "1.safetensors"), "--against", str(tmp_path / "2.safetensors")]
    printed = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"}).output
    assert printed.count("1" * 10) >= 3
    assert "\u2026" not in printed
    assert sum(line.count("2") for line in printed.splitlines()) >= 40


@pytest.mark.slow
def test_drawing_many_actions_is_announced(tmp_path):
    names = [f"verb{index % 30} noun{index // 30}" for index in range(510)]
    taxonomy = Taxonomy.from_labels(names)
    vectors = torch.randn(510, 4, generator=torch.Generator().manual_seed(0))
    LanguagePrototypes(vectors=vectors, texts=taxonomy.action_names, encoder="toy", taxonomy=taxonomy).save(
        tmp_path / "l.safetensors"
    )
    printed = sgear("inspect", tmp_path / "l.safetensors", "--out", tmp_path / "p.png")
    assert printed.index("drawing 510 actions") < printed.index("wrote ")


def test_export_and_import_give_the_same_file(language_file, kitchen_root, benchmark, tmp_path):
    encodings, similarities = tmp_path / "encodings_kitchen.pth", tmp_path / "similarities_kitchen.pth"
    printed = sgear("export", language_file, "--encodings", encodings, "--similarities", similarities)
    assert f"{benchmark.taxonomy.num_actions} classes" in " ".join(printed.split())
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{i} {name}\n" for i, name in enumerate(benchmark.taxonomy.action_names)))
    out = tmp_path / "back.safetensors"
    common = ("language", "--dataset", "kitchen", "--root", kitchen_root, "--class-names", names, "--out", out)
    sgear(*common, "--original", encodings, "--similarities", similarities)
    original = LanguagePrototypes.load(language_file)
    assert torch.equal(LanguagePrototypes.load(out).vectors, original.vectors)
    sgear(*common, "--similarities", similarities)
    assert LanguagePrototypes.load(out).vectors.shape[1] == benchmark.taxonomy.num_actions
    assert "cosines alone" in LanguagePrototypes.load(out).encoder


def test_a_malicious_pickle_is_one_line_on_the_terminal(kitchen_root, tmp_path):
    bomb, victim, names = tmp_path / "encodings.pth", tmp_path / "was_here", tmp_path / "names.txt"
    # Protocol 0 by hand: call posix.system("touch ...").
    bomb.write_bytes(b"cposix\nsystem\n(S'touch " + os.fsencode(victim) + b"'\ntR.")
    names.write_text("0 take tomato\n")
    command = [sys.executable, "-m", "sgear.cli.main", "prototypes", "language", "--dataset", "kitchen"]
    command += ["--root", str(kitchen_root), "--original", str(bomb), "--class-names", str(names)]
    command += ["--out", str(tmp_path / "l.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "nothing in it was executed" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not victim.exists()
    assert not (tmp_path / "l.safetensors").exists()
