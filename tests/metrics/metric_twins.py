"""The metrics by loops and counting, the slow and obvious way."""

import math
from collections import Counter


def slow_rank(row, target):
    better = sum(score > row[target] for score in row)
    ties = sum(score == row[target] for score in row) - 1
    return better + (ties + 1) // 2


def slow_class_mean_recall(scores, targets, k):
    found, seen = {}, {}
    for row, target in zip(scores.tolist(), targets.tolist(), strict=True):
        seen[target] = seen.get(target, 0) + 1
        found[target] = found.get(target, 0) + (slow_rank(row, target) < k)
    return sum(found[label] / seen[label] for label in seen) / len(seen)


def slow_part_rank(logits, target, part_of_action):
    """Rank of the true part among sums of exponentials of whole numbers.

    Powers of e with whole exponents are linearly independent over the rationals, so two sums are equal only if they
    have the same exponents: ties are found without any rounding.
    """
    parts = sorted(set(part_of_action))
    exponents = {
        part: Counter(logit for logit, own in zip(logits, part_of_action, strict=True) if own == part) for part in parts
    }
    sums = {part: math.fsum(count * math.exp(logit) for logit, count in exponents[part].items()) for part in parts}
    mine = part_of_action[target]
    ties = sum(exponents[part] == exponents[mine] for part in parts) - 1
    better = sum(sums[part] > sums[mine] and exponents[part] != exponents[mine] for part in parts)
    return better + (ties + 1) // 2


def slow_precision(scores, targets, num_classes):
    guessed, right = [0.0] * num_classes, [0] * num_classes
    for row, target in zip(scores.tolist(), targets.tolist(), strict=True):
        best = [label for label in range(num_classes) if row[label] == max(row)]
        for label in best:
            guessed[label] += 1 / len(best)
        right[target] += best == [target]
    return [
        (right[label] / guessed[label] if guessed[label] else 0.0) if label in targets else math.nan
        for label in range(num_classes)
    ]


def slow_time_to_action(hits, times_s):
    total = 0.0
    for row in hits.tolist():
        total += max([time_s for hit, time_s in zip(row, times_s, strict=True) if hit], default=0.0)
    return total / len(hits)


def slow_calibration_error(confidence, is_right, num_bins):
    error = 0.0
    for index in range(num_bins):
        inside = [
            row
            for row, value in enumerate(confidence.tolist())
            if index < value * num_bins <= index + 1 or (index == 0 and value == 0)
        ]
        if inside:
            accuracy = sum(bool(is_right[row]) for row in inside) / len(inside)
            error += abs(accuracy - sum(confidence[row] for row in inside) / len(inside)) * len(inside)
    return error / len(confidence)
