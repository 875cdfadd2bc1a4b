import re

import pytest

from sgear.datasets import TextRules, load_dataset
from sgear.errors import PrototypeError
from sgear.prototypes.language import action_texts, clean_text, name_key
from sgear.prototypes.original import read_class_names
from sgear.taxonomy import Taxonomy


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Inspect/Read", "inspect"),
        ("Move Around", "move around"),
        ("put-down", "put down"),
        ("eating_utensil", "eating utensil"),
        ("eating:utensil", "eating utensil"),
        ("tap", "tap"),
    ],
)
def test_a_name_becomes_plain_words(name, text):
    assert clean_text(name) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [("tap:hot", "hot tap"), ("board:chopping", "chopping board"), ("machine:sous:vide", "sous vide machine")],
)
def test_compounds_written_head_first_are_put_in_order(name, text):
    assert clean_text(name, head_first=True) == text


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("put knife/fork into drawer", "put knife into drawer"),
        ("open fridge/freezer door", "open fridge door"),
        ("put knife / fork into drawer", "put knife into drawer"),
        ("wash /rinse cup", "wash cup"),
        ("/read", "read"),
    ],
)
def test_a_slash_joins_words_and_the_rest_of_a_label_stays(label, text):
    # As own data has it: the label is verb, noun and action in one.
    taxonomy = Taxonomy(verbs=(label,), nouns=(label,), action_pairs=((0, 0),), action_names=(label,))
    assert action_texts(taxonomy) == (text,)
    assert clean_text(label) == text


def test_synonyms_of_a_verb_are_whole_phrases():
    assert clean_text("Divide/Pull Apart", is_verb=True) == "divide"
    assert clean_text("-/_ mix", is_verb=True) == "mix"


@pytest.mark.parametrize("label", ["/", "_", "--", ": :"])
def test_a_name_without_a_word_is_refused(label):
    taxonomy = Taxonomy(
        verbs=("cut", label), nouns=("cut", label), action_pairs=((0, 0), (1, 1)), action_names=("cut", label)
    )
    with pytest.raises(PrototypeError, match="the names of 1 actions hold no word to embed"):
        action_texts(taxonomy)


def test_the_first_synonym_of_a_verb_ends_where_the_noun_begins():
    taxonomy = Taxonomy(
        verbs=("Divide/Pull Apart", "Clean/Wipe"), nouns=("lettuce", "cooking_utensil"), action_pairs=((0, 0), (1, 1))
    )
    assert action_texts(taxonomy) == ("divide lettuce", "clean cooking utensil")


def test_a_label_of_one_word_is_not_said_twice():
    assert action_texts(Taxonomy.from_labels(["peel", "cut_tomato"])) == ("peel", "cut tomato")


def test_an_action_named_after_a_narration_keeps_its_name():
    taxonomy = Taxonomy(
        verbs=("take",),
        nouns=("fish", "jug:measuring"),
        action_pairs=((0, 0), (0, 1)),
        action_names=("get fish", "pick-up jug:measuring"),
    )
    assert action_texts(taxonomy, TextRules(head_first=True)) == ("get fish", "pick up measuring jug")


def test_phases_of_one_action_share_a_text_and_other_last_words_stay():
    labels = ["cut_tomato_prep", "cut_tomato_core", "cut_tomato_post", "throw_core", "eat_apple_core"]
    taxonomy = Taxonomy.from_labels(labels)
    kept = action_texts(taxonomy, TextRules(drops_phases=True))
    assert kept == (*["cut tomato"] * 3, "throw core", "eat apple core")
    assert action_texts(taxonomy) == tuple(label.replace("_", " ") for label in labels)


def test_names_of_two_spellings_have_one_key():
    assert name_key("Take_eating:utensil") == name_key("take eating_utensil") == "take eating utensil"
    assert name_key("Divide/Pull Apart_onion") == "divide pull apart onion"


def test_lists_of_class_names_are_read_in_their_layouts(tmp_path):
    texts = {
        "mapping.txt": "0 cut_tomato\n1 add_oil\n\n",
        "egtea.csv": "0, 3_3, Cut_tomato\n1, 1_1, Add_oil\n",
        "ek100.csv": "id,verb,noun,action\n0,0,0,cut tomato\n1,0,1,add oil\n",
        "ek55.csv": "id,action,verb,noun\n0, cut_tomato,0,0\n1, add_oil,0,1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        keys = {class_id: name_key(text) for class_id, text in read_class_names(tmp_path / name).items()}
        assert keys == {0: "cut tomato", 1: "add oil"}, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cut_tomato\nadd_oil\n", "line 1: expected 'ID NAME', got 'cut_tomato'"),
        ("0 cut_tomato\n1\n", "line 2: expected 'ID NAME'"),
        ("0 cut_tomato\n0 add_oil\n", "line 2: id 0 is both"),
        ("0 cut_tomato\n1 cut tomato\n", "line 2: 'cut tomato' already stands in line 1"),
        ("\n \n", "the list is empty"),
        ("id,verb,noun,action\n0,1\n", "line 2: expected 'ID NAME'"),
    ],
)
def test_a_wrong_list_of_class_names_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PrototypeError, match=message):
        read_class_names(path)


def test_a_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\x80\x81\xff")
    with pytest.raises(PrototypeError, match="not a text file"):
        read_class_names(tmp_path / "names.txt")
    with pytest.raises(PrototypeError, match="no such file"):
        read_class_names(tmp_path / "absent.txt")


@pytest.mark.data
def test_the_real_lists_hold_every_class(real_data):
    sizes = {"rulstm/egtea": 106, "rulstm/ek55": 2513, "rulstm/ek100": 3806}
    for folder, size in sizes.items():
        assert sorted(read_class_names(real_data / folder / "actions.csv")) == list(range(size))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "granularity", "texts"),
    [
        ("epic100", "mid", {"take board:chopping": "take chopping board", "turn-on hob": "turn on hob"}),
        ("egtea", "mid", {"Inspect/Read recipe": "inspect recipe", "Divide/Pull Apart onion": "divide onion"}),
        ("salads50", "low", {"cut tomato prep": "cut tomato", "cut tomato post": "cut tomato"}),
    ],
)
def test_real_vocabularies_become_plain_words(request, real_data, monkeypatch, name, granularity, texts):
    folder = request.getfixturevalue("salads") if name == "salads50" else real_data
    monkeypatch.setenv("SGEAR_DATA", str(folder))
    benchmark = load_dataset(name, granularity=granularity)
    made = dict(
        zip(
            benchmark.taxonomy.action_names,
            action_texts(benchmark.taxonomy, benchmark.text_rules),
            strict=True,
        )
    )
    for action, text in texts.items():
        assert made[action] == text
    assert all(re.fullmatch(r"[a-z0-9'()]+( [a-z0-9'()]+)*", text) for text in made.values())
