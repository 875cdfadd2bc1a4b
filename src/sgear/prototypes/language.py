"""Language prototypes: sentence embeddings of the class names, made once and frozen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from sgear.datasets import TextRules
from sgear.errors import PrototypeError
from sgear.prototypes.encoders import OFFLINE_ENCODER, load_encoder
from sgear.prototypes.files import read_prototypes, write_prototypes
from sgear.prototypes.texts import action_texts
from sgear.taxonomy import Taxonomy


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
        header: dict[str, object] = {
            "texts": list(self.texts),
            "encoder": self.encoder,
            "revision": self.revision,
        }
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
        encoder: `offline`, a local folder, or a name on the hub; see `sgear.prototypes.encoders.load_encoder`.
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
