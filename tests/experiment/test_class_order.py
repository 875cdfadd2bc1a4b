"""Which class of a published checkpoint each of our actions is."""

from pathlib import Path

import pytest

from sgear.datasets import load_dataset
from sgear.errors import ConfigError, PrototypeError
from sgear.experiment.starts import SAME_ORDER, read_class_order
from sgear.taxonomy import Taxonomy

TAXONOMY = Taxonomy(verbs=("take", "put"), nouns=("cup", "board:chopping"), action_pairs=((0, 0), (1, 0), (0, 1)))


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_classes_are_joined_by_name_whatever_separates_the_words(tmp_path):
    names = write(tmp_path / "names.txt", "0 Put_cup", "1 take board-chopping", "2 take cup")
    assert read_class_order(names, TAXONOMY, num_stored=3) == (2, 0, 1)


def test_classes_that_the_data_set_lacks_are_left_out(tmp_path):
    names = write(tmp_path / "names.txt", "0 take cup", "1 wash pan", "2 put cup", "3 take board:chopping")
    assert read_class_order(names, TAXONOMY, num_stored=4) == (0, 2, 3)


def test_names_made_of_narrations_are_joined_by_the_ids_of_verb_and_noun(tmp_path):
    names = write(tmp_path / "actions.csv", "id,action,verb,noun", "0, fetch_cup,0,0", "1, get_board,0,1", "2, put,1,0")
    assert read_class_order(names, TAXONOMY, num_stored=3) == (0, 2, 1)


def test_ids_of_another_data_set_are_not_taken_for_ours(tmp_path):
    lines = ("id,verb,noun,action", "0,0,0,open door", "1,0,1,open box", "2,1,1,close box")
    names = write(tmp_path / "actions.csv", *lines)
    with pytest.raises(ConfigError, match=r"no class for \['take cup', .*\(3 of 3 actions.*was it another data set"):
        read_class_order(names, TAXONOMY, num_stored=3)


def test_a_list_of_another_length_than_the_checkpoint_is_refused_with_both(tmp_path):
    names = write(tmp_path / "names.txt", "0 take cup", "1 put cup", "2 take board:chopping")
    with pytest.raises(ConfigError, match=r"checkpoint has 5 actions, the list 3 with ids 0\.\.2"):
        read_class_order(names, TAXONOMY, num_stored=5)


def test_a_list_without_ids_is_refused(tmp_path):
    names = write(tmp_path / "names.txt", "take cup", "put cup", "take board")
    with pytest.raises(PrototypeError, match="a list without ids"):
        read_class_order(names, TAXONOMY, num_stored=3)


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
