"""Own annotations: a csv with one action per row is checked row by row, and becomes a data set folder."""

from sgear.datasets.own.folder import load_own
from sgear.datasets.own.importing import ImportResult, SplitCounts, check_own, import_own
from sgear.datasets.own.problems import Problem

__all__ = ["ImportResult", "Problem", "SplitCounts", "check_own", "import_own", "load_own"]
