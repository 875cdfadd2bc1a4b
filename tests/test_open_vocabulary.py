"""Names that training never saw: composed from text, and nothing else of the model moves."""

import pytest
import torch

from sgear.errors import ConfigError
from sgear.models import AvtConfig, DecoderConfig, EncoderConfig, build_model
from sgear.models.class_vectors import describe_classes
from sgear.models.config import PrototypesConfig
from sgear.models.pretrained import Preprocessing, TrainedModel
from sgear.open_vocabulary import with_actions
from sgear.prototypes.language import encode_taxonomy
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

KNOWN = Taxonomy.from_labels(["cut onion", "wash pan", "peel carrot", "open fridge"])
CLIP = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))


def trained(composition: str = "free+verb+noun+text") -> TrainedModel:
    config = AvtConfig(
        width=16,
        max_steps=4,
        encoder=EncoderConfig(feature_dim=6),
        decoder=DecoderConfig(width=16, num_layers=1, num_heads=2),
        prototypes=PrototypesConfig(composition=composition),
    )
    torch.manual_seed(0)
    model = build_model(config, num_actions=4, num_verbs=len(KNOWN.verbs), num_nouns=len(KNOWN.nouns)).eval()
    verbs, nouns = torch.from_numpy(KNOWN.verb_of_action), torch.from_numpy(KNOWN.noun_of_action)
    texts = encode_taxonomy(KNOWN).vectors if "text" in composition else None
    describe_classes(model, verbs, nouns, texts)
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return TrainedModel(
        model=model,
        config=config,
        taxonomy=KNOWN,
        protocol=AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0),
        preprocessing=Preprocessing(kind="features"),
        log_prior=torch.zeros(4),
    )


@torch.no_grad()
def test_a_known_name_says_what_it_always_said_in_any_company():
    before = trained()
    after = with_actions(before, ["slice bread", "peel carrot", "cut onion"])
    old, new = before.model(CLIP).logits, after.model(CLIP).logits
    assert after.taxonomy.action_names == ("slice bread", "peel carrot", "cut onion")
    torch.testing.assert_close(new[:, 1:], old[:, [2, 0]])
    # The model itself is left as it was.
    assert torch.equal(before.model(CLIP).logits, old)


@torch.no_grad()
def test_a_new_name_is_composed_of_its_verb_its_noun_and_its_text():
    before, after = trained(), with_actions(trained(), ["cut carrot", "wash pan"])
    old, row = before.model.classifier.vectors, after.model.classifier.vectors()[0]
    text = torch.nn.functional.normalize(encode_taxonomy(Taxonomy.from_labels(["cut carrot", "a b"])).vectors[0], dim=0)
    expected = old.verb[KNOWN.verbs.index("cut")] + old.noun[KNOWN.nouns.index("carrot")] + text @ old.text_map
    torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_order_of_the_names_is_the_order_of_the_scores():
    names = ["slice bread", "wash pan", "stir soup"]
    first, second = (with_actions(trained(), each).model(CLIP).logits for each in (names, names[::-1]))
    torch.testing.assert_close(first, second.flip(1))


def test_a_model_without_text_and_names_that_are_no_vocabulary_are_refused():
    with pytest.raises(ConfigError, match=r"composition=free\+verb\+noun\+text"):
        with_actions(trained("free+verb+noun"), ["a b", "c d"])
    for names in (["cut onion"], ["cut onion", "cut_onion"], ["cut onion", " "]):
        with pytest.raises(ConfigError, match="at least two action names"):
            with_actions(trained(), names)


def test_another_sentence_encoder_is_told_by_what_it_says_of_a_known_name():
    model = trained()
    with torch.no_grad():
        model.model.classifier.vectors.texts.neg_()
    with pytest.raises(ConfigError, match="does not give the embeddings"):
        with_actions(model, ["cut onion", "wash pan"])
