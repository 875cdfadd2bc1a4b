"""Data sets: loaders of published annotations, and a kitchen that makes its own films."""
