"""`sgear features`: make, import, inspect and export stored features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgear.cli.options import OfficialSplit, VideoRoots

if TYPE_CHECKING:
    from sgear.experiment.schema import DatasetConfig

app = typer.Typer(help="Make, import, inspect and export stored features.", no_args_is_help=True)

_Out = Annotated[Path, typer.Option(help="Folder of the feature store.")]
_Dtype = Annotated[str, typer.Option(help="Stored numbers: float32, or float16 for half the disk.")]
_Key = Annotated[str, typer.Option(help="Keys of an LMDB. Default: those of RULSTM and AVT.")]
_LmdbDtype = Annotated[
    str, typer.Option(help="Values of an LMDB: float32, float16, bfloat16, float64, or npy (numpy.save).")
]
_Root = Annotated[str, typer.Option(help="Folder of its annotations. Default: under SGEAR_DATA.")]
_RULSTM_KEY = "{video}_frame_{number:010d}.jpg"


def _chosen(name: str, root: str, *, split: int = 1, video_roots: Sequence[str] = ()) -> DatasetConfig | None:
    from sgear.errors import ConfigError
    from sgear.experiment.schema import DatasetConfig

    if root and not name:
        raise ConfigError("--root says where the data set of --dataset lies; give it, too")
    return DatasetConfig(name=name, root=root, split=split, video_roots=list(video_roots)) if name else None


@app.command()
def extract(
    encoder: Annotated[str, typer.Option(help="Name of a timm model, or a run directory trained on pixels.")],
    out: _Out,
    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Videos (video files, folders or tar files of images), or folders of videos.", metavar="VIDEOS..."
        ),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="All videos of this data set, found where it keeps them; rates of images from it, too.")
    ] = "",
    root: _Root = "",
    video_root: VideoRoots = None,
    fps: Annotated[float, typer.Option(help="Rows per second.", min=0.001)] = 4.0,
    views: Annotated[
        str,
        typer.Option(
            help="left, centre or right, each also with -flip; or three-crop, three-crop-flip: an average over several."
        ),
    ] = "centre",
    batch_size: Annotated[int, typer.Option(help="Frames that are encoded at once.", min=1)] = 32,
    dtype: _Dtype = "float32",
    shard: Annotated[
        str, typer.Option(help="I/N: do every N-th video only, from the I-th on (0 is the first).")
    ] = "0/1",
    device: Annotated[str, typer.Option(help="Where the encoder runs, e.g. cpu or cuda.")] = "cpu",
    precision: Annotated[str, typer.Option(help="Arithmetic of the encoder: float32 or bf16.")] = "float32",
    weights: Annotated[Path | None, typer.Option(help="Local checkpoint of the timm model.")] = None,
    pretrained: Annotated[bool, typer.Option(help="Use timm's published weights.")] = True,
    frame_fps: Annotated[
        float | None,
        typer.Option(help="Rate at which images were numbered, where videos are made of them.", min=0.001),
    ] = None,
) -> None:
    """Run a frame encoder over videos. Stop it at any time: the same command goes on where it was.

    Start the command several times, on one machine or on many with a common disk: no video is done twice.
    """
    from sgear.cli.feature_commands import extract_features

    if not dataset and (root or video_root):
        raise typer.BadParameter("--root and --video-root belong to --dataset")
    extract_features(
        videos or [],
        encoder,
        out,
        fps=fps,
        views=views,
        batch_size=batch_size,
        dtype=dtype,
        shard=shard,
        device=device,
        precision=precision,
        weights=weights,
        pretrained=pretrained,
        frame_fps=frame_fps,
        dataset=_chosen(dataset, root, video_roots=[str(path) for path in video_root or []]),
    )


@app.command("import")
def import_features(
    source: Annotated[Path, typer.Argument(help="Folder of .mat, .npz or .npy files, or an LMDB.", metavar="SOURCE")],
    out: _Out,
    name: Annotated[str, typer.Option(help="What the features are, e.g. 'RULSTM rgb'. Default: name of SOURCE.")] = "",
    fps: Annotated[
        float | None,
        typer.Option(help="Rows per second (arrays), or the rate an LMDB counts frames at (30).", min=0.001),
    ] = None,
    first_s: Annotated[float, typer.Option(help="Time of the first row in seconds (arrays).", min=0)] = 0.0,
    array: Annotated[str, typer.Option(help="Name of the array (.mat, .npz). Default: features, or A.")] = "",
    orientation: Annotated[str, typer.Option(help="rows [N F], columns [F N], or auto (arrays).")] = "auto",
    key: _Key = _RULSTM_KEY,
    max_gap: Annotated[
        float | None, typer.Option(help="Seconds that a row of an LMDB may be old (0.3); the store keeps it.", min=0)
    ] = None,
    lmdb_dtype: _LmdbDtype = "float32",
    dtype: _Dtype = "float32",
) -> None:
    """Copy features of others into a feature store."""
    from sgear.cli.feature_commands import import_to_store

    import_to_store(
        source,
        out,
        name=name or source.name,
        fps=fps,
        first_s=first_s,
        array=array,
        orientation=orientation,
        key=key,
        max_gap_s=max_gap,
        lmdb_dtype=lmdb_dtype,
        dtype=dtype,
    )


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Feature store or LMDB.", metavar="PATH")],
    dataset: Annotated[str, typer.Option(help="Check which segments of this data set can be read.")] = "",
    root: _Root = "",
    split: OfficialSplit = 1,
    tau_a: Annotated[float | None, typer.Option(help="Anticipation time. Default: the usual one.", min=0.001)] = None,
    tau_o: Annotated[float, typer.Option(help="Observation time before each segment.", min=0.001)] = 10.0,
    steps_per_s: Annotated[float, typer.Option(help="Steps of that time that are read per second.", min=0.001)] = 1.0,
    key: _Key = _RULSTM_KEY,
    fps: Annotated[float, typer.Option(help="Rate at which an LMDB counts frames.", min=0.001)] = 30.0,
    max_gap: Annotated[float, typer.Option(help="Seconds that a row of an LMDB may be old.", min=0)] = 0.3,
    lmdb_dtype: _LmdbDtype = "float32",
    videos: Annotated[bool, typer.Option("--videos", help="List every video.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read and check every value.")] = False,
    reindex: Annotated[bool, typer.Option("--reindex", help="Make the index of a store anew.")] = False,
) -> None:
    """Say what is in a store or an LMDB, and what is missing. Exit code 1 where it is damaged or segments lack rows."""
    from sgear.cli.feature_inspection import inspect_features

    is_complete = inspect_features(
        path,
        _chosen(dataset, root, split=split),
        tau_a_s=tau_a,
        tau_o_s=tau_o,
        steps_per_s=steps_per_s,
        key=key,
        fps=fps,
        max_gap_s=max_gap,
        lmdb_dtype=lmdb_dtype,
        lists_videos=videos,
        verifies=verify,
        reindexes=reindex,
    )
    raise typer.Exit(0 if is_complete else 1)


@app.command()
def export(
    store: Annotated[Path, typer.Argument(help="Feature store.", metavar="STORE")],
    out: Annotated[Path, typer.Argument(help="Folder of the LMDB to make.", metavar="OUT")],
    key: _Key = _RULSTM_KEY,
    fps: Annotated[float, typer.Option(help="Rate at which frames are counted.", min=0.001)] = 30.0,
) -> None:
    """Write a store as an LMDB in the format of RULSTM, for code that reads nothing else."""
    from sgear.cli.feature_commands import export_to_lmdb

    export_to_lmdb(store, out, key=key, fps=fps)
