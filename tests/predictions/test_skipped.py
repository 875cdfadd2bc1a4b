"""The list of what could not be read travels with predictions, and no benchmark number is made of them."""

import numpy as np
import pytest

from sgear.errors import PredictionError
from sgear.predictions import Predictions, late_fuse
from sgear.predictions.provenance import merge_skipped, skipped_of, skipped_text, with_skipped
from sgear.predictions.submission import EPIC100, write_submission
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan"])
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0).to_dict()


def table(skipped: dict | None = None, **provenance) -> Predictions:
    return Predictions(
        uids=("a", "b", "c"),
        logits=np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32),
        targets=np.array([0, 1, 2]),
        taxonomy=TAXONOMY,
        protocol=PROTOCOL,
        provenance=with_skipped(provenance, skipped or {}),
    )


def test_lists_are_joined_split_by_split_and_the_first_reason_stays():
    merged = merge_skipped([{"train": {"a": "one"}, "validation": {}}, {"train": {"a": "two", "b": "three"}}])
    assert merged == {"train": {"a": "one", "b": "three"}}


def test_an_empty_list_leaves_no_entry():
    assert with_skipped({"name": "run"}, {"train": {}}) == {"name": "run"}
    assert skipped_text({"train": {}}) == ""


def test_the_line_counts_each_split():
    text = skipped_text({"train": {"a": "x", "b": "y"}, "validation": {"c": "z"}})
    assert text == "not a benchmark number: 3 segments could not be read and were skipped (2 of train, 1 of validation)"
    assert "1 segment could not be read and was skipped" in skipped_text({"train": {"a": "x"}})


@pytest.mark.parametrize("found", ["a", ["a"], {"train": ["a"]}, {"train": {"a": 1}}])
def test_a_damaged_list_is_an_error(found):
    with pytest.raises(PredictionError, match="no list of skipped segments"):
        skipped_of({"skipped": found})


def test_the_list_is_kept_in_the_file(tmp_path):
    table({"validation": {"b": "no video"}}).save(tmp_path / "p.safetensors")
    assert skipped_of(Predictions.load(tmp_path / "p.safetensors").provenance) == {"validation": {"b": "no video"}}


def test_fusion_keeps_the_union_and_counts_the_evaluated_ones():
    fused = late_fuse(
        [table({"validation": {"b": "one"}}), table(), table({"train": {"t": "two"}, "validation": {"c": "three"}})],
        [1.0, 1.0, 1.0],
    )
    assert skipped_of(fused.provenance) == {"validation": {"b": "one", "c": "three"}, "train": {"t": "two"}}
    assert fused.provenance["num_unreadable"] == 2


def test_fusing_whole_tables_lists_nothing():
    assert "skipped" not in late_fuse([table(), table()], [1.0, 1.0]).provenance


@pytest.mark.parametrize("split", ["train", "validation", "start from ar"])
def test_what_was_skipped_anywhere_cannot_be_submitted(split, tmp_path):
    with pytest.raises(PredictionError, match=r"not a benchmark number: 1 segment .*source\.on_error=stop"):
        write_submission({"test": table({split: {"x": "no video"}})}, tmp_path / "a.json", EPIC100, sls=(1, 3, 3))
    assert not list(tmp_path.iterdir())
