"""Name -> model, in one place."""

from __future__ import annotations

from sgear.errors import ConfigError
from sgear.models.avt import Avt
from sgear.models.config import ModelConfig
from sgear.models.sgear import SGear

AnticipationModel = SGear | Avt


def build_model(config: ModelConfig, *, num_actions: int) -> AnticipationModel:
    """Build the model that `config.name` asks for.

    Raises:
        ConfigError: If the name is unknown.
    """
    match config.name:
        case "sgear":
            return SGear(config, num_actions=num_actions)
        case "avt":
            return Avt(config, num_actions=num_actions)
        case other:
            raise ConfigError(f"model.name={other!r} is unknown; choose sgear or avt")
