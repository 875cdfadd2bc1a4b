"""What a run starts from is asked for before its data are read, with the command that makes it."""

import shlex
from pathlib import Path

import huggingface_hub.constants
import pytest

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment, list_experiments
from sgear.experiment.recipes import command_for, commands, purpose, recipe_of_run, training_command
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.starts import check_starts
from sgear.experiment.train import train_run
from sgear.models.encoders.timm import require_published_weights

VIT = "vit_small_patch16_224.augreg_in21k_ft_in1k"


def refusal(config: ExperimentConfig) -> list[str]:
    with pytest.raises(ConfigError) as error:
        check_starts(config)
    return str(error.value).splitlines()


def test_all_that_is_missing_is_told_in_the_order_in_which_it_is_made(tmp_path):
    root, runs = tmp_path / "my videos", tmp_path / "out"
    lines = refusal(compose_experiment(["experiment=own/sgear", f'dataset.root="{root}"', f"output_root={runs}"]))
    assert [line.strip().partition("=")[0] for line in lines[1:]] == [
        "init.run",
        "init.visual_prototypes",
        "init.language_prototypes",
    ]
    training, visual, language = (shlex.split(line.partition("make it with: ")[2]) for line in lines[1:])
    config = compose_experiment(training[2:])
    assert (config.name, config.dataset.root, config.output_root) == ("own-recognition", str(root), str(runs))
    assert visual == [
        "sgear",
        "prototypes",
        "visual",
        f"{runs}/own-recognition",
        "--out",
        f"{runs}/own-visual.safetensors",
    ]
    assert language[:3] == ["sgear", "prototypes", "language"]
    options = dict(zip(language[3::2], language[4::2], strict=True))
    assert options == {"--dataset": "csv", "--root": str(root), "--out": f"{runs}/own-language.safetensors"}


def test_language_prototypes_are_made_with_the_encoder_that_the_recipe_names():
    (line,) = refusal(compose_experiment(["experiment=salads50/vit_recognition", "model.encoder.pretrained=false"]))
    assert "init.language_prototypes=runs/salads50-vit-language.safetensors: no such file" in line
    assert "--encoder sentence-transformers/stsb-mpnet-base-v2" in line


def test_a_run_that_stopped_before_its_end_is_no_start(tmp_path):
    (tmp_path / "kitchen-recognition").mkdir()
    (line,) = refusal(compose_experiment(["experiment=kitchen/avt", f"output_root={tmp_path}"]))
    assert f"init.run={tmp_path}/kitchen-recognition: holds no trained model" in line


def test_a_run_that_no_recipe_makes_is_named_without_a_command(tmp_path):
    (line,) = refusal(compose_experiment(["experiment=kitchen/avt", f"init.run={tmp_path}/mine"]))
    assert line.endswith("/mine: no such run directory; check the path")


def test_branches_and_files_of_weights_are_asked_for():
    lines = refusal(compose_experiment(["experiment=egtea/rulstm"]))
    assert [line.strip().partition("=")[0] for line in lines[1:]] == ["init.branches", "init.branches"]
    (line,) = refusal(
        compose_experiment(["experiment=own/avt", "model.encoder.pretrained=false", "model.encoder.weights=none.pth"])
    )
    assert line == "model.encoder.weights=none.pth: no such file; check the path"


def test_training_stops_before_its_data_are_read(tmp_path):
    config = compose_experiment(
        ["experiment=kitchen/sgear", f"dataset.root={tmp_path / 'absent'}", f"output_root={tmp_path / 'runs'}"]
    )
    with pytest.raises(ConfigError, match="kitchen-recognition: no such run directory"):
        train_run(config)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def empty_hub(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_without_a_network_published_weights_are_refused_at_once_with_what_to_do(empty_hub):
    with pytest.raises(ConfigError) as error:
        require_published_weights(VIT)
    text = str(error.value)
    assert f"https://huggingface.co/timm/{VIT}/resolve/main/model.safetensors" in text
    assert "model.encoder.pretrained=false model.encoder.weights=FILE" in text
    with pytest.raises(ConfigError, match="needs the published weights"):
        check_starts(compose_experiment(["experiment=own/avt"]))


def test_weights_that_were_fetched_before_need_no_network(empty_hub):
    repository = empty_hub / f"models--timm--{VIT}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(b"")
    require_published_weights(VIT)


def test_a_name_that_timm_publishes_nothing_for_is_left_to_timm(empty_hub):
    require_published_weights("no_such_vit")


@pytest.mark.parametrize("name", list_experiments())
def test_the_run_of_a_recipe_leads_back_to_it(name):
    config = compose_experiment([f"experiment={name}"])
    assert recipe_of_run(config.name) == name
    assert training_command(Path("runs") / config.name) == f"sgear train experiment={name}"
    assert purpose(name).endswith(".")
    assert any(f"experiment={name}" in command for command in commands(name))


def test_a_command_is_found_by_the_file_that_it_writes():
    command = command_for(Path("elsewhere/epic100-language.safetensors"))
    assert command is not None
    assert command.startswith("sgear prototypes language --dataset epic100 --encoder ")
    assert command.endswith("--out runs/epic100-language.safetensors")
    assert command_for(Path("language.safetensors")) is None


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["experiment=salads50/vit_init", "dataset.split=2"], ("salads50/vit_recognition dataset.split=2",)),
        (
            ["experiment=epic100/vit", "dataset.num_folds=5", "dataset.fold=1"],
            ("epic100/vit_recognition dataset.num_folds=5 dataset.fold=1",),
        ),
        (
            ["experiment=salads50/vit_recognition", "dataset.name=salads50", "dataset.granularity=low"],
            ("language", "--granularity low"),
        ),
    ],
)
def test_the_command_that_makes_a_start_is_for_the_part_of_the_data_that_is_asked_for(settings, parts, tmp_path):
    with pytest.raises(ConfigError) as refused:
        check_starts(compose_experiment([*settings, f"output_root={tmp_path}"]))
    for part in parts:
        assert part in str(refused.value)
