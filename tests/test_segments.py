import polars as pl
import pytest

from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

TAXONOMY = Taxonomy(verbs=("take", "cut"), nouns=("knife", "onion"), action_pairs=((0, 0), (0, 1), (1, 1)))


def rows(**changes) -> pl.DataFrame:
    columns = {
        "uid": ["a", "b"],
        "participant_id": ["P01", "P01"],
        "video_id": ["P01_01", "P01_01"],
        "start_s": [0.0, 2.0],
        "stop_s": [1.5, 3.0],
        "verb_id": [0, 1],
        "noun_id": [0, 1],
        "action_id": [0, 2],
    }
    return pl.DataFrame(columns | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_s": [1.5, 1.0]}, r"labels.csv: row 3, uid 'b' ends before it starts \(start 2.0 s, stop 1.0 s\)"),
        ({"start_s": [-0.1, 2.0]}, "row 2.*starts before 0 s"),
        ({"stop_s": [1.5, float("nan")]}, "row 3.*not a number"),
        ({"noun_id": [0, 2]}, r"row 3.*noun_id outside 0\.\.1"),
        ({"action_id": [0, 9]}, r"row 3.*action_id outside 0\.\.2"),
        ({"uid": ["a", "a"]}, "repeats a uid.*2 such rows"),
        ({"video_id": ["P01_01", None]}, "row 3.*empty field"),
    ],
)
def test_a_row_that_contradicts_itself_is_named(changes, message):
    with pytest.raises(AnnotationError, match=message):
        SegmentTable(rows(**changes), TAXONOMY, origin="labels.csv")


def test_a_missing_column_is_named():
    with pytest.raises(AnnotationError, match=r"missing columns \['stop_s'\]"):
        SegmentTable(rows().drop("stop_s"), TAXONOMY, origin="labels.csv")


def test_taxonomy_digest_changes_with_any_name():
    other = Taxonomy(verbs=("take", "slice"), nouns=TAXONOMY.nouns, action_pairs=TAXONOMY.action_pairs)
    assert other.digest != TAXONOMY.digest
    assert Taxonomy.from_dict(TAXONOMY.to_dict()).digest == TAXONOMY.digest


def test_plain_labels_become_verbs_and_nouns():
    taxonomy = Taxonomy.from_labels(["cut_tomato", "peel_cucumber", "cut_cheese", "stir"])
    assert taxonomy.action_names == ("cut tomato", "peel cucumber", "cut cheese", "stir")
    assert taxonomy.verb_of_action.tolist() == [0, 1, 0, 2]
    assert taxonomy.nouns == ("tomato", "cucumber", "cheese", "stir")


def test_repeated_names_are_refused():
    with pytest.raises(AnnotationError, match="take"):
        Taxonomy(verbs=("take", "take"), nouns=("knife",), action_pairs=((0, 0),))
