"""What a run starts from is asked for before its data are read, with the command that makes it, and in which order."""

import shlex
from pathlib import Path

import huggingface_hub.constants
import pytest
from tiny_recipes import recipe, recipes

from sgear.datasets import load_dataset
from sgear.errors import ConfigError, PrototypeError
from sgear.experiment import compose_experiment
from sgear.experiment.recipes import command_for, commands, purpose, recipe_of_run, training_command
from sgear.experiment.starts import SAME_ORDER, check_starts, read_class_order
from sgear.experiment.train import train_run
from sgear.models.encoders.timm import require_published_weights
from sgear.taxonomy import Taxonomy

VIT = "vit_small_patch16_224.augreg_in21k_ft_in1k"


def refusal(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        check_starts(compose_experiment([*overrides]))
    return str(error.value).splitlines()


def test_all_that_is_missing_is_told_in_the_order_in_which_it_is_made(tmp_path):
    root, runs = tmp_path / "my videos", tmp_path / "out"
    lines = refusal("experiment=own/sgear", f'dataset.root="{root}"', f"output_root={runs}")[1:]
    keys = ["init.run", "init.visual_prototypes", "init.language_prototypes"]
    assert [line.strip().partition("=")[0] for line in lines] == keys
    training, visual, language = (shlex.split(line.partition("make it with: ")[2]) for line in lines)
    config = compose_experiment(training[2:])
    assert (config.name, config.dataset.root, config.output_root) == ("own-recognition", str(root), str(runs))
    assert visual[:4] == ["sgear", "prototypes", "visual", f"{runs}/own-recognition"]
    assert visual[4:] == ["--out", f"{runs}/own-visual.safetensors"]
    assert language[:3] == ["sgear", "prototypes", "language"]
    options = dict(zip(language[3::2], language[4::2], strict=True))
    assert options == {"--dataset": "csv", "--root": str(root), "--out": f"{runs}/own-language.safetensors"}


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            "experiment=salads50/vit_recognition model.encoder.pretrained=false",
            [
                "init.language_prototypes=runs/salads50-vit-language.safetensors: no such file",
                "--encoder sentence-transformers/stsb-mpnet-base-v2",
            ],
        ),
        # A run that stopped before its end, and one that no recipe makes.
        (
            "experiment=kitchen/avt output_root={here}",
            ["init.run={here}/kitchen-recognition: holds no trained model"],
        ),
        ("experiment=kitchen/avt init.run={here}/mine", ["/mine: no such run directory; check the path"]),
        (
            "experiment=egtea/rulstm",
            ["init.branches=runs/egtea-rulstm-rgb", "init.branches=runs/egtea-rulstm-flow"],
        ),
        (
            "experiment=own/avt model.encoder.pretrained=false model.encoder.weights=none.pth",
            ["model.encoder.weights=none.pth: no such file; check the path"],
        ),
        # The command is for the part of the data that is asked for.
        ("experiment=salads50/vit_init dataset.split=2", ["salads50/vit_recognition dataset.split=2"]),
        (
            "experiment=epic100/vit dataset.num_folds=5 dataset.fold=1",
            ["epic100/vit_recognition dataset.num_folds=5 dataset.fold=1"],
        ),
        (
            "experiment=salads50/vit_recognition dataset.name=salads50 dataset.granularity=low",
            ["language", "--granularity low"],
        ),
    ],
)
def test_what_is_missing_is_asked_for_with_the_command_that_makes_it(overrides, parts, tmp_path):
    (tmp_path / "kitchen-recognition").mkdir()
    message = "\n".join(refusal(*overrides.format(here=tmp_path).split()))
    for part in parts:
        assert part.format(here=tmp_path) in message


def test_training_stops_before_its_data_are_read(tmp_path):
    places = [f"dataset.root={tmp_path / 'absent'}", f"output_root={tmp_path / 'runs'}"]
    with pytest.raises(ConfigError, match="kitchen-recognition: no such run directory"):
        train_run(compose_experiment(["experiment=kitchen/sgear", *places]))
    assert not list(tmp_path.iterdir())


def test_published_weights_are_asked_for_at_once_where_there_is_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as error:
        require_published_weights(VIT)
    assert f"https://huggingface.co/timm/{VIT}/resolve/main/model.safetensors" in str(error.value)
    assert "model.encoder.pretrained=false model.encoder.weights=FILE" in str(error.value)
    assert "needs the published weights" in refusal("experiment=own/avt")[0]
    # A name that timm publishes nothing for is left to timm.
    require_published_weights("no_such_vit")
    # What was fetched before needs no network.
    repository = tmp_path / f"models--timm--{VIT}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(b"")
    require_published_weights(VIT)


