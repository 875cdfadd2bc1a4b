"""YAML files; every value is checked against `sgear.config.schema`."""
