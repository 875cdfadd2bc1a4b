"""`sgear prototypes`: make language and visual prototypes, look at them, and hand them to the original code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sgear.cli.options import Granularity

app = typer.Typer(help="Make language and visual prototypes, and look at them.", no_args_is_help=True)

_Root = Annotated[str, typer.Option(help="Folder of the data set. Default: under SGEAR_DATA.")]
_Out = Annotated[Path, typer.Option(help="File to write (.safetensors).")]
_COMPOUNDS = {"as-written": False, "head-first": True}


@app.command()
def language(
    dataset: Annotated[
        str, typer.Option(help="Data set whose class names are embedded, e.g. kitchen, epic100, egtea.")
    ],
    out: _Out,
    root: _Root = "",
    granularity: Granularity = "mid",
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
    from dataclasses import replace

    from sgear.cli.terminal import say
    from sgear.errors import ConfigError
    from sgear.experiment.build import load_benchmark
    from sgear.experiment.schema import DatasetConfig
    from sgear.files import require_writable
    from sgear.prototypes import OFFLINE_ENCODER, encode_taxonomy
    from sgear.prototypes.original import (
        import_original_encodings,
        import_original_similarities,
        names_without_action,
        read_class_names,
    )

    require_writable(out)
    files = [file for file in (original, similarities) if file is not None]
    if bool(files) != (class_names is not None):
        raise ConfigError("--original or --similarities, and --class-names, go together: the files hold ids, no names")
    if files and (encoder or revision):
        raise ConfigError("--encoder and --revision would have no effect beside the files of the original release")
    if compounds != "auto" and compounds not in _COMPOUNDS:
        raise ConfigError(f"--compounds {compounds!r} is unknown; choose auto, {', '.join(_COMPOUNDS)}")
    benchmark = load_benchmark(DatasetConfig(name=dataset, root=root, granularity=granularity))
    taxonomy, rules = benchmark.taxonomy, benchmark.text_rules
    rules = replace(rules, head_first=_COMPOUNDS.get(compounds, rules.head_first))
    names = {} if class_names is None else read_class_names(class_names)
    if class_names is None:
        prototypes = encode_taxonomy(
            taxonomy, encoder=encoder or OFFLINE_ENCODER, revision=revision or None, rules=rules
        )
    elif original is not None:
        prototypes = import_original_encodings(original, names, taxonomy, similarities=similarities, rules=rules)
    else:
        prototypes = import_original_similarities(files[0], names, taxonomy, rules=rules)
    prototypes.save(out)
    shape = " x ".join(str(size) for size in prototypes.vectors.shape)
    say(f"wrote {out}: {shape} language prototypes by {prototypes.encoder} ({prototypes.revision})")
    if prototypes.num_shared_texts:
        say(
            f"{prototypes.num_shared_texts} actions share their text with another one, so language cannot tell them "
            "apart"
        )
    _say_left_out(names_without_action(names, taxonomy), dataset)


def _say_left_out(names: list[str], of: str) -> None:
    from sgear.cli.terminal import say

    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        say(f"left out {len(names)} names of the list that are no action of {of}: {', '.join(names[:5])}{more}")


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
    root: Annotated[
        str, typer.Option(help="Folder of the data set. Default: under SGEAR_DATA; of RUN, where it says.")
    ] = "",
    video_root: Annotated[
        list[Path] | None, typer.Option(help="Where the videos of RUN lie now; may be given again.")
    ] = None,
    feature_root: Annotated[
        list[Path] | None, typer.Option(help="Folder around the stored features of RUN; may be given again.")
    ] = None,
    split: Annotated[
        int | None, typer.Option(help="Number of the official split of --dataset. Default: 1.", min=1)
    ] = None,
    granularity: Annotated[
        str | None, typer.Option(help="Level of the labels of --dataset (salads50). Default: mid.")
    ] = None,
    num_folds: Annotated[
        int | None, typer.Option(help="Number of folds of the training participants of --dataset.", min=2)
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Fold that is held out, from 0; needs --num-folds.", min=0)] = None,
) -> None:
    """Average the features of the training clips of each action."""
    from sgear.cli.terminal import say
    from sgear.errors import ConfigError
    from sgear.experiment.moved import Places
    from sgear.experiment.schema import DatasetConfig
    from sgear.experiment.train import visual_prototypes, visual_prototypes_of_features

    if (run is None) == (not features) or bool(features) != bool(dataset):
        raise ConfigError("give either RUN, a recognition run, or --features together with --dataset")
    given = {"--split": split, "--granularity": granularity, "--num-folds": num_folds, "--fold": fold}
    unread = [name for name, value in given.items() if value is not None]
    if run is not None and unread:
        raise ConfigError(
            f"{' and '.join(unread)} would have no effect beside RUN: its data set, split and fold are those it was "
            "trained with; leave them out"
        )
    if run is None and (video_root or feature_root):
        raise ConfigError("--video-root and --feature-root would have no effect without RUN")
    if fold is not None and num_folds is None:
        raise ConfigError(f"--fold {fold} would have no effect without --num-folds; give both")
    limit = max_exemplars or None
    if run is not None:
        roots = {"video_roots": tuple(video_root or ()), "feature_roots": tuple(feature_root or ())}
        places = Places(root=Path(root) if root else None, **roots)
        prototypes = visual_prototypes(run, out, max_exemplars=limit, seed=seed, places=places)
    else:
        asked = DatasetConfig(
            name=dataset,
            root=root,
            split=split or 1,
            granularity=granularity or "mid",
            num_folds=num_folds or 0,
            fold=fold or 0,
        )
        prototypes = visual_prototypes_of_features(asked, features, out, max_exemplars=limit, seed=seed)
    counts = prototypes.num_exemplars
    say(
        f"wrote {out}: {len(counts)} visual prototypes of {int(counts.sum())} clips, {prototypes.num_filled} of them "
        "made from siblings"
    )


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Language or visual prototypes (.safetensors).", metavar="FILE")],
    against: Annotated[Path | None, typer.Option(help="A second file, to compare the two geometries.")] = None,
    run: Annotated[Path | None, typer.Option(help="Compare with the prototypes that this run has learned.")] = None,
    dataset: Annotated[str, typer.Option(help="Check that the file belongs to this data set.")] = "",
    root: _Root = "",
    granularity: Annotated[
        str | None, typer.Option(help="Level of the labels of --dataset (salads50). Default: mid.")
    ] = None,
    name: Annotated[str, typer.Option("--class", help="Print the nearest neighbours of one action.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write a page (.html) or an image (.png).")] = None,
) -> None:
    """Print what a set of prototypes looks like, and draw it."""
    from sgear.cli.prototype_inspection import inspect_prototypes
    from sgear.errors import ConfigError
    from sgear.experiment.build import load_benchmark
    from sgear.experiment.schema import DatasetConfig

    if against is not None and run is not None:
        raise ConfigError("--against and --run both name what to compare with; give one of them")
    if (root or granularity is not None) and not dataset:
        raise ConfigError("--root and --granularity say which --dataset is meant; give it, too")
    taxonomy = None
    if dataset:
        asked = DatasetConfig(name=dataset, root=root, granularity=granularity or "mid")
        taxonomy = load_benchmark(asked).taxonomy
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
    from sgear.cli.terminal import say
    from sgear.errors import ConfigError
    from sgear.files import require_writable
    from sgear.prototypes import LanguagePrototypes
    from sgear.prototypes.original import export_original, names_without_action, read_class_names

    outputs = [path for path in (encodings, similarities) if path is not None]
    if not outputs:
        raise ConfigError("say what to write: --encodings FILE, --similarities FILE, or both")
    for path in outputs:
        require_writable(path)
    prototypes = LanguagePrototypes.load(file)
    names = None if class_names is None else read_class_names(class_names)
    num_classes = export_original(prototypes, encodings=encodings, similarities=similarities, class_names=names)
    say(f"wrote {' and '.join(map(str, outputs))}: {num_classes} classes")
    _say_left_out(names_without_action(names or {}, prototypes.taxonomy), str(file))
