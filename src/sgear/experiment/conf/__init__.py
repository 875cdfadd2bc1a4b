"""YAML files; every value is checked against `sgear.experiment.schema`."""
