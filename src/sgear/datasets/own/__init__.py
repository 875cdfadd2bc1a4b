"""Own annotations: a csv with one action per row is checked row by row, and becomes a data set folder."""

from sgear.datasets.base import DatasetSpec, Places
from sgear.datasets.benchmark import TextRules
from sgear.datasets.own.folder import load_own
from sgear.datasets.own.frame_wise import FrameLabels
from sgear.datasets.own.importing import ImportResult, SplitCounts, check_own, import_own
from sgear.datasets.own.rows import Problem

__all__ = ["FrameLabels", "OWN", "ImportResult", "Problem", "SplitCounts", "check_own", "import_own", "load_own"]

OWN = "csv"
"""Name of every data set that was imported."""

DATASET = DatasetSpec(
    name=OWN,
    load=lambda folder, split, level: load_own(folder),
    places=Places(annotations=(), holds="summary.json", source="'sgear data import'"),
    # Its videos may have any names: they are known by their content.
    corpus=None,
    whole_videos=False,
    text_rules=TextRules(),
    headline="recall5",
)
