"""From a predicted feature to action scores: AVT's linear head and S-GEAR's prototype mix."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from sgear.errors import ConfigError, PrototypeError
from sgear.models.class_vectors import ClassVectors, ComposedClassifier, parse_composition
from sgear.models.config import HeadConfig, PrototypesConfig


class PrototypeBank(nn.Module):
    """Visual prototypes [A D], learned with the rest of the model.

    They start at random; `set_visual` replaces them by the class means of a recognition run.
    """

    def __init__(self, num_actions: int, width: int) -> None:
        super().__init__()
        # Length about 1 at any width.
        self.visual = nn.Parameter(torch.randn(num_actions, width) / width**0.5)

    @torch.no_grad()
    def set_visual(self, prototypes: Float[Tensor, "A D"]) -> None:
        """Copy prototypes into the bank.

        Raises:
            PrototypeError: If number or width differ; gives both sides.
        """
        if prototypes.shape != self.visual.shape:
            raise PrototypeError(
                f"visual prototypes of shape {tuple(prototypes.shape)} do not fit a model with "
                f"{self.visual.shape[0]} actions and width {self.visual.shape[1]}; compute them with this model's "
                "recognition run"
            )
        self.visual.copy_(prototypes)


class ComposedBank(PrototypeBank):
    """Visual prototypes that share the vectors of verbs, nouns and texts; see `ClassVectors`."""

    def __init__(self, vectors: ClassVectors) -> None:
        nn.Module.__init__(self)
        self.vectors = vectors

    @property
    def visual(self) -> Float[Tensor, "A D"]:
        """The prototypes, composed anew."""
        return self.vectors()

    @torch.no_grad()
    def set_visual(self, prototypes: Float[Tensor, "A D"]) -> None:
        """Set the free part to what the shared parts leave of the prototypes.

        Raises:
            PrototypeError: If number or width differ, or there is no free part.
        """
        if "free" not in self.vectors.parts:
            raise PrototypeError(
                f"prototypes composed of {'+'.join(self.vectors.parts)} cannot start from visual ones; add the part "
                "free to model.prototypes.composition"
            )
        shared = self.vectors.shared
        if prototypes.shape != self.vectors.free.shape:
            raise PrototypeError(
                f"visual prototypes of shape {tuple(prototypes.shape)} do not fit a model with "
                f"{self.vectors.num_actions} actions and width {self.vectors.width}; compute them with this model's "
                "recognition run"
            )
        self.vectors.free.copy_(prototypes if shared is None else prototypes - shared)


class Classified(NamedTuple):
    """Scores of features, and what they were made from.

    Args:
        logits: Action scores [... A].
        mixed: Input of the classifier [... D].
        similarity: Cosine of the features to each prototype [... A]; None without prototypes.
    """

    logits: Tensor
    mixed: Tensor
    similarity: Tensor | None


def cosine_similarity(
    features: Float[Tensor, "*batch D"], prototypes: Float[Tensor, "A D"]
) -> Float[Tensor, "*batch A"]:
    """Return the cosine of each feature to each prototype: its relative representation."""
    # r_k = <z, rho_k> / (|z| |rho_k|); [... D] @ [D A].
    return F.normalize(features, dim=-1) @ F.normalize(prototypes, dim=-1).T


class PrototypeMix(nn.Module):
    """Blend a feature with its soft nearest prototypes.

    zbar = sum_k softmax_k(cos(z, rho_k) / temperature) rho_k, and the result is g z + (1 - g) zbar with a learned
    gate g = sigmoid(gate). The same gate serves predicted and past features.

    Args:
        config: Start values and gradient routes.

    Raises:
        ConfigError: If the temperature is not positive.

    Source:
        S-GEAR (arXiv:2407.02309). The released RGB path detaches the values of the read-out and not the similarities;
        its feature path does the opposite. The switches are `detach_prototype_values` and `detach_similarity_*`.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        if config.temperature <= 0:
            raise ConfigError(f"model.head.temperature must be positive, got {config.temperature}")
        self.detach_values = config.detach_prototype_values
        self.gate = nn.Parameter(torch.tensor(config.gate))
        self.log_temperature = nn.Parameter(
            # Learned as a logarithm: a temperature stays positive, and steps are relative.
            torch.tensor(math.log(config.temperature)),
            requires_grad=config.learn_temperature,
        )

    def forward(
        self,
        features: Float[Tensor, "*batch D"],
        similarity: Float[Tensor, "*batch A"],
        prototypes: Float[Tensor, "A D"],
    ) -> Float[Tensor, "*batch D"]:
        """Return mixed features of the same shape."""
        values = prototypes.detach() if self.detach_values else prototypes
        # [... A] @ [A D]: the prototypes weighed by how much the feature resembles each.
        # Divided, not multiplied: temperature 0.07 sharpens cosines, whose whole range is [-1, 1].
        read_out = (similarity / self.log_temperature.exp()).softmax(dim=-1) @ values
        gate = self.gate.sigmoid()
        return gate * features + (1 - gate) * read_out


