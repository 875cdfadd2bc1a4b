"""What happens to a clip that cannot be read: the run stops there, or goes on without it and says so.

Only what a film or a stored feature can do to a single clip counts: it is missing, damaged, or too short. Mistakes in
settings and in the program stop every run.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sgear.errors import ConfigError, FeatureError, FeatureWidthError, SgearError, VideoError

OnError = Literal["stop", "skip"]
ON_ERROR: tuple[OnError, ...] = get_args(OnError)
SKIP_EFFECT = "goes on without what cannot be read, lists it in the report, and makes no benchmark number"
SKIP_HINT = f"source.on_error=skip ('sgear evaluate': --on-error skip) {SKIP_EFFECT}"


def checked_on_error(text: str) -> OnError:
    """Return a setting of `source.on_error`.

    Raises:
        ConfigError: If it is neither `stop` nor `skip`.
    """
    for known in ON_ERROR:
        if text == known:
            return known
    raise ConfigError(f"source.on_error={text!r} is unknown; choose {' or '.join(ON_ERROR)}")


def is_unreadable(err: SgearError) -> bool:
    """Return whether an error says that one clip cannot be read, and nothing about all of them."""
    return isinstance(err, VideoError | FeatureError) and not isinstance(err, FeatureWidthError)


def stopping_error(err: SgearError, *, uid: str, video_id: str, instants_s: NDArray[np.float64] | None) -> SgearError:
    """Return the error that ends a run at a clip.

    Args:
        err: Why the clip cannot be read.
        uid: Segment of the clip.
        video_id: Its video.
        instants_s: What was to be read of it [T]; None where that is not known.
    """
    at = "" if instants_s is None or not len(instants_s) else f", {instants_s.min():.3f} to {instants_s.max():.3f} s"
    kind = VideoError if isinstance(err, VideoError) else FeatureError
    return kind(f"segment {uid!r} (video {video_id!r}{at}): {str(err).rstrip('.')}. {SKIP_HINT}")
