"""Models, encoders, data sets and metrics from other packages, found by their entry points."""

from __future__ import annotations

from importlib.metadata import entry_points

from sgear.errors import ConfigError

_loaded: set[tuple[str, str, str]] = set()


def load_plugins(group: str) -> None:
    """Load the entry points of a group, each once; what they load registers itself.

    Args:
        group: E.g. `sgear.models`.

    Raises:
        ConfigError: If one fails; names its package. Without it, what it registers would silently not be there.
    """
    for point in entry_points(group=group):
        key = (group, point.name, point.value)
        if key in _loaded:
            continue
        try:
            point.load()
        except Exception as err:
            package = point.dist.name if point.dist is not None else point.module
            raise ConfigError(
                f"the plug-in {point.name!r} ({group}) of the package {package} cannot be loaded "
                f"({type(err).__name__}: {err}); fix or uninstall {package}"
            ) from err
        _loaded.add(key)
