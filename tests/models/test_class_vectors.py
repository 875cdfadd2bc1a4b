"""Parts that classes share: composed vectors in the classifier and in the bank, and copied nouns."""

import pytest
import torch

from sgear.errors import ConfigError, PrototypeError
from sgear.models import Avt, AvtConfig, DecoderConfig, EncoderConfig, HeadConfig, SGear, SGearConfig
from sgear.models.class_vectors import ClassVectors, describe_classes, parse_composition
from sgear.models.config import PrototypeAttentionConfig, PrototypesConfig
from sgear.models.copying import CopyHead
from sgear.models.encoders import SeenActions

ACTIONS, VERBS, NOUNS, TEXT, WIDTH, HISTORY = 6, 3, 4, 5, 8, 4
VERB_OF, NOUN_OF = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 0, 2, 3, 1])
SIZES = {"num_actions": ACTIONS, "num_verbs": VERBS, "num_nouns": NOUNS}
TEXTS = torch.randn(ACTIONS, TEXT, generator=torch.Generator().manual_seed(1))


def vectors_of(composition: str) -> ClassVectors:
    torch.manual_seed(0)
    vectors = ClassVectors(composition, width=WIDTH, text_dim=TEXT, std=1.0, **SIZES)
    vectors.set_classes(VERB_OF, NOUN_OF, TEXTS)
    return vectors


def past_model(composition: str = "free+verb+noun", name: str = "avt") -> Avt | SGear:
    torch.manual_seed(0)
    shared = {
        "width": WIDTH,
        "max_steps": 2,
        "encoder": EncoderConfig(name="annotations", composition=composition, text_dim=TEXT, num_heads=2, depth=1),
        "decoder": DecoderConfig(width=WIDTH, num_layers=1, num_heads=2, init_std=0.5, dropout=0.0),
        "prototypes": PrototypesConfig(composition=composition, text_dim=TEXT),
        "head": HeadConfig(dropout=0.0, copy_nouns=True),
    }
    if name == "avt":
        model = Avt(AvtConfig(**shared), **SIZES)
    else:
        attention = PrototypeAttentionConfig(num_heads=2)
        model = SGear(SGearConfig(**shared, prototype_attention=attention), **SIZES)
    describe_classes(model, VERB_OF, NOUN_OF, TEXTS)
    # The free part starts at 0, where an error in it would not show.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def records(seed: int = 0, steps: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(0, ACTIONS + 2, (3, steps, HISTORY, 1), generator=generator).float()
    return torch.cat([numbers, 20 * torch.rand(3, steps, HISTORY, 2, generator=generator)], dim=-1)


@pytest.mark.parametrize("composition", ["free", "verb", "free+verb+noun", "noun+text", "free+verb+noun+text"])
def test_a_vector_is_the_sum_of_its_parts(composition):
    vectors = vectors_of(composition)
    table, parts = vectors(), composition.split("+")
    for action in range(ACTIONS):
        expected = torch.zeros(WIDTH)
        if "free" in parts:
            expected = expected + vectors.free[action]
        if "verb" in parts:
            expected = expected + vectors.verb[VERB_OF[action]]
        if "noun" in parts:
            expected = expected + vectors.noun[NOUN_OF[action]]
        if "text" in parts:
            expected = expected + (TEXTS[action] / TEXTS[action].norm()) @ vectors.text_map
        torch.testing.assert_close(table[action], expected)


def test_a_composition_is_a_free_table_where_each_class_has_a_part_of_its_own():
    torch.manual_seed(0)
    by_verb = ClassVectors("verb", width=WIDTH, num_actions=ACTIONS, num_verbs=ACTIONS)
    by_verb.set_classes(torch.arange(ACTIONS), torch.zeros(ACTIONS, dtype=torch.long), None)
    torch.testing.assert_close(by_verb(), by_verb.verb)
    by_text = ClassVectors("text", width=WIDTH, num_actions=ACTIONS, text_dim=ACTIONS)
    by_text.set_classes(VERB_OF, NOUN_OF, torch.eye(ACTIONS))
    torch.testing.assert_close(by_text(), by_text.text_map)


