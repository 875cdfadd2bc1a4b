"""Dense anticipation: observe a share of a video, predict the action of every frame of the next share.

Frame labels are class ids [T]. The usual cells are observe = 0.2 or 0.3 and predict = 0.1, 0.2, 0.3 or 0.5; on
50 Salads with the 19 classes of `mapping.txt`, mean over five folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

OBSERVED_SHARES = (0.2, 0.3)
PREDICTED_SHARES = (0.1, 0.2, 0.3, 0.5)


def observed_and_future(
    labels: NDArray[np.integer], observe: float, predict: float
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Split the frame labels of a video.

    Both counts are rounded down from a share of the whole video, as the original evaluation does.

    Args:
        labels: Class of each frame of the video [T].
        observe: Share of the video that is seen, in (0, 1).
        predict: Share of the video that is asked for, in (0, 1 - observe].

    Returns:
        The first `floor(observe * T)` labels, and the `floor(predict * T)` labels that follow.

    Raises:
        ValueError: If a share is out of range, or the video is so short that one of them has no frame.

    Source:
        Abu Farha et al., CVPR 2018, section 4; yabufarha/anticipating-activities@360c5e4: main.py (rnn), eval.py.
    """
    if not (observe > 0 and predict > 0 and observe + predict <= 1 + 1e-9):
        raise ValueError(f"observe and predict must be positive and sum to at most 1, got {observe} and {predict}")
    num_observed, num_future = int(observe * len(labels)), int(predict * len(labels))
    if not (num_observed and num_future):
        raise ValueError(
            f"a video of {len(labels)} frames has none to observe or to predict at shares {observe} and {predict}"
        )
    return labels[:num_observed], labels[num_observed : num_observed + num_future]


def dense_accuracy(
    predicted: Sequence[NDArray[np.integer]], true: Sequence[NDArray[np.integer]], num_classes: int
) -> float:
    """Average over classes the share of frames of that class that are predicted right.

    Frames are counted over all videos before the division, and only classes that occur in `true` count.

    Args:
        predicted: Predicted classes of the future frames of each video.
        true: Their true classes, of the same lengths.
        num_classes: Number of classes K; ids are in [0, K).

    Returns:
        Mean over classes, in [0, 1].

    Raises:
        ValueError: If lengths differ, an id is out of range, or there is no frame.

    Source:
        yabufarha/anticipating-activities@360c5e4:eval.py ("MoC").
    """
    if [len(video) for video in predicted] != [len(video) for video in true]:
        raise ValueError("predicted and true must hold the same number of frames for each video")
    if not sum(len(video) for video in true):
        raise ValueError("there is no frame to score")
    guesses, targets = np.concatenate(predicted), np.concatenate(true)
    for name, ids in (("predicted", guesses), ("true", targets)):
        if ids.min() < 0 or ids.max() >= num_classes:
            raise ValueError(f"{name} classes must be in 0..{num_classes - 1}, got {ids.min()}..{ids.max()}")
    counts = np.bincount(targets, minlength=num_classes)
    hits = np.bincount(targets[guesses == targets], minlength=num_classes)
    occurs = counts > 0
    return float((hits[occurs] / counts[occurs]).mean())
