"""`sgear prototypes`: make language and visual prototypes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make language and visual prototypes.", no_args_is_help=True)


@app.command()
def language(
    dataset: Annotated[str, typer.Option(help="kitchen, epic100 or salads50.")],
    out: Annotated[Path, typer.Option(help="File to write (.safetensors).")],
    root: Annotated[str, typer.Option(help="Folder of the data set. Default: under SGEAR_DATA.")] = "",
    encoder: Annotated[
        str,
        typer.Option(
            help="'offline' (MiniLM from an installed package), a local folder, or a sentence-transformers name such "
            "as sentence-transformers/stsb-mpnet-base-v2, the paper's choice."
        ),
    ] = "offline",
    original: Annotated[
        Path | None,
        typer.Option(help="Import encodings_*.pth of the original release instead; needs --class-names."),
    ] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="Names of the class ids of --original: lines 'ID NAME'.")
    ] = None,
) -> None:
    """Embed the class names of a data set, once."""
    from rich.console import Console

    from sgear.config.build import load_benchmark
    from sgear.config.schema import DatasetConfig
    from sgear.datasets.salads50 import read_lines
    from sgear.errors import ConfigError
    from sgear.prototypes import encode_taxonomy
    from sgear.prototypes.original import import_original_encodings

    taxonomy = load_benchmark(DatasetConfig(name=dataset, root=root)).taxonomy
    if (original is None) != (class_names is None):
        raise ConfigError("--original and --class-names go together")
    if original is not None and class_names is not None:
        names = [line.split(maxsplit=1)[-1] for line in read_lines(class_names)]
        prototypes = import_original_encodings(original, names, taxonomy)
    else:
        prototypes = encode_taxonomy(taxonomy, encoder=encoder)
    prototypes.save(out)
    shape = " x ".join(str(size) for size in prototypes.vectors.shape)
    Console().print(f"wrote {out}: {shape} language prototypes by {prototypes.encoder}", highlight=False)


@app.command()
def visual(
    run: Annotated[Path, typer.Argument(help="Recognition run.", metavar="RUN")],
    out: Annotated[Path, typer.Option(help="File to write (.safetensors).")],
) -> None:
    """Average the features of a recognition run over the training clips of each action."""
    from rich.console import Console

    from sgear.pipeline import visual_prototypes

    prototypes = visual_prototypes(run, out)
    num_filled = int((prototypes.num_exemplars == 0).sum())
    Console().print(
        f"wrote {out}: {len(prototypes.vectors)} visual prototypes, {num_filled} of them made from siblings",
        highlight=False,
    )