@pytest.mark.parametrize("name", ["avt", "sgear"])
def test_permuting_the_classes_permutes_the_scores(name):
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    model, clip = past_model("free+verb+noun+text", name), records()
    with torch.no_grad():
        before = model(clip).logits
        describe_classes(model, VERB_OF[order], NOUN_OF[order], TEXTS[order])
        for module in model.modules():
            if isinstance(module, ClassVectors):
                module.free.copy_(module.free[order])
        # What is seen keeps its meaning: old number n is now where `order` put it.
        place = torch.cat([torch.tensor([0]), order.argsort() + 1, torch.tensor([ACTIONS + 1])])
        moved = clip.clone()
        moved[..., 0] = place[clip[..., 0].long()].float()
        after = model(moved).logits
    torch.testing.assert_close(after, before[:, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["avt", "sgear"])
def test_what_a_record_of_no_action_holds_is_never_read(name):
    model, clip = past_model(name=name), records()
    clip[:, :, :2, 0] = 0
    other = clip.clone()
    other[:, :, :2, 1:] += 50.0
    with torch.no_grad():
        torch.testing.assert_close(model(clip).logits, model(other).logits)
        assert torch.isfinite(model(torch.zeros_like(clip)).logits).all()


def test_visual_prototypes_set_the_free_part_to_what_the_shared_ones_leave():
    model, wanted = past_model(name="sgear"), torch.randn(ACTIONS, WIDTH)
    model.bank.set_visual(wanted)
    torch.testing.assert_close(model.bank.visual, wanted)
    with pytest.raises(PrototypeError, match="add the part free"):
        past_model("verb+noun", "sgear").bank.set_visual(wanted)


def test_a_saved_model_knows_its_classes():
    model, fresh = past_model("free+verb+text"), past_model("free+verb+text")
    describe_classes(fresh, torch.zeros_like(VERB_OF), NOUN_OF, torch.ones_like(TEXTS))
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(records()).logits, model(records()).logits)


@pytest.mark.parametrize("composition", ["", "verb+verb", "free+vrb"])
def test_a_composition_that_is_none_is_refused(composition):
    with pytest.raises(ConfigError, match="free, verb, noun, text"):
        parse_composition(composition)


def test_missing_or_wrong_texts_are_refused():
    vectors = vectors_of("free+text")
    with pytest.raises(PrototypeError, match=r"init\.language_prototypes"):
        vectors.set_classes(VERB_OF, NOUN_OF, None)
    with pytest.raises(PrototypeError, match="set it to 7"):
        vectors.set_classes(VERB_OF, NOUN_OF, torch.ones(ACTIONS, 7))


def copy_head() -> CopyHead:
    torch.manual_seed(0)
    head = CopyHead(width=WIDTH, num_actions=ACTIONS, num_verbs=VERBS, dropout=0.0)
    head.set_classes(VERB_OF, NOUN_OF, None)
    torch.nn.init.normal_(head.scores.weight)
    return head


def test_copying_equals_a_loop_over_the_seen_actions_and_all_classes():
    head = copy_head()
    features, tokens = torch.randn(2, 3, WIDTH), torch.randn(2, 3, HISTORY, WIDTH)
    # One noun twice, none at all, and nothing seen.
    steps = [[0, 2, 1, -1], [-1, -1, -1, -1], [4, 4, 4, 4]], [[3, -1, 5, 1], [0, 0, 2, 2], [1, 2, 3, 4]]
    actions = torch.tensor(steps)
    expected = torch.zeros(2, 3, ACTIONS)
    for clip, step, seen in torch.cartesian_prod(*(torch.arange(n) for n in (2, 3, HISTORY))).tolist():
        if (action := int(actions[clip, step, seen])) < 0:
            continue
        said = head.scores(head.read(torch.cat([tokens[clip, step, seen], features[clip, step]])))
        for each in range(ACTIONS):
            if NOUN_OF[each] == NOUN_OF[action]:
                expected[clip, step, each] += said[VERB_OF[each]]
    torch.testing.assert_close(head(features, SeenActions(tokens, actions)), expected)


@pytest.mark.parametrize("name", ["avt", "sgear"])
def test_copying_begins_with_nothing_and_moves_no_class_whose_noun_was_not_seen(name):
    model, clip = past_model(name=name), records()
    with torch.no_grad():
        copied = model(clip).logits
        torch.nn.init.zeros_(model.copying.scores.weight)
        torch.nn.init.zeros_(model.copying.scores.bias)
        plain = model(clip).logits
    numbers = clip[:, -1, :, 0].long()
    for sample, row in enumerate(copied != plain):
        shown = {int(NOUN_OF[number - 1]) for number in numbers[sample] if 0 < number <= ACTIONS}
        assert {int(noun) for noun in NOUN_OF[row]} == shown


def test_copying_needs_an_encoder_that_names_what_was_seen():
    encoder = EncoderConfig(name="features", feature_dim=4)
    with pytest.raises(ConfigError, match=r"copy_nouns.*source\.kind=annotations"):
        Avt(AvtConfig(width=WIDTH, encoder=encoder, head=HeadConfig(copy_nouns=True)), **SIZES)
