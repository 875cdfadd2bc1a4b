"""The errors a user can meet.

Everything that data, files or configuration can cause is a child of `SgearError`; the command line prints its
message alone and exits with code 2. A message says what was expected, what came, where, and the next step.
"""


class SgearError(Exception):
    """Base of all errors that have a remedy on the user's side."""


class AnnotationError(SgearError):
    """An annotation file or row contradicts itself or its taxonomy."""


class VideoError(SgearError):
    """A video file is missing, damaged or too short for what is asked of it."""


class FeatureError(SgearError):
    """A feature file is missing, damaged or of another shape than the model expects."""


class FeatureWidthError(FeatureError):
    """Features are of another width or dtype than their store or database promises: no matter of a single clip."""


class ConfigError(SgearError):
    """A setting is unknown, contradicts another one, or would have no effect."""


class RunError(SgearError):
    """A run directory lacks what the command needs."""


class PredictionError(SgearError):
    """A table of predictions is incomplete, inconsistent, or not comparable with another one."""


class PrototypeError(SgearError):
    """Prototypes do not belong to the taxonomy or width they are used with."""


class WriteError(SgearError):
    """A file cannot be written where it was asked for."""
