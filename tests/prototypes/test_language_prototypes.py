"""Embedding of class names, and the file they are kept in."""

import json
from importlib.util import find_spec

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prototype_examples import SALAD, write_bomb, write_tiny_encoder
from safetensors import safe_open
from safetensors.torch import save_file

from sgear.errors import PrototypeError
from sgear.prototypes import LanguagePrototypes, VisualPrototypes, class_means, encode_taxonomy
from sgear.prototypes.files import kind_of_file
from sgear.prototypes.language import load_encoder
from sgear.taxonomy import Taxonomy

NO_ENCODER = "sentence-transformers is not installed; install the extra 'language'"
needs_encoder = pytest.mark.skipif(find_spec("sentence_transformers") is None, reason=NO_ENCODER)


def make_language(taxonomy: Taxonomy = SALAD) -> LanguagePrototypes:
    vectors = torch.randn(taxonomy.num_actions, 6, generator=torch.Generator().manual_seed(0))
    return LanguagePrototypes(
        vectors=vectors, texts=taxonomy.action_names, encoder="toy", taxonomy=taxonomy, revision="r1"
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "language.safetensors"
    make_language().save(path)
    return path


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory):
    if find_spec("sentence_transformers") is None:
        pytest.skip(NO_ENCODER)
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny-bert")


def test_a_saved_file_is_read_to_the_same_bits(file):
    written, read = make_language(), LanguagePrototypes.load(file, SALAD)
    assert torch.equal(read.vectors, written.vectors)
    assert (read.texts, read.encoder, read.revision) == (written.texts, "toy", "r1")
    assert read.taxonomy.digest == SALAD.digest
    assert LanguagePrototypes.load(file).taxonomy == SALAD
    assert kind_of_file(file) == "language"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["add_oil", "cut_cheese", "cut_tomato", "mix_dressing"],
            "only in the file: .'place tomato into bowl'., only in the data: .'mix dr",
        ),
        (
            ["cut_cheese", "add_oil", "cut_tomato", "place_tomato_into_bowl"],
            "action 0 is 'add oil' in the file, 'cut cheese' in the data",
        ),
        (["cut_cheese", "add_oil"], r"made for 4 actions .* but the data has 2 actions"),
    ],
)
def test_a_file_of_another_vocabulary_is_refused_with_the_first_difference(file, labels, message):
    with pytest.raises(PrototypeError, match=message):
        LanguagePrototypes.load(file, Taxonomy.from_labels(labels))


def other_nouns() -> Taxonomy:
    """The same actions, with another name for a noun that the names of actions do not show."""
    return Taxonomy(
        verbs=SALAD.verbs,
        nouns=("olive oil", *SALAD.nouns[1:]),
        action_pairs=SALAD.action_pairs,
        action_names=SALAD.action_names,
    )


def test_language_belongs_to_the_same_actions_whatever_their_nouns_are_called(file):
    read = LanguagePrototypes.load(file, other_nouns())
    assert torch.equal(read.vectors, make_language().vectors)
    assert read.taxonomy == other_nouns()


def test_files_of_each_kind_say_where_they_go(file, tmp_path):
    path = tmp_path / "visual.safetensors"
    class_means(torch.ones(4, 3), torch.arange(4), SALAD, run="r").save(path)
    with pytest.raises(PrototypeError, match=r"got language .* give this file as init\.language_prototypes"):
        VisualPrototypes.load(file, SALAD)
    with pytest.raises(PrototypeError, match=r"got visual .* give this file as init\.visual_prototypes"):
        LanguagePrototypes.load(path, SALAD)
    # Visual prototypes belong to the nouns, too: siblings were found by them.
    with pytest.raises(PrototypeError, match="same actions, but made of other verbs and nouns"):
        VisualPrototypes.load(path, other_nouns())
    with pytest.raises(PrototypeError, match="write it with 'sgear prototypes language'"):
        LanguagePrototypes.load(tmp_path / "absent.safetensors", SALAD)


@given(share=st.floats(0.0, 0.999))
def test_a_truncated_file_is_refused(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("truncated") / "language.safetensors"
    make_language().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(PrototypeError, match="damaged"):
        LanguagePrototypes.load(path, SALAD)


def test_an_original_file_is_not_taken_for_ours(tmp_path):
    torch.save({0: torch.ones(3)}, tmp_path / "encodings.pth")
    with pytest.raises(PrototypeError, match="sgear prototypes language --original"):
        LanguagePrototypes.load(tmp_path / "encodings.pth", SALAD)


def test_a_safetensors_file_of_something_else_is_refused(tmp_path):
    save_file({"vectors": torch.ones(4, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(PrototypeError, match=r"format 'none'\); write one with 'sgear prototypes language'"):
        LanguagePrototypes.load(tmp_path / "other.safetensors", SALAD)
    with pytest.raises(PrototypeError, match="got format 'none'"):
        kind_of_file(tmp_path / "other.safetensors")


def rewrite(path, change):
    with safe_open(path, framework="pt") as stream:
        metadata, vectors = stream.metadata(), stream.get_tensor("vectors")
    header = json.loads(metadata["header"])
    change(header)
    save_file({"vectors": vectors}, path, metadata=metadata | {"header": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.pop("taxonomy"), "damaged file"),
        (lambda header: header["texts"].pop(), "3 texts of 4 vectors"),
        (lambda header: header["vocabulary"]["action_names"].reverse(), "damaged file .its names have digest"),
        (lambda header: header["vocabulary"].pop("verbs"), "damaged file"),
    ],
)
def test_a_damaged_header_is_refused(file, change, message):
    rewrite(file, change)
    with pytest.raises(PrototypeError, match=message):
        LanguagePrototypes.load(file, SALAD)


def test_a_file_without_names_needs_a_vocabulary(file):
    rewrite(file, lambda header: header.pop("vocabulary"))
    assert LanguagePrototypes.load(file, SALAD).taxonomy == SALAD
    with pytest.raises(PrototypeError, match="name the data set"):
        LanguagePrototypes.load(file)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.ones(3, 2), "expected 4 vectors"),
        (torch.full((4, 2), torch.nan), "not finite"),
        (torch.eye(4)[:, :3], r"1 of 4 vectors are zero, first \['place tomato into bowl'\]"),
        (torch.ones(4, 0), "4 of 4 vectors are zero"),
    ],
)
def test_wrong_vectors_are_not_written(tmp_path, vectors, message):
    path = tmp_path / "language.safetensors"
    wrong = LanguagePrototypes(vectors=vectors, texts=SALAD.action_names, encoder="toy", taxonomy=SALAD)
    with pytest.raises(PrototypeError, match=message):
        wrong.save(path)
    assert not path.exists()


