"""`sgear data`: make and look after data sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sgear.cli.options import AnnotationRoot, Granularity, Json, OfficialSplit, VideoRoots, Workers

app = typer.Typer(help="Make and look after data sets.", no_args_is_help=True)


@app.command()
def kitchen(
    root: Annotated[Path, typer.Argument(help="Folder to fill.", metavar="FOLDER")],
    seed: Annotated[int, typer.Option(help="Seed of the whole world.", min=0)] = 0,
    train_videos: Annotated[int, typer.Option(help="Videos of the training split.", min=1)] = 24,
    validation_videos: Annotated[int, typer.Option(help="Videos of the validation split.", min=1)] = 8,
    features_only: Annotated[bool, typer.Option("--features-only", help="Make the same world without videos.")] = False,
) -> None:
    """Render a kitchen: first-person videos whose next action follows a known law, with EPIC-KITCHENS-100 csv files."""
    from sgear.cli.data_sets import render_kitchen
    from sgear.kitchen import KitchenConfig

    config = KitchenConfig(
        seed=seed,
        num_train_videos=train_videos,
        num_validation_videos=validation_videos,
        # A single video cannot show somebody that training saw and somebody that it did not.
        num_unseen_participants=KitchenConfig.num_unseen_participants if validation_videos > 1 else 0,
    )
    render_kitchen(root, config, with_videos=not features_only)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="epic100, epic55, egtea, salads50, kitchen, csv, rulstm-ek100, ...")],
    root: AnnotationRoot = None,
    split: OfficialSplit = 1,
    granularity: Granularity = "mid",
    tau_a: Annotated[float | None, typer.Option(help="Anticipation time in seconds. Default: the usual one.")] = None,
    json: Json = False,
) -> None:
    """Print the counts of a data set, to be checked against the published ones."""
    from sgear.cli.data_sets import run_info

    run_info(name, root, split, tau_a, granularity=granularity, as_json=json)


@app.command("import")
def import_csv(
    csv: Annotated[
        Path, typer.Argument(help="One action per row, or labels of frames; see docs/own-data.md.", metavar="CSV")
    ],
    out: Annotated[Path | None, typer.Argument(help="Folder to write.", metavar="FOLDER")] = None,
    validation_share: Annotated[
        float | None, typer.Option(help="Share of validation segments where the csv has no column split.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits.", min=0)] = 0,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos: check that rows lie within them.")] = None,
    clip_to_video: Annotated[
        float, typer.Option(help="Seconds that a row may stop after its video; it then stops at its end.", min=0)
    ] = 0.0,
    fps: Annotated[float, typer.Option(help="Labels of frames: frames per second.", show_default=False)] = 0.0,
    no_action: Annotated[
        list[str] | None, typer.Option(help="Labels of frames: a name that is no action. Default: the usual ones.")
    ] = None,
    participant: Annotated[
        str, typer.Option(help="Labels of frames: regular expression of the participant in the video's name, P[0-9]+")
    ] = "",
    mapping: Annotated[Path | None, typer.Option(help="Labels of frames: lines 'number name'.")] = None,
    key: Annotated[str, typer.Option(help="Labels of frames: name of the array in .npz and .mat.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Write nothing.")] = False,
) -> None:
    """Make a data set of your own annotations, or say row by row what is wrong with them."""
    from sgear.cli.data_sets import run_import
    from sgear.datasets.own import FrameLabels

    frames = FrameLabels(fps=fps, participant=participant, mapping=mapping, key=key)
    if no_action is not None:
        frames = replace(frames, no_action=tuple(no_action))
    run_import(
        csv,
        out,
        validation_share=validation_share,
        seed=seed,
        videos=videos,
        clip_s=clip_to_video,
        frames=frames,
        check_only=check,
    )


@app.command()
def transcode(
    videos: Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.", metavar="VIDEOS...")],
    out: Annotated[Path, typer.Option(help="Folder of the copies; the tree of the videos is kept.")],
    short_side: Annotated[int, typer.Option(help="Shorter side in pixels; smaller videos keep their size.")] = 256,
    enlarge: Annotated[bool, typer.Option("--enlarge", help="Enlarge smaller videos, too.")] = False,
    gop: Annotated[int, typer.Option(help="Largest distance of two key frames, in frames.")] = 15,
    crf: Annotated[int, typer.Option(help="Quality of H.264, 0 (best, largest) to 51.")] = 20,
    fps: Annotated[float | None, typer.Option(help="Keep only the frames played at this rate. Default: all.")] = None,
    workers: Workers = None,
) -> None:
    """Make small copies of videos that are quick to read at any time: H.264 mp4, the same frame times, no sound.

    It goes on where it stopped, and several machines may fill one folder. Each copy is read again before it gets its
    name. A video that is damaged or truncated is named at the end (exit code 2), never copied in part.
    """
    from sgear.cli.video import run_transcode

    run_transcode(videos, out, short_side=short_side, enlarge=enlarge, gop=gop, crf=crf, fps=fps, workers=workers)


@app.command()
def verify(
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Videos, or folders of videos.", metavar="VIDEOS...")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set: check its videos, and its rows against them.")] = None,
    root: AnnotationRoot = None,
    video_root: VideoRoots = None,
    split: OfficialSplit = 1,
    granularity: Granularity = "mid",
    quick: Annotated[bool, typer.Option("--quick", help="Decode the first and the last second only.")] = False,
    frame_fps: Annotated[float | None, typer.Option(help="Rate of numbered images.", min=0.001)] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Find videos that are truncated, empty or damaged, and annotation rows that lie outside their video.

    Exit code 1 means that something is wrong.
    """
    from sgear.cli.video import DatasetChoice, run_verify

    chosen = None
    if dataset is not None:
        chosen = DatasetChoice(dataset, root, tuple(video_root or ()), split, granularity)
    elif root is not None or video_root or split != 1 or granularity != "mid":
        raise typer.BadParameter("--root, --video-root, --split and --granularity belong to --dataset")
    run_verify(videos or [], chosen, quick=quick, frame_fps=frame_fps, workers=workers, as_json=json)
