"""`sgear prototypes`: make language and visual prototypes, look at them, and hand them to the original code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make language and visual prototypes, and look at them.", no_args_is_help=True)

_Root = Annotated[str, typer.Option(help="Folder of the data set. Default: under SGEAR_DATA.")]
_Granularity = Annotated[str, typer.Option(help="Level of the labels (salads50): low, mid, eval, abstract.")]
_Out = Annotated[Path, typer.Option(help="File to write (.safetensors).")]
_COMPOUNDS = {"as-written": False, "head-first": True}


@app.command()
def language(
    dataset: Annotated[
        str, typer.Option(help="Data set whose class names are embedded, e.g. kitchen, epic100, egtea.")
    ],
    out: _Out,
    root: _Root = "",
    granularity: _Granularity = "mid",
    encoder: Annotated[
        str,
        typer.Option(
            help="'offline' (MiniLM from an installed package; the default), a local folder, or a name on the hub: "
            "sentence-transformers/stsb-mpnet-base-v2 is the paper's choice, "
            "sentence-transformers/all-mpnet-base-v2 what the released script loads."
        ),
    ] = "",
    revision: Annotated[str, typer.Option(help="Commit of the encoder on the hub. Default: the newest.")] = "",
    compounds: Annotated[
        str,
        typer.Option(
            help="How the data set writes compound nouns: 'head-first' (board:chopping), 'as-written' "
            "(cutting:board), or 'auto' (head-first for EPIC-KITCHENS)."
        ),
    ] = "auto",
    original: Annotated[
        Path | None, typer.Option(help="Import encodings_*.pth of the original release; needs --class-names.")
    ] = None,
    similarities: Annotated[
        Path | None,
        typer.Option(
            help="similarities_*.pth of the original release: checked against --original, or imported alone (cosines "
            "are all that the semantic loss reads)."
        ),
    ] = None,
    class_names: Annotated[
        Path | None,
        typer.Option(help="Names of the class ids of the original files: lines 'ID NAME', or RULSTM's actions.csv."),
    ] = None,
) -> None:
    """Embed the class names of a data set, once; or import the embeddings of the original release."""
    from rich.console import Console

    from sgear.config.build import load_benchmark
    from sgear.config.schema import DatasetConfig
    from sgear.errors import ConfigError
    from sgear.prototypes import OFFLINE_ENCODER, encode_taxonomy
    from sgear.prototypes.class_names import read_class_names
    from sgear.prototypes.original import import_original_encodings, import_original_similarities
    from sgear.prototypes.texts import writes_head_first

    files = [file for file in (original, similarities) if file is not None]
    if bool(files) != (class_names is not None):
        raise ConfigError("--original or --similarities, and --class-names, go together: the files hold ids, no names")
    if files and (encoder or revision):
        raise ConfigError("--encoder and --revision would have no effect beside the files of the original release")
    if compounds != "auto" and compounds not in _COMPOUNDS:
        raise ConfigError(f"--compounds {compounds!r} is unknown; choose auto, {', '.join(_COMPOUNDS)}")
    benchmark = load_benchmark(DatasetConfig(name=dataset, root=root, granularity=granularity))
    taxonomy = benchmark.taxonomy
    head_first = _COMPOUNDS.get(compounds, writes_head_first(benchmark.name))
    if class_names is None:
        prototypes = encode_taxonomy(
            taxonomy, encoder=encoder or OFFLINE_ENCODER, revision=revision or None, head_first=head_first
        )
    elif original is not None:
        prototypes = import_original_encodings(
            original, read_class_names(class_names), taxonomy, similarities=similarities, head_first=head_first
        )
    else:
        prototypes = import_original_similarities(
            files[0], read_class_names(class_names), taxonomy, head_first=head_first
        )
    prototypes.save(out)
    shape = " x ".join(str(size) for size in prototypes.vectors.shape)
    console = Console()
    console.print(
        f"wrote {out}: {shape} language prototypes by {prototypes.encoder} ({prototypes.revision})", highlight=False
    )
    if prototypes.num_shared_texts:
        console.print(
            f"{prototypes.num_shared_texts} actions share their text with another one, so language cannot tell them "
            "apart",
            highlight=False,
        )


@app.command()
def visual(
    out: _Out,
    run: Annotated[
        Path | None, typer.Argument(help="Recognition run. Or leave it out and give --features.", metavar="RUN")
    ] = None,
    max_exemplars: Annotated[
        int, typer.Option(help="Largest number of training clips of an action, drawn at random; 0 takes all.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of that draw.", min=0)] = 0,
    features: Annotated[
        str, typer.Option(help="Average stored features of this name instead of a run's; needs --dataset.")
    ] = "",
    dataset: Annotated[str, typer.Option(help="Data set of --features, e.g. salads50-tcn.")] = "",
    root: _Root = "",
    split: Annotated[int, typer.Option(help="Number of the official split of --dataset.", min=1)] = 1,
) -> None:
    """Average the features of the training clips of each action."""
    from rich.console import Console

    from sgear.config.build import load_benchmark, load_features
    from sgear.config.schema import DatasetConfig, ExperimentConfig, SourceConfig
    from sgear.errors import ConfigError
    from sgear.pipeline import visual_prototypes
    from sgear.prototypes import class_means_of_features

    if (run is None) == (not features) or bool(features) != bool(dataset):
        raise ConfigError("give either RUN, a recognition run, or --features together with --dataset")
    if run is not None:
        prototypes = visual_prototypes(run, out, max_exemplars=max_exemplars or None, seed=seed)
    else:
        config = ExperimentConfig(
            dataset=DatasetConfig(name=dataset, root=root, split=split),
            source=SourceConfig(kind="features", features=features),
        )
        prototypes = class_means_of_features(
            load_features(config),
            load_benchmark(config.dataset).train,
            origin=f"features {features} of {dataset}, split {split}",
            max_exemplars=max_exemplars or None,
            seed=seed,
        )
        prototypes.save(out)
    counts = prototypes.num_exemplars
    Console().print(
        f"wrote {out}: {len(counts)} visual prototypes of {int(counts.sum())} clips, {prototypes.num_filled} of them "
        "made from siblings",
        highlight=False,
    )


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Language or visual prototypes (.safetensors).", metavar="FILE")],
    against: Annotated[Path | None, typer.Option(help="A second file, to compare the two geometries.")] = None,
    run: Annotated[Path | None, typer.Option(help="Compare with the prototypes that this run has learned.")] = None,
    dataset: Annotated[str, typer.Option(help="Check that the file belongs to this data set.")] = "",
    root: _Root = "",
    granularity: _Granularity = "mid",
    name: Annotated[str, typer.Option("--class", help="Print the nearest neighbours of one action.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write a page (.html) or a picture (.png).")] = None,
) -> None:
    """Print what a set of prototypes looks like, and draw it."""
    from sgear.cli.prototype_inspection import inspect_prototypes
    from sgear.config.build import load_benchmark
    from sgear.config.schema import DatasetConfig
    from sgear.errors import ConfigError

    if against is not None and run is not None:
        raise ConfigError("--against and --run both name what to compare with; give one of them")
    if root and not dataset:
        raise ConfigError("--root is the folder of --dataset; give both")
    taxonomy = None
    if dataset:
        taxonomy = load_benchmark(DatasetConfig(name=dataset, root=root, granularity=granularity)).taxonomy
    inspect_prototypes(file, against=against, run=run, taxonomy=taxonomy, name=name, out=out)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Language prototypes (.safetensors).", metavar="FILE")],
    encodings: Annotated[Path | None, typer.Option(help="File to write: encodings_NAME.pth.")] = None,
    similarities: Annotated[Path | None, typer.Option(help="File to write: similarities_NAME.pth.")] = None,
    class_names: Annotated[
        Path | None,
        typer.Option(help="Ids to write, as lines 'ID NAME'. Default: the ids of the vocabulary in FILE."),
    ] = None,
) -> None:
    """Write language prototypes in the layout of the original release."""
    from rich.console import Console

    from sgear.errors import ConfigError
    from sgear.prototypes import LanguagePrototypes
    from sgear.prototypes.class_names import read_class_names
    from sgear.prototypes.original import export_original

    if encodings is None and similarities is None:
        raise ConfigError("say what to write: --encodings FILE, --similarities FILE, or both")
    num_classes = export_original(
        LanguagePrototypes.load(file),
        encodings=encodings,
        similarities=similarities,
        class_names=None if class_names is None else read_class_names(class_names),
    )
    written = " and ".join(str(path) for path in (encodings, similarities) if path is not None)
    Console().print(f"wrote {written}: {num_classes} classes", highlight=False)