def test_actions_that_share_a_text_are_counted():
    taxonomy = Taxonomy.from_labels(["cut_tomato_prep", "cut_tomato_core", "add_oil"])
    prototypes = LanguagePrototypes(
        vectors=torch.eye(3), texts=("cut tomato", "cut tomato", "add oil"), encoder="toy", taxonomy=taxonomy
    )
    assert prototypes.num_shared_texts == 2


def test_a_local_folder_embeds_the_texts(tiny_encoder, tmp_path):
    prototypes = encode_taxonomy(SALAD, encoder=str(tiny_encoder))
    assert prototypes.vectors.shape == (4, 16)
    assert prototypes.texts == ("add oil", "cut cheese", "cut tomato", "place tomato into bowl")
    assert prototypes.encoder == str(tiny_encoder)
    prototypes.save(tmp_path / "language.safetensors")
    again = encode_taxonomy(SALAD, encoder=str(tiny_encoder))
    assert torch.equal(LanguagePrototypes.load(tmp_path / "language.safetensors", SALAD).vectors, again.vectors)


def test_the_vectors_are_those_of_the_network_averaged_over_tokens(tiny_encoder):
    from transformers import BertModel, BertTokenizerFast

    prototypes = encode_taxonomy(SALAD, encoder=str(tiny_encoder))
    tokenizer, network = BertTokenizerFast.from_pretrained(tiny_encoder), BertModel.from_pretrained(tiny_encoder).eval()
    with torch.no_grad():
        states = network(**tokenizer("cut cheese", return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(prototypes.vectors[1], states[0].mean(dim=0), atol=1e-5, rtol=1e-5)


def test_the_revision_of_a_folder_follows_its_weights(tiny_encoder, tmp_path):
    first = load_encoder(str(tiny_encoder)).revision
    other = write_tiny_encoder(tmp_path / "other")
    assert load_encoder(str(other)).revision == first
    tensors = {}
    with safe_open(other / "model.safetensors", framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        metadata = stream.metadata()
    tensors["embeddings.word_embeddings.weight"][0, 0] += 1
    save_file(tensors, other / "model.safetensors", metadata=metadata)
    assert load_encoder(str(other)).revision != first


@needs_encoder
def test_the_offline_encoder_knows_what_is_alike():
    taxonomy = Taxonomy.from_labels(["take_plate", "take_the_plate", "wash_pan"])
    prototypes = encode_taxonomy(taxonomy)
    unit = torch.nn.functional.normalize(prototypes.vectors, dim=1)
    assert prototypes.vectors.shape == (3, 384)
    assert unit[0] @ unit[1] > 0.9
    assert unit[0] @ unit[2] < 0.4
    assert prototypes.encoder == "sentence-transformers/all-MiniLM-L6-v2"
    assert prototypes.revision.startswith("sha256:")


@needs_encoder
def test_a_folder_that_names_code_of_its_own_is_refused(tiny_encoder, tmp_path):
    folder = tmp_path / "own-code"
    folder.mkdir()
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "own.Module"}]))
    (folder / "own.py").write_text("raise SystemExit('executed')")
    with pytest.raises(PrototypeError, match=r"'own.Module', code outside sentence-transformers; it was not executed"):
        load_encoder(str(folder))
    (folder / "modules.json").write_text("{}x")
    with pytest.raises(PrototypeError, match="not a list of modules"):
        load_encoder(str(folder))


def test_a_broken_folder_is_refused_with_the_choices(tiny_encoder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PrototypeError, match=r"cannot be loaded .* 'offline'"):
        load_encoder(str(tmp_path / "empty"))
    broken = write_tiny_encoder(tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(PrototypeError, match="cannot be loaded"):
        load_encoder(str(broken))


def test_code_in_the_weights_of_an_encoder_is_refused_in_one_line(tiny_encoder, tmp_path):
    folder = write_tiny_encoder(tmp_path / "bomb")
    (folder / "model.safetensors").unlink()
    write_bomb(folder / "pytorch_model.bin", tmp_path / "was_here", as_zip=True)
    with pytest.raises(PrototypeError, match=r"cannot be loaded \(it names \S+open, which is no tensor\)") as caught:
        load_encoder(str(folder))
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "was_here").exists()


def test_a_folder_has_no_revision_to_choose(tiny_encoder):
    with pytest.raises(PrototypeError, match="leave it out"):
        load_encoder(str(tiny_encoder), revision="main")


@needs_encoder
def test_a_name_that_cannot_be_fetched_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PrototypeError, match=r"'no-such-owner/no-such-model' cannot be loaded .* 'offline'"):
        load_encoder("no-such-owner/no-such-model")
