"""A trained model that names other actions than those it was trained on: their class vectors are composed from text."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sgear.errors import ConfigError
from sgear.models.class_vectors import ClassVectors, ComposedClassifier
from sgear.models.pretrained import TrainedModel
from sgear.prototypes.language import OFFLINE_ENCODER, action_texts, load_encoder
from sgear.taxonomy import Taxonomy

_SAME = 0.99
"""Smallest cosine of two embeddings of one text by one sentence encoder; libraries round differently."""


def with_actions(trained: TrainedModel, names: Sequence[str], *, encoder: str = OFFLINE_ENCODER) -> TrainedModel:
    """Return the model with other actions in the place of its own.

    A name that the model was trained on keeps all of its vector. Another one has what its text gives, and the part of
    its verb and its noun where the first word, and the rest, are a verb and a noun that training knew; a verb or noun
    that it did not know takes the mean of those it knew. Frames are encoded, and mixed with the trained prototypes, as
    before.

    Args:
        trained: A model whose classifier is composed with the part `text` (`model.prototypes.composition`).
        names: At least two names, `verb noun`; each once.
        encoder: The sentence encoder that the model was trained with; see `load_encoder`.

    Raises:
        ConfigError: If the model cannot take new names, the names are no vocabulary, or the encoder is another one.
        PrototypeError: If the encoder is not available.
    """
    classifier = getattr(trained.model, "classifier", None)
    if not isinstance(classifier, ComposedClassifier) or "text" not in classifier.vectors.parts:
        raise ConfigError(
            "this model has a vector of its own for each action it was trained on and none for others; train with "
            "model.prototypes.composition=free+verb+noun+text to name new ones"
        )
    if getattr(trained.model, "copying", None) is not None:
        raise ConfigError("model.head.copy_nouns copies the nouns it was trained on; train without it to name new ones")
    wanted = [" ".join(name.replace("_", " ").split()) for name in names]
    if len(wanted) < 2 or not all(wanted) or len(set(wanted)) < len(wanted):
        raise ConfigError(f"expected at least two action names, each once and none empty; got {len(wanted)}")
    taxonomy, old = Taxonomy.from_labels(wanted), classifier.vectors
    known = trained.taxonomy
    sentences = load_encoder(encoder)
    # Text of a class that the model knows: another encoder would give another point for it.
    probe = torch.nn.functional.normalize(sentences.encode(action_texts(known)[:1]), dim=-1)
    if probe.shape[1] != old.texts.shape[1] or float((probe @ old.texts[:1].T).max()) < _SAME:
        raise ConfigError(
            f"the sentence encoder {encoder!r} does not give the embeddings that the model was trained with; name that "
            "one, as 'sgear prototypes inspect' says it of the file in init.language_prototypes"
        )
    texts = torch.nn.functional.normalize(sentences.encode(action_texts(taxonomy)), dim=-1)
    new = ClassVectors(
        "+".join(old.parts),
        width=old.width,
        num_actions=taxonomy.num_actions,
        num_verbs=len(taxonomy.verbs),
        num_nouns=len(taxonomy.nouns),
        text_dim=texts.shape[1],
    ).to(old.texts.device)
    new.set_classes(torch.from_numpy(taxonomy.verb_of_action), torch.from_numpy(taxonomy.noun_of_action), texts)
    with torch.no_grad():
        new.text_map.copy_(old.text_map)
        places = {name: index for index, name in enumerate(known.action_names)}
        for action, name in enumerate(taxonomy.action_names):
            if name in places:
                # Whatever the rules of the data set made of its name, a known class says what it always said.
                new.texts[action] = old.texts[places[name]]
        if "free" in old.parts:
            new.free.copy_(_rows(old.free, known.action_names, taxonomy.action_names, torch.zeros_like(old.free[0])))
        if "verb" in old.parts:
            new.verb.copy_(_rows(old.verb, known.verbs, taxonomy.verbs, old.verb.mean(dim=0)))
        if "noun" in old.parts:
            new.noun.copy_(_rows(old.noun, known.nouns, taxonomy.nouns, old.noun.mean(dim=0)))
    model = copy.deepcopy(trained.model)
    model.classifier = ComposedClassifier(new, classifier.dropout.p).eval()
    # Their classes are the old verbs and nouns.
    model.field_classifiers = None  # type: ignore[assignment]
    prior = torch.full((taxonomy.num_actions,), -float(torch.tensor(taxonomy.num_actions).log()))
    return replace(trained, model=model, taxonomy=taxonomy, log_prior=prior)


def _rows(old: Tensor, old_names: Sequence[str], names: Sequence[str], otherwise: Tensor) -> Tensor:
    """Return the row of each name, and `otherwise` for a new one."""
    places = {name: index for index, name in enumerate(old_names)}
    return torch.stack([old[places[name]] if name in places else otherwise for name in names])
