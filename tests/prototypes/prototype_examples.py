"""Small vocabularies, a tiny sentence encoder, and files that must be refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from sgear.taxonomy import Taxonomy

SALAD = Taxonomy.from_labels(["add_oil", "cut_cheese", "cut_tomato", "place_tomato_into_bowl"])
WORDS = ("add", "oil", "cut", "cheese", "tomato", "place", "into", "bowl")


class Bomb:
    """Writes a file where a pickle of it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def write_bomb(path: Path, victim: Path, *, as_zip: bool) -> None:
    if as_zip:
        torch.save({0: Bomb(victim)}, path)
    else:
        path.write_bytes(pickle.dumps({0: Bomb(victim)}, protocol=2))


def write_tiny_encoder(folder: Path) -> Path:
    """Save a random BERT of two layers with a vocabulary of its own, as transformers saves it."""
    from sgear.torchvision_guard import guard_torchvision

    guard_torchvision()
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "words.txt"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    vocabulary.write_text("\n".join(tokens), encoding="utf-8")
    BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(folder)
    return folder
