"""Configuration: values in YAML, types in dataclasses, objects built without reflection."""

from sgear.experiment.compose import compose_experiment, load_run_config
from sgear.experiment.recipes import list_experiments
from sgear.experiment.schema import ExperimentConfig

__all__ = ["ExperimentConfig", "compose_experiment", "list_experiments", "load_run_config"]
