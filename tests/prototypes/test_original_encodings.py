import pickle

import pytest
import torch

from sgear.errors import PrototypeError
from sgear.prototypes import cosine_relations
from sgear.prototypes.language import LanguagePrototypes
from sgear.prototypes.original import import_original_encodings
from sgear.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_labels(["add_oil", "cut_cheese", "cut_tomato"])
NAMES = ["cut_tomato", "add_oil", "cut_cheese", "action_end"]


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_encodings_are_joined_by_name_and_not_by_order(tmp_path):
    torch.save({index: torch.full((1, 4), float(index)) for index in range(4)}, tmp_path / "e.pth")
    prototypes = import_original_encodings(tmp_path / "e.pth", NAMES, TAXONOMY)
    assert prototypes.vectors[:, 0].tolist() == [1.0, 2.0, 0.0]
    assert prototypes.texts == ("add oil", "cut cheese", "cut tomato")


def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path):
    victim = tmp_path / "was_here"
    (tmp_path / "e.pth").write_bytes(pickle.dumps({0: Bomb(victim)}, protocol=2))
    with pytest.raises(PrototypeError, match="not executed"):
        import_original_encodings(tmp_path / "e.pth", NAMES, TAXONOMY)
    torch.save({0: Bomb(victim)}, tmp_path / "zip.pth")
    with pytest.raises(PrototypeError, match="not executed"):
        import_original_encodings(tmp_path / "zip.pth", NAMES, TAXONOMY)
    assert not victim.exists()


def test_a_missing_class_is_named(tmp_path):
    torch.save({0: torch.ones(4), 1: torch.ones(4)}, tmp_path / "e.pth")
    with pytest.raises(PrototypeError, match="cut cheese"):
        import_original_encodings(tmp_path / "e.pth", NAMES, TAXONOMY)


def test_a_class_id_without_a_name_is_an_error(tmp_path):
    torch.save({9: torch.ones(4)}, tmp_path / "e.pth")
    with pytest.raises(PrototypeError, match="class id 9 has no name"):
        import_original_encodings(tmp_path / "e.pth", NAMES, TAXONOMY)


def test_something_else_than_a_dict_is_an_error(tmp_path):
    torch.save([torch.ones(4)], tmp_path / "e.pth")
    with pytest.raises(PrototypeError, match="expected a dict"):
        import_original_encodings(tmp_path / "e.pth", NAMES, TAXONOMY)


@pytest.mark.data
def test_the_real_encodings_put_like_actions_together(real_data, tmp_path):
    lines = (real_data / "50salads" / "mapping.txt").read_text().split("\n")
    names = [line.split()[1] for line in lines if line.strip()]
    taxonomy = Taxonomy.from_labels(
        [line for line in (real_data / "50salads" / "mid_level_actions.txt").read_text().split() if line]
    )
    path = real_data / "language-prototypes" / "encodings_50salads.pth"
    prototypes = import_original_encodings(path, names, taxonomy)
    prototypes.save(tmp_path / "language.safetensors")
    loaded = LanguagePrototypes.load(tmp_path / "language.safetensors", taxonomy)
    relations = cosine_relations(loaded.vectors)
    row = {text: index for index, text in enumerate(loaded.texts)}
    cut, place = relations[row["cut tomato"]], "place tomato into bowl"
    assert loaded.vectors.shape == (17, 768)
    assert cut[row["cut cheese"]] > cut[row["add vinegar"]]
    assert cut[row[place]] > cut[row["add vinegar"]]
    # The file's own vector of that class, found by its id in the file, is the one under that name.
    stored = torch.load(path, weights_only=True)[names.index("cut_tomato")]
    assert torch.equal(loaded.vectors[row["cut tomato"]], stored.float().reshape(-1))