class ActionClassifier(nn.Module):
    """Dropout and one linear layer.

    Args:
        width: Width D of the features.
        num_classes: Number of classes.
        dropout: Dropout before the layer.
    """

    def __init__(self, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, num_classes)
        # Almost equal scores at first, so that the first loss is log A.
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch A"]:
        """Return scores."""
        return self.linear(self.dropout(features))


class FieldClassifiers(nn.Module):
    """Classifiers of verb and noun, beside the one of actions.

    Args:
        width: Width D of the features.
        num_verbs: Number of verbs V.
        num_nouns: Number of nouns N.
        dropout: Dropout before each layer.

    Raises:
        ConfigError: If the number of verbs or nouns is not given.
    """

    def __init__(self, width: int, num_verbs: int, num_nouns: int, dropout: float) -> None:
        super().__init__()
        if num_verbs < 1 or num_nouns < 1:
            raise ConfigError(
                f"head.verb_noun needs the numbers of verbs and nouns, got {num_verbs} and {num_nouns}; "
                "give num_verbs and num_nouns to build_model"
            )
        self.verb = ActionClassifier(width, num_verbs, dropout)
        self.noun = ActionClassifier(width, num_nouns, dropout)

    def forward(self, features: Float[Tensor, "*b D"]) -> tuple[Float[Tensor, "*b V"], Float[Tensor, "*b N"]]:
        """Return scores of verbs and of nouns."""
        return self.verb(features), self.noun(features)


def build_field_classifiers(
    config: HeadConfig, *, width: int, num_verbs: int, num_nouns: int
) -> FieldClassifiers | None:
    """Return classifiers of verb and noun where `config.verb_noun` asks for them."""
    return FieldClassifiers(width, num_verbs, num_nouns, config.dropout) if config.verb_noun else None


def build_bank(config: PrototypesConfig, *, width: int, **sizes: int) -> PrototypeBank:
    """Return the bank of prototypes that `config.composition` asks for.

    Args:
        config: Composition.
        width: Width D.
        sizes: `num_actions`, `num_verbs` and `num_nouns`.
    """
    if parse_composition(config.composition) == ("free",):
        return PrototypeBank(sizes["num_actions"], width)
    # Length about 1, as free prototypes have: cosines do not care, the regularisation does.
    vectors = ClassVectors(config.composition, width=width, text_dim=config.text_dim, std=width**-0.5, **sizes)
    return ComposedBank(vectors)


def build_classifier(
    config: PrototypesConfig, *, width: int, dropout: float, **sizes: int
) -> ActionClassifier | ComposedClassifier:
    """Return the classifier of actions; see `build_bank`."""
    if parse_composition(config.composition) == ("free",):
        return ActionClassifier(width, sizes["num_actions"], dropout)
    # One more number per class: its bias. Almost equal scores at first, as those of `ActionClassifier`.
    vectors = ClassVectors(config.composition, width=width + 1, text_dim=config.text_dim, std=0.01, **sizes)
    return ComposedClassifier(vectors, dropout)
