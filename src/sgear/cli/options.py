"""Options that several commands have, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AnnotationRoot = Annotated[
    Path | None, typer.Option("--root", help="Folder of the annotations. Default: under SGEAR_DATA.")
]
DatasetRoot = Annotated[
    Path | None, typer.Option("--root", help="Folder of its annotations. Default: under SGEAR_DATA.")
]
VideoRoots = Annotated[
    list[Path] | None, typer.Option(help="Folder of its videos; may be given again. Default: the usual places.")
]
OfficialSplit = Annotated[int, typer.Option(help="Number of the official split (egtea, salads50).", min=1)]
Granularity = Annotated[str, typer.Option(help="Level of the labels (salads50): low, mid, eval, abstract.")]
Workers = Annotated[int | None, typer.Option(help="Processes. Default: one per core.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
