"""Spread of features that are too many to be read whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sgear.features.table import StoredFeatures

_ROWS_PER_VIDEO = 64


def sampled_deviation(table: StoredFeatures, video_ids: Sequence[str]) -> NDArray[np.float32]:
    """Return the standard deviation of each feature [F], from 64 rows spread evenly over each video.

    Mean and squares are merged video by video, so memory does not grow with their number.
    """
    count, mean, squares = 0, np.zeros(table.width), np.zeros(table.width)
    for video_id in video_ids:
        video = table[video_id]
        timestamps_s = np.linspace(video.first_s, video.last_s, _ROWS_PER_VIDEO)
        rows = video.read(timestamps_s[video.covers(timestamps_s)])[0].astype(np.float64)
        difference = rows.mean(axis=0) - mean
        total = count + len(rows)
        squares += ((rows - rows.mean(axis=0)) ** 2).sum(axis=0) + difference**2 * count * len(rows) / total
        mean += difference * len(rows) / total
        count = total
    return np.sqrt(squares / max(count, 1)).astype(np.float32)