@pytest.mark.parametrize("name", recipes())
def test_the_run_of_a_recipe_leads_back_to_it(name):
    run = recipe(name).name
    assert recipe_of_run(run) == name
    assert training_command(Path("runs") / run) == f"sgear train experiment={name}"
    assert purpose(name).endswith(".")
    assert any(f"experiment={name}" in command for command in commands(name))


def test_a_command_is_found_by_the_file_that_it_writes():
    command = command_for(Path("elsewhere/epic100-language.safetensors"))
    assert command is not None
    assert command.startswith("sgear prototypes language --dataset epic100 --encoder ")
    assert command.endswith("--out runs/epic100-language.safetensors")
    assert command_for(Path("language.safetensors")) is None


# --- which class of a published checkpoint each of our actions is ---------------------------------------------------

TAXONOMY = Taxonomy(verbs=("take", "put"), nouns=("cup", "board:chopping"), action_pairs=((0, 0), (1, 0), (0, 1)))


@pytest.mark.parametrize(
    ("lines", "order"),
    [
        # By name, whatever separates the words.
        ("0 Put_cup\n1 take board-chopping\n2 take cup", (2, 0, 1)),
        # Classes that the data set lacks are left out.
        ("0 take cup\n1 wash pan\n2 put cup\n3 take board:chopping", (0, 2, 3)),
        # Names made of narrations, by the ids of verb and noun.
        ("id,action,verb,noun\n0, fetch_cup,0,0\n1, get_board,0,1\n2, put,1,0", (0, 2, 1)),
    ],
)
def test_classes_are_joined_by_name_or_by_the_ids_of_verb_and_noun(lines, order, tmp_path):
    (tmp_path / "names.txt").write_text(f"{lines}\n")
    num_stored = lines.count("\n") + (not lines.startswith("id"))
    assert read_class_order(str(tmp_path / "names.txt"), TAXONOMY, num_stored=num_stored) == order


@pytest.mark.parametrize(
    ("lines", "num_stored", "message"),
    [
        (
            "id,verb,noun,action\n0,0,0,open door\n1,0,1,open box\n2,1,1,close box",
            3,
            r"no class for \['take cup', .*\(3 of 3 actions.*was it another data set",
        ),
        ("0 take cup\n1 put cup\n2 take board:chopping", 5, r"checkpoint has 5 actions, the list 3 with ids 0\.\.2"),
        ("take cup\nput cup\ntake board", 3, "a list without ids"),
    ],
)
def test_a_list_that_does_not_fit_checkpoint_or_data_set_is_refused(lines, num_stored, message, tmp_path):
    (tmp_path / "names.txt").write_text(f"{lines}\n")
    with pytest.raises((ConfigError, PrototypeError), match=message):
        read_class_order(str(tmp_path / "names.txt"), TAXONOMY, num_stored=num_stored)


def test_the_same_order_needs_the_same_number():
    assert read_class_order(SAME_ORDER, TAXONOMY, num_stored=3) == (0, 1, 2)
    with pytest.raises(ConfigError, match=r"the checkpoint has 4 actions, the data set 3"):
        read_class_order(SAME_ORDER, TAXONOMY, num_stored=4)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder", "actions", "num_actions"),
    [
        pytest.param("epic100", "epic-kitchens-100-annotations", "rulstm/ek100", 3806, marks=pytest.mark.slow),
        ("rulstm-ek100", "rulstm/ek100", "rulstm/ek100", 3806),
        ("rulstm-ek55", "rulstm/ek55", "rulstm/ek55", 2513),
        ("epic55", "epic-kitchens-55-annotations", "rulstm/ek55", 2513),
        ("egtea", "egtea", "rulstm/egtea", 106),
    ],
)
def test_our_actions_of_the_published_data_sets_lie_where_the_lists_of_rulstm_have_them(
    real_data, name, folder, actions, num_actions
):
    taxonomy = load_dataset(name, real_data / folder).taxonomy
    order = read_class_order(str(real_data / actions / "actions.csv"), taxonomy, num_stored=num_actions)
    assert order == tuple(range(num_actions))
