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


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="epic100, epic55, egtea, salads50, kitchen, csv, rulstm-ek100, ...")],
    root: Annotated[Path | None, typer.Option(help="Folder of the annotations. Default: under SGEAR_DATA.")] = None,
    split: Annotated[int, typer.Option(help="Number of the official split (egtea, salads50).", min=1)] = 1,
    granularity: Annotated[str, typer.Option(help="Level of the labels (salads50): low, mid, eval, abstract.")] = "mid",
    tau_a: Annotated[float | None, typer.Option(help="Anticipation time in seconds. Default: the usual one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the counts of a data set, to be held against the published ones."""
    from sgear.cli.dataset_info import run_info

    run_info(name, root, split, tau_a, granularity=granularity, as_json=json)


@app.command("import")
def import_csv(
    csv: Annotated[Path, typer.Argument(help="One action per row; see docs/own-data.md.", metavar="CSV")],
    out: Annotated[Path | None, typer.Argument(help="Folder to write.", metavar="FOLDER")] = None,
    validation_share: Annotated[
        float | None, typer.Option(help="Share of validation segments where the csv has no column split.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
    videos: Annotated[Path | None, typer.Option(help="Folder of the films: check that rows lie within them.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing.")] = False,
) -> None:
    """Make a data set of your own annotations, or say row by row what is wrong with them."""
    from sgear.cli.import_data import run_import

    run_import(csv, out, validation_share=validation_share, seed=seed, videos=videos, check_only=check)
