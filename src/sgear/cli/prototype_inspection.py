"""`sgear prototypes inspect`: the numbers on the terminal, the images in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from sgear.cli.terminal import open_screen, say
from sgear.errors import ConfigError, PrototypeError
from sgear.files import require_writable
from sgear.models.heads import PrototypeBank
from sgear.models.pretrained import load_model
from sgear.prototypes import LanguagePrototypes, VisualPrototypes, cosine_relations
from sgear.prototypes.files import kind_of_file
from sgear.prototypes.geometry import nearest_neighbors
from sgear.prototypes.language import name_key
from sgear.report.prototype_figures import PrototypeSet
from sgear.report.prototype_page import fact_rows, write_prototype_page
from sgear.taxonomy import Taxonomy
from sgear.training.run import RunDirectory

_NUM_PAIRS = 5
_SUFFIXES = (".html", ".htm", ".png")
_SLOW = 500
"""From so many actions on, drawing takes a while."""


def load_set(path: Path, taxonomy: Taxonomy | None = None) -> tuple[PrototypeSet, Taxonomy]:
    """Read a file of either kind.

    Args:
        path: The file.
        taxonomy: Vocabulary that it must belong to. Default: the file's own.

    Raises:
        PrototypeError: If it is missing, damaged, or of another vocabulary.
    """
    if kind_of_file(path) == "language":
        language = LanguagePrototypes.load(path, taxonomy)
        source = f"{language.encoder} ({language.revision})"
        return PrototypeSet(title="language", source=source, vectors=language.vectors), language.taxonomy
    visual = VisualPrototypes.load(path, taxonomy)
    shown = PrototypeSet(
        title="visual",
        source=visual.run,
        vectors=visual.vectors,
        num_filled=visual.num_filled,
        learnt_from=str(visual.lineage),
    )
    return shown, visual.taxonomy


def learned_set(path: Path, taxonomy: Taxonomy) -> PrototypeSet:
    """Read the visual prototypes that a run has learned.

    Raises:
        RunError: If the run holds no model.
        PrototypeError: If its model has no prototypes, or was trained on another vocabulary.
    """
    run = RunDirectory(path).require()
    trained = load_model(run.model)
    bank = getattr(trained.model, "bank", None)
    if not isinstance(bank, PrototypeBank):
        raise PrototypeError(f"{path}: a model of the kind {trained.config.name!r} has no prototypes to compare with")
    if trained.taxonomy.action_names != taxonomy.action_names:
        raise PrototypeError(
            f"{path}: trained on {trained.taxonomy.num_actions} actions (digest {trained.taxonomy.digest}), but the "
            f"prototypes are of {taxonomy.num_actions} actions (digest {taxonomy.digest}); compare sets of the same "
            "actions in the same order"
        )
    vectors = bank.visual.detach().float().cpu().clone()
    return PrototypeSet(title="learned", source=run.name, vectors=vectors, learnt_from=str(trained.lineage))


def inspect_prototypes(
    file: Path,
    *,
    against: Path | None = None,
    run: Path | None = None,
    taxonomy: Taxonomy | None = None,
    name: str = "",
    out: Path | None = None,
) -> None:
    """Print the numbers of one or two sets of prototypes, and write a page or an image of them.

    Args:
        file: Prototypes.
        against: A second file of the same vocabulary.
        run: A run whose learned prototypes are the second set.
        taxonomy: Vocabulary that the file must belong to.
        name: Action whose nearest neighbours are printed. Default: the most similar pairs of actions.
        out: File to write, `.html` or `.png`.

    Raises:
        PrototypeError: If the files do not belong together, or no action has that name.
        ConfigError: If `out` has another ending.
        WriteError: If `out` cannot be written.
    """
    if out is not None:
        if out.suffix.lower() not in _SUFFIXES:
            raise ConfigError(f"--out {out}: a page ends in .html and an image in .png")
        require_writable(out)
    first, vocabulary = load_set(file, taxonomy)
    sets = [first]
    if against is not None:
        sets.append(load_set(against, vocabulary)[0])
    if run is not None:
        sets.append(learned_set(run, vocabulary))
    if vocabulary.num_actions < 2:
        raise PrototypeError(f"{file}: holds a single prototype; there is nothing to compare it with")
    if len({each.title for each in sets}) < len(sets):
        assert against is not None, "sets from a file and from a run have different titles"
        sets = [
            replace(each, title=f"{each.title} {path.stem}") for each, path in zip(sets, (file, against), strict=True)
        ]
    action = _find_action(name, vocabulary) if name else None
    console = open_screen()
    _print_facts(console, sets, vocabulary)
    for each in sets:
        if action is None:
            _print_pairs(console, each, vocabulary)
        else:
            _print_neighbours(console, each, vocabulary, action)
    if out is not None:
        if vocabulary.num_actions >= _SLOW:
            say(f"drawing {vocabulary.num_actions:,} actions; this takes about a minute per thousand and set")
        heading = " and ".join(each.title for each in sets)
        write_prototype_page(sets, vocabulary, out, heading=f"{file.stem}: {heading} prototypes")
        say(f"wrote {out}")


def _find_action(name: str, taxonomy: Taxonomy) -> int:
    action_of_key = {name_key(action): index for index, action in enumerate(taxonomy.action_names)}
    if name_key(name) not in action_of_key:
        near = get_close_matches(name_key(name), list(action_of_key), n=3, cutoff=0.4)
        known = [taxonomy.action_names[action_of_key[key]] for key in near]
        hint = f"did you mean {', '.join(map(repr, known))}?" if known else f"e.g. {taxonomy.action_names[0]!r} is one"
        raise PrototypeError(f"none of the {taxonomy.num_actions} actions is called {name!r}; {hint}")
    return action_of_key[name_key(name)]


def _print_facts(console: Console, sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> None:
    table = Table("", box=None, padding=(0, 2, 0, 0))
    for each in sets:
        # A revision is worth nothing where its end is cut off.
        table.add_column(each.title, overflow="fold")
    for name, texts in fact_rows(sets, taxonomy):
        table.add_row(name, *texts)
    console.print(table)


def _print_pairs(console: Console, each: PrototypeSet, taxonomy: Taxonomy) -> None:
    relations = cosine_relations(each.vectors)
    is_pair = torch.ones_like(relations, dtype=torch.bool).triu(diagonal=1)
    relations = relations.masked_fill(~is_pair, -torch.inf)
    best = relations.flatten().topk(min(_NUM_PAIRS, taxonomy.num_actions * (taxonomy.num_actions - 1) // 2))
    table = Table(f"most alike, {each.title}", "", "cosine", box=None, padding=(0, 2, 0, 0))
    for cosine, position in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        row, column = divmod(position, taxonomy.num_actions)
        table.add_row(taxonomy.action_names[row], taxonomy.action_names[column], f"{cosine:.2f}")
    console.print()
    console.print(table)


def _print_neighbours(console: Console, each: PrototypeSet, taxonomy: Taxonomy, action: int) -> None:
    title = f"nearest to {taxonomy.action_names[action]!r}, {each.title}"
    table = Table(title, "cosine", box=None, padding=(0, 2, 0, 0))
    for near, cosine in nearest_neighbors(each.vectors)[action]:
        table.add_row(taxonomy.action_names[near], f"{cosine:.2f}")
    console.print()
    console.print(table)
