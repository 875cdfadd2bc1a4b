"""Configuration: values in YAML, types in dataclasses, objects built without reflection."""

from sgear.config.compose import compose_experiment, load_run_config
from sgear.config.recipes import list_experiments
from sgear.config.schema import ExperimentConfig

__all__ = ["ExperimentConfig", "compose_experiment", "list_experiments", "load_run_config"]
