"""Class-mean recall by loops and counting, the slow and obvious way."""


def slow_class_mean_recall(scores, targets, k):
    found, seen = {}, {}
    for row, target in zip(scores.tolist(), targets.tolist(), strict=True):
        best = sorted(range(len(row)), key=lambda label: -row[label])[:k]
        seen[target] = seen.get(target, 0) + 1
        found[target] = found.get(target, 0) + (target in best)
    return sum(found[label] / seen[label] for label in seen) / len(seen)
