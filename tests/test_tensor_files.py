"""Files of tensors from others: read whole and plain by every reader, or refused in one line, and never executed."""

import io
import os
import random
import string
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors

from sgear.errors import PrototypeError, RunError, SgearError
from sgear.models.conversion import read_checkpoint
from sgear.models.encoders.timm import load_vit_weights
from sgear.prototypes.original import read_tensors
from sgear.tensor_files import load_plain
from sgear.torchvision_guard import import_timm


@pytest.fixture(scope="module")
def vit() -> torch.nn.Module:
    sizes = {"embed_dim": 8, "depth": 1, "num_heads": 1, "patch_size": 8, "img_size": (16, 16)}
    return import_timm().create_model("vit_tiny_patch16_224", num_classes=0, **sizes)


@pytest.fixture(params=["checkpoint", "vit", "encodings"])
def read(request, vit):
    """Each of the readers of the package."""
    readers = {
        "checkpoint": read_checkpoint,
        "vit": lambda path: load_vit_weights(vit, path),
        "encodings": read_tensors,
    }
    return readers[request.param]


class Bomb:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self):
        return os.mkdir, (str(self.touched),)


def dumped(values: object, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(values, buffer, **options)
    return buffer.getvalue()


def mutations(number: int, seed: int = 0) -> list[bytes]:
    """Return valid files with changed bytes, cut or not, and texts with every first letter."""
    values = {0: torch.ones(3), 1: torch.ones(3)}
    bases = [dumped(values), dumped(values, _use_new_zipfile_serialization=False)]
    rng = random.Random(seed)
    cases = [f"{first}ello world, a text file\n".encode() for first in string.printable]
    for position in range(number):
        content = bytearray(rng.choice(bases))
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        cases.append(bytes(content[: rng.randint(1, len(content))] if position % 3 == 0 else content))
    return cases


def refusals(read, contents: list[bytes], path: Path) -> list[str]:
    """Return what the reader says of files that it refuses; anything but a `SgearError` comes through."""
    said = []
    for content in contents:
        path.write_bytes(content)
        try:
            read(path)
        except SgearError as err:
            said.append(str(err))
    return said


def test_any_bytes_are_read_or_refused_in_one_clean_line(read, tmp_path):
    said = refusals(read, mutations(500), tmp_path / "file.pth")
    assert len(said) > 300
    for text in said:
        assert "weights_only" not in text
        assert "\n" not in text
        assert len(text) < 700


def test_any_changed_byte_of_a_safetensors_file_is_read_or_refused(read, tmp_path):
    base = save_safetensors({"a": torch.ones(3), "b": torch.ones(2, 2)})
    rng, contents = random.Random(1), []
    for position in range(120):
        content = bytearray(base)
        content[rng.randrange(len(content))] = rng.randrange(256)
        contents.append(bytes(content[: rng.randint(1, len(content))] if position % 3 == 0 else content))
    said = refusals(read, contents, tmp_path / "file.safetensors")
    assert len(said) > 30
    assert not any("\n" in text for text in said)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_code_is_refused_by_name_and_not_executed(read, tmp_path, options):
    touched = tmp_path / "touched"
    (tmp_path / "bad.pth").write_bytes(dumped({0: Bomb(touched)}, **options))
    with pytest.raises(SgearError, match=r"bad\.pth: .*it names posix.mkdir, which is no tensor.*nothing in it was ex"):
        read(tmp_path / "bad.pth")
    assert not touched.exists()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (lambda: torch.eye(3).to_sparse(), "without plain values"),
        (lambda: torch.eye(3).to_sparse_csr(), "without plain values"),
        (lambda: torch.ones(3, device="meta"), "without plain values"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "without plain values"),
        (lambda: torch.ones(3, dtype=torch.complex64), "of torch.complex64"),
        (lambda: torch.ones(3).to(torch.float8_e4m3fn), "of torch.float8_e4m3fn"),
        (lambda: torch.ones(1).expand(1 << 40), "of shape .*, larger than the bytes behind it"),
    ],
)
def test_tensors_without_plain_values_are_refused(read, tmp_path, tensor, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({0: tensor()}, tmp_path / "odd.pth")
    with pytest.raises(SgearError, match=f"holds a tensor {message}.*save plain tensors|it names torch"):
        read(tmp_path / "odd.pth")


def test_tensors_are_found_at_any_depth(tmp_path):
    torch.save({"state": [{"a": (torch.ones(2, device="meta"),)}]}, tmp_path / "deep.pth")
    with pytest.raises(RunError, match="on meta"):
        load_plain(tmp_path / "deep.pth", error=RunError)


def test_numbers_of_numpy_may_stand_beside_tensors(tmp_path):
    torch.save({"a": torch.ones(2), "score": np.float64(1.5), "epoch": np.int64(3)}, tmp_path / "a.pth")
    stored = load_plain(tmp_path / "a.pth", error=RunError)
    assert (float(stored["score"]), int(stored["epoch"])) == (1.5, 3)


def test_the_error_is_of_the_class_that_the_reader_asks_for(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"hello")
    for error in (RunError, PrototypeError):
        with pytest.raises(error, match="not a whole, plain file of tensors"):
            load_plain(tmp_path / "a.pth", error=error)


def test_weights_of_googles_vit_are_told_what_to_do(vit, tmp_path):
    np.savez(tmp_path / "ViT-B_16.npz", embedding=np.ones(3))
    with pytest.raises(RunError, match=r"ViT-B_16\.npz: a \.npz file.*model\.encoder\.pretrained=true"):
        load_vit_weights(vit, tmp_path / "ViT-B_16.npz")
