"""`sgear data`: make and look after data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make and look after data sets.", no_args_is_help=True)


@app.command()
def kitchen(
    root: Annotated[Path, typer.Argument(help="Folder to fill.", metavar="FOLDER")],
    seed: Annotated[int, typer.Option(help="Seed of the whole world.", min=0)] = 0,
    train_videos: Annotated[int, typer.Option(help="Films of the training split.", min=1)] = 24,
    validation_videos: Annotated[int, typer.Option(help="Films of the validation split.", min=1)] = 8,
    features_only: Annotated[bool, typer.Option("--features-only", help="Make the same world without films.")] = False,
) -> None:
    """Render a kitchen: first-person films whose next action follows a known law, with EPIC-KITCHENS-100 csv files."""
    from sgear.cli.kitchen import render_kitchen
    from sgear.datasets.kitchen import KitchenConfig

    config = KitchenConfig(seed=seed, num_train_videos=train_videos, num_validation_videos=validation_videos)
    render_kitchen(root, config, with_films=not features_only)
