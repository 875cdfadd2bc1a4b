"""Folders and tar files of images that say their own number."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from coded_videos import HEIGHT, WIDTH, image_of
from numpy.typing import NDArray
from PIL import Image


def image_bytes(
    number: int,
    *,
    suffix: str = ".jpg",
    size: tuple[int, int] = (HEIGHT, WIDTH),
    image: Callable[[int, int, int], NDArray[np.uint8]] = image_of,
) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image(number, *size)).save(buffer, "PNG" if suffix == ".png" else "JPEG", quality=98)
    return buffer.getvalue()


def make_folder(root: Path, numbers: Iterable[int], *, prefix: str = "frame_", suffix: str = ".jpg") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (root / f"{prefix}{number:010d}{suffix}").write_bytes(image_bytes(number, suffix=suffix.lower()))
    return root


def make_tar(
    path: Path,
    numbers: Iterable[int],
    *,
    prefix: str = "./frame_",
    suffix: str = ".jpg",
    layout: int = tarfile.PAX_FORMAT,
) -> Path:
    with tarfile.open(path, "w", format=layout) as archive:
        for number in numbers:
            add_member(archive, f"{prefix}{number:010d}{suffix}", image_bytes(number, suffix=suffix.lower()))
    return path


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
