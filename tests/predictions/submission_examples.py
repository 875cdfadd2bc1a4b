"""Predictions of the size that the challenges ask for, and the server's own way to rank, in loops."""

import json
import zipfile
from pathlib import Path

import numpy as np

from sgear.predictions import Predictions
from sgear.predictions.submission import EPIC100, write_submission
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0).to_dict()


def taxonomy(num_verbs: int, num_nouns: int, num_actions: int = 150) -> Taxonomy:
    """A vocabulary whose last nouns occur in no action, as seven do in the real one."""
    rng = np.random.default_rng(0)
    codes = rng.permutation(num_verbs * (num_nouns - 7))[:num_actions]
    pairs = sorted((int(code) // (num_nouns - 7), int(code) % (num_nouns - 7)) for code in codes)
    return Taxonomy(
        verbs=tuple(f"verb {index}" for index in range(num_verbs)),
        nouns=tuple(f"noun {index}" for index in range(num_nouns)),
        action_pairs=tuple(pairs),
    )


EPIC100_TAXONOMY = taxonomy(97, 300)
EPIC55_TAXONOMY = taxonomy(125, 352)


def epic100_table(num_samples: int = 7, seed: int = 0, **changes) -> Predictions:
    """Scores as a model gives them: some far apart, some nearly equal, some exactly equal."""
    rng = np.random.default_rng(seed)
    names = EPIC100_TAXONOMY
    logits = 4 * rng.standard_normal((num_samples, names.num_actions))
    logits[1::3] = np.round(logits[1::3])
    logits[2::3] *= 1e-6
    fields = {
        "uids": tuple(f"P01_101_{index}" for index in range(num_samples)),
        "logits": logits.astype(np.float32),
        "targets": rng.integers(0, names.num_actions, num_samples),
        "taxonomy": names,
        "protocol": PROTOCOL,
    }
    return Predictions(**(fields | changes))


def epic55_table(first_uid: int, num_samples: int = 3) -> Predictions:
    rng = np.random.default_rng(first_uid)
    return Predictions(
        uids=tuple(str(first_uid + index) for index in range(num_samples)),
        logits=rng.standard_normal((num_samples, EPIC55_TAXONOMY.num_actions)).astype(np.float32),
        targets=np.full(num_samples, -1),
        taxonomy=EPIC55_TAXONOMY,
        protocol=PROTOCOL,
    )


def submit(table: Predictions, out: Path, sls=(1, 3, 4), **options) -> None:
    write_submission({"test": table}, out, EPIC100, sls=sls, **options)


def document(path: Path, member: str = "test.json") -> dict:
    """The JSON in a zip or beside it."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(member))


def save_zip(path: Path, text: str, member: str = "test.json") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, text)
    return path


def server_ranking(scores: dict[str, float]) -> list[str]:
    """Rank as the official evaluation does: sort ascending, then turn round."""
    keys = list(scores)
    return [keys[place] for place in np.argsort(np.array([scores[key] for key in keys]))[::-1]]


def server_class_ranking(scores: dict[str, float]) -> list[int]:
    """The same for verbs or nouns, which the server first puts in order of their ids."""
    by_id = np.zeros(len(scores))
    for key, score in scores.items():
        by_id[int(key)] = score
    return np.argsort(by_id)[::-1].tolist()
