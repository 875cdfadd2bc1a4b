"""Name -> model, in one place."""

from __future__ import annotations

from sgear.errors import ConfigError
from sgear.models.avt import Avt
from sgear.models.config import ModelConfig
from sgear.models.counted import COUNTED_MODELS, CountedActions
from sgear.models.rulstm import Rulstm
from sgear.models.sgear import SGear

MODELS = ("sgear", "avt", "rulstm", *COUNTED_MODELS)
"""The names that `ModelConfig.name` takes."""

AnticipationModel = SGear | Avt | Rulstm | CountedActions


def build_model(config: ModelConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> AnticipationModel:
    """Build the model that `config.name` asks for.

    Args:
        config: Sizes and switches.
        num_actions: Number of action classes A.
        num_verbs: Number of verbs V; needed for `head.verb_noun`.
        num_nouns: Number of nouns N; needed for `head.verb_noun`.

    Raises:
        ConfigError: If a name or mode is unknown, or a setting does not fit another one.
    """
    match config.name:
        case "sgear":
            return SGear(config, num_actions=num_actions, num_verbs=num_verbs, num_nouns=num_nouns)
        case "avt":
            return Avt(config, num_actions=num_actions, num_verbs=num_verbs, num_nouns=num_nouns)
        case "rulstm":
            return Rulstm(config, num_actions=num_actions)
        case name if name in COUNTED_MODELS:
            return CountedActions(config, num_actions=num_actions)
        case other:
            raise ConfigError(f"model.name={other!r} is unknown; choose {', '.join(MODELS)}")
