"""What the values of an LMDB are: float32 of any kind is taken, all else is named, and read where it can be."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from feature_examples import make_lmdb, random_rows
from numpy.typing import NDArray
from typer.testing import CliRunner

from sgear.cli.features import app
from sgear.errors import FeatureError, FeatureWidthError
from sgear.features import FeatureStore, LmdbFeatures, LmdbLayout

ROWS = {
    "both signs": random_rows(3, 1024),
    "rectified": np.maximum(random_rows(3, 1024), 0),
    "positive, of one size": 0.8 + 0.1 * random_rows(3, 1024),
    "of many sizes": np.exp(2 * random_rows(3, 1024)),
    "few of them": np.where(random_rows(3, 352) > 1.2, random_rows(3, 352, seed=1), 0).astype(np.float32),
    "narrow": random_rows(3, 128),
}


def to_bfloat16(rows: NDArray) -> NDArray[np.uint16]:
    return torch.from_numpy(np.ascontiguousarray(rows)).bfloat16().view(torch.uint16).numpy()


def saved(row: NDArray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, row)
    return stream.getvalue()


def zipped(row: NDArray) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("row", row.tobytes())
    return stream.getvalue()


def numbered(values) -> dict[str, bytes]:
    return {f"v_frame_{n:010d}.jpg": bytes(value) for n, value in enumerate(values)}


WRITERS = {
    "float64": lambda row: row.astype(np.float64).tobytes(),
    "float16": lambda row: row.astype(np.float16).tobytes(),
    "bfloat16": lambda row: to_bfloat16(row).tobytes(),
    "npy": saved,
}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("dtype", WRITERS)
def test_values_of_another_type_are_named_and_read_when_they_are_called_so(tmp_path, dtype, kind):
    rows = ROWS[kind]
    path = make_lmdb(tmp_path / "my data (1)", numbered(map(WRITERS[dtype], rows)))
    with pytest.raises(FeatureWidthError, match=r"looks like \w+, .* --out STORE --lmdb-dtype") as raised:
        LmdbFeatures(path)
    assert f"sgear features import '{path}' --out" in str(raised.value)
    # Numbers of one size leave it open which of the two types of 16 bits they are.
    wrong = {"float16": "bfloat16"}.get(dtype) if kind == "positive, of one size" else None
    assert f"--lmdb-dtype {wrong or dtype}" in str(raised.value)
    assert dtype in str(raised.value)
    told = CliRunner().invoke(app, ["import", str(path), "--out", str(tmp_path / "s"), "--lmdb-dtype", dtype])
    assert told.exit_code == 0, told.output
    store = FeatureStore(tmp_path / "s")
    read = store["v"].read(np.arange(3) / 30)[0]
    tolerance = {"float16": 1e-3, "bfloat16": 1e-2}.get(dtype, 0.0)
    np.testing.assert_allclose(read, rows, rtol=tolerance, atol=1e-7 if dtype == "float16" else 0)
    assert f"values {dtype}" in store.description.preprocessing


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda row: (np.clip(np.abs(row) / 4, 0, 1) * 255).astype(np.uint8).tobytes(), "uint8"),
        (lambda row: (1000 * row).astype(np.int32).tobytes(), "int32"),
        (lambda row: (1000 * row).astype(np.int64).tobytes(), "int32 or int64"),
        (lambda row: row.astype(">f4").tobytes(), "float32 in the other order of bytes"),
        *((lambda row, protocol=protocol: pickle.dumps(row, protocol), "a pickle") for protocol in (2, 3, 4, 5)),
        (zipped, "a zip archive"),
        (lambda row: b"\xff\xd8\xff\xe0" + row.tobytes(), "a jpeg image"),
    ],
)
@pytest.mark.parametrize("kind", ["both signs", "rectified"])
def test_what_cannot_be_read_is_named(tmp_path, write, name, kind):
    path = make_lmdb(tmp_path / "db", numbered(map(write, ROWS[kind])))
    with pytest.raises(FeatureWidthError, match=rf"looks like {name}.*export it again as float32 buffers$"):
        LmdbFeatures(path)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize(
    "make",
    [
        lambda rows: rows,
        lambda rows: rows.astype(np.float16),
        lambda rows: to_bfloat16(rows).astype(np.uint32) << 16,
        lambda rows: np.round(255 * rows) / 255,
        np.sign,
        lambda rows: 1e6 * rows,
        lambda rows: 1e-6 * rows,
    ],
)
def test_float32_is_taken_whatever_it_was_made_of(tmp_path, make, kind):
    rows = make(ROWS[kind])
    rows = rows.view(np.float32) if rows.dtype == np.uint32 else rows.astype(np.float32)
    features = LmdbFeatures(make_lmdb(tmp_path / "db", numbered(row.tobytes() for row in rows)))
    assert np.array_equal(features["v"].read(np.arange(3) / 30)[0], rows)
    features["v"].verify()


def test_posteriors_that_vanish_are_taken_as_they_are(tmp_path):
    logits = 30 * random_rows(30, 3806)
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert (rows < 1e-12).mean() > 0.5
    for name, made in (("db", rows), ("upper", (to_bfloat16(rows).astype(np.uint32) << 16).view(np.float32))):
        LmdbFeatures(make_lmdb(tmp_path / name, numbered(row.tobytes() for row in made)))["v"].verify()


def test_rows_of_another_type_behind_one_of_zeros_are_found_by_verify_and_import(tmp_path):
    rows = np.maximum(random_rows(60, 192), 0).astype(np.float16)
    rows[0] = 0
    path = make_lmdb(tmp_path / "db", numbered(row.tobytes() for row in rows))
    with pytest.raises(FeatureError, match="looks like float16"):
        LmdbFeatures(path)["v"].verify()
    with pytest.raises(FeatureError, match="looks like float16"):
        CliRunner().invoke(app, ["import", str(path), "--out", str(tmp_path / "s")], catch_exceptions=False)


def test_an_object_in_an_npy_value_is_never_made(tmp_path):
    value = saved(np.array([{}], dtype=object))
    path = make_lmdb(tmp_path / "db", numbered([value]))
    with pytest.raises(FeatureError, match="no whole npy array of numbers, and nothing else is read"):
        LmdbFeatures(path, LmdbLayout(dtype="npy"))
    for value, words in ((saved(np.zeros(8, np.int64)), "holds int64"), (saved(np.zeros((2, 4))), r"shape \(2, 4\)")):
        path = make_lmdb(tmp_path / "other", numbered([value]))
        with pytest.raises(FeatureError, match=words):
            LmdbFeatures(path, LmdbLayout(dtype="npy"))
    with pytest.raises(FeatureError, match="which is no row of npy numbers"):
        LmdbFeatures(make_lmdb(tmp_path / "raw", numbered([bytes(64)])), LmdbLayout(dtype="npy"))


def test_the_given_cases_are_named(real_data, tmp_path):
    folder = real_data / "cases" / "06_lmdb_serialised_values"
    for name, words in (("npy", "--lmdb-dtype npy"), ("bf16", "--lmdb-dtype bfloat16"), ("pickle4", "a pickle")):
        with pytest.raises(FeatureWidthError, match=words):
            LmdbFeatures(folder / f"lmdb_{name}")
    assert LmdbFeatures(folder / "lmdb_bf16", LmdbLayout(dtype="bfloat16")).width == 1024
    assert LmdbFeatures(folder / "lmdb_npy", LmdbLayout(dtype="npy")).width == 1024


def test_real_features_are_float32(real_data, tmp_path):
    files = sorted((real_data / "50salads").rglob("*.npz"))
    assert files
    for number, file in enumerate(files[:: max(1, len(files) // 20)]):
        with np.load(file, allow_pickle=False) as loaded:
            rows = loaded["features"].astype(np.float32)
        values = numbered(np.ascontiguousarray(row).tobytes() for row in rows[:200])
        LmdbFeatures(make_lmdb(tmp_path / str(number), values))["v"].verify()


def test_values_are_read_by_nothing_that_unpickles(tmp_path):
    """A pickle that would act when it is loaded lies there under every type that values can be read as."""

    class Acts:
        def __reduce__(self):
            return (open, (str(tmp_path / "acted"), "w"))

    for protocol in (2, 4, 5):
        path = make_lmdb(tmp_path / f"db{protocol}", numbered([pickle.dumps(Acts(), protocol)]))
        for dtype in ("float32", "float16", "bfloat16", "float64", "npy"):
            with pytest.raises(FeatureWidthError):
                LmdbFeatures(path, LmdbLayout(dtype=dtype))
    assert not (tmp_path / "acted").exists()
