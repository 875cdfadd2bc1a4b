"""Files that others wrote: plain predictions are read, the rest is named, and nothing hangs or is executed."""

import json
import os
import pickle
import random
import re
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from epic_miniature import write_epic100
from whole_command import run_here

from sgear.cli.compare import run_compare, run_fuse
from sgear.cli.predictions import evaluate_file, load_predictions
from sgear.datasets import load_dataset
from sgear.datasets.epic import load_epic100
from sgear.errors import PredictionError, RunError, SgearError
from sgear.kitchen import KitchenConfig, make_world, write_annotations
from sgear.models.conversion import read_checkpoint
from sgear.models.encoders.timm import load_vit_weights
from sgear.models.pretrained import load_model
from sgear.predictions import Predictions
from sgear.predictions.other_code import read_submission
from sgear.prototypes.files import kind_of_file
from sgear.prototypes.original import read_class_names, read_tensors
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol, RecognitionProtocol

PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0).to_dict()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kitchen")
    world = make_world(KitchenConfig(num_train_videos=4, num_validation_videos=2, actions_per_video=20))
    write_annotations(world, folder / "annotations")
    return folder


@pytest.fixture(scope="module")
def benchmark_(root: Path):
    return load_dataset("kitchen", root)


@pytest.fixture(scope="module")
def scores(benchmark_) -> np.ndarray:
    shape = (len(benchmark_.validation), benchmark_.taxonomy.num_actions)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture
def table(benchmark_, scores, tmp_path) -> Path:
    return save_table(tmp_path / "own.safetensors", benchmark_, scores)


def save_table(path: Path, benchmark, scores, **changes) -> Path:
    segments = benchmark.validation
    fields = {
        "uids": tuple(segments.uids),
        "logits": scores,
        "targets": segments.column("action_id"),
        "taxonomy": benchmark.taxonomy,
        "protocol": PROTOCOL,
    }
    Predictions(**(fields | changes)).save(path)
    return path


def as_npz(path: Path, uids, scores, **more) -> None:
    np.savez(path, uids=np.array(uids, dtype=str), scores=scores, **more)


def as_bytes_npz(path: Path, uids, scores) -> None:
    np.savez(path, uids=np.array(uids, dtype="S"), scores=scores.astype(np.float16))


def as_json(path: Path, uids, scores) -> None:
    path.write_text(json.dumps({"uids": list(uids), "scores": scores.tolist()}))


def as_json_of_rows(path: Path, uids, scores) -> None:
    path.write_text(json.dumps(dict(zip(uids, scores.tolist(), strict=True))))


def as_csv(path: Path, uids, scores) -> None:
    rows = [",".join([uid, *map(repr, row)]) for uid, row in zip(uids, scores.tolist(), strict=True)]
    path.write_text("\n".join([",".join(["uid", *map(str, range(scores.shape[1]))]), *rows]) + "\n")


@pytest.mark.parametrize(
    ("write", "name"),
    [(as_npz, "p.npz"), (as_bytes_npz, "p.npz"), (as_json, "p.json"), (as_json_of_rows, "p.json"), (as_csv, "p.csv")],
)
def test_a_plain_file_is_read_as_the_table_that_it_holds(write, name, benchmark_, scores, tmp_path):
    uids = benchmark_.validation.uids
    order = np.random.default_rng(1).permutation(len(uids))
    write(tmp_path / name, [uids[row] for row in order], scores[order])
    found = load_predictions(tmp_path / name, benchmark=benchmark_).aligned_to(tuple(uids))
    precise = scores.astype(np.float16) if write is as_bytes_npz else scores
    assert np.array_equal(found.logits, precise.astype(np.float32))
    assert np.array_equal(found.targets, benchmark_.validation.column("action_id"))
    assert found.protocol == {"kind": "unstated"}


def test_probabilities_become_logits_and_heads_are_read(benchmark_, scores, tmp_path):
    uids, verbs = benchmark_.validation.uids, len(benchmark_.taxonomy.verbs)
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    as_npz(tmp_path / "p.npz", uids, probs, verb_scores=-np.ones((len(uids), verbs)), protocol=json.dumps(PROTOCOL))
    found = load_predictions(tmp_path / "p.npz", benchmark=benchmark_)
    np.testing.assert_allclose(found.probs, probs, rtol=1e-5)
    assert found.verb_logits.shape == (len(uids), verbs)
    assert found.protocol == PROTOCOL


@pytest.mark.data
def test_scores_of_real_segments_come_through_unchanged(real_data, draw_golden_scores, tmp_path):
    root = real_data / "epic-kitchens-100-annotations"
    benchmark = load_epic100(root, train_name="EPIC_100_train_rebuilt.csv")
    table = draw_golden_scores(benchmark, 0, PROTOCOL)
    heads = {"verb_scores": table.verb_logits, "noun_scores": table.noun_logits}
    as_npz(tmp_path / "p.npz", table.uids, table.logits, **heads, protocol=json.dumps(PROTOCOL))
    found = load_predictions(tmp_path / "p.npz", benchmark=benchmark)
    for name in ("logits", "verb_logits", "noun_logits", "targets"):
        assert np.array_equal(getattr(found, name), getattr(table, name)), name
    assert (found.uids, found.protocol) == (table.uids, table.protocol)


def test_every_command_reads_the_same_file(root, benchmark_, scores, table, tmp_path):
    as_npz(tmp_path / "p.npz", benchmark_.validation.uids, scores, protocol=json.dumps(PROTOCOL))
    where, out = ("--dataset", "kitchen", "--root", root), tmp_path / "fused.safetensors"
    for words in (
        ("evaluate", tmp_path / "p.npz", *where),
        ("compare", tmp_path / "p.npz", table, *where, "--json"),
        ("fuse", tmp_path / "p.npz", table, "--out", out, *where),
    ):
        done = run_here(*words, columns=300)
        assert done.returncode == 0, done.stderr
    assert np.array_equal(Predictions.load(out).targets, benchmark_.validation.column("action_id"))
    for words in (("compare", tmp_path / "p.npz", table), ("fuse", tmp_path / "p.npz", table, "--out", out)):
        assert "a numpy archive (.npz); name its data set with --dataset" in run_here(*words).stderr


def test_numbers_without_a_protocol_are_marked_and_stand_alone(root, benchmark_, scores, table, tmp_path, capsys):
    one, other = tmp_path / "a.npz", tmp_path / "b.npz"
    for path in (one, other):
        as_npz(path, benchmark_.validation.uids, scores)
    report = tmp_path / "report.json"
    evaluate_file(one, dataset="kitchen", root=root, dataset_split=1, granularity="mid", out=report)
    assert json.loads(report.read_text())["is_benchmark"] is False
    run_compare(one, other, False, dataset="kitchen", root=root, num_resamples=20)
    run_fuse([one, other], None, "probs", tmp_path / "f.safetensors", dataset="kitchen", root=root)
    assert capsys.readouterr().out.count("does not say what its model saw") == 3
    assert Predictions.load(tmp_path / "f.safetensors").protocol == {"kind": "unstated"}
    with pytest.raises(PredictionError, match=r"kind unstated and anticipation, .*; state the protocol in the file"):
        run_compare(one, table, False, dataset="kitchen", root=root)


def test_recognition_is_no_anticipation_in_any_command(root, benchmark_, scores, tmp_path, capsys):
    protocol = RecognitionProtocol(num_steps=4).to_dict()
    files = [save_table(tmp_path / f"{name}.safetensors", benchmark_, scores, protocol=protocol) for name in "ab"]
    report = tmp_path / "report.json"
    evaluate_file(files[0], dataset="kitchen", root=root, dataset_split=1, granularity="mid", out=report)
    assert json.loads(report.read_text())["is_benchmark"] is False
    run_compare(*files, False, num_resamples=20)
    run_fuse(files, None, "probs", tmp_path / "f.safetensors")
    assert capsys.readouterr().out.count("the model saw the action itself") == 3


class Bomb:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self):
        return os.mkdir, (str(self.touched),)


def submission(path: Path, uids, scores) -> None:
    path.write_text(json.dumps({"version": "0.2", "results": {uid: {"verb": {"0": 1.0}} for uid in uids}}))


def zipped(path: Path, uids, scores) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test.json", "{}")


def repeated(path: Path, uids, scores) -> None:
    as_csv(path, [uids[0], *uids[:-1]], scores)


REFUSED: dict[str, tuple[Callable[..., object], str]] = {
    "array.npy": (lambda path, uids, scores: np.save(path, scores), r"a single numpy array \(\.npy\), which has no"),
    "bare.npz": (lambda path, uids, scores: np.savez(path, logits=scores), "expected uids and scores.*; got logits"),
    "objects.npz": (
        lambda path, uids, scores: np.savez(path, uids=np.array(uids, dtype=object), scores=scores, allow_pickle=True),
        r"not a whole \.npz of plain arrays .*nothing in it was executed",
    ),
    "cut.npz": (lambda path, uids, scores: (as_npz(path, uids, scores), os.truncate(path, 900)), "zip archive"),
    "tensors.pth": (
        lambda path, uids, scores: torch.save({"uids": list(uids), "scores": torch.from_numpy(scores)}, path),
        "a file of torch.save, which is a pickle",
    ),
    "scores.pkl": (lambda path, uids, scores: path.write_bytes(pickle.dumps({"logits": scores})), "a pickle, which"),
    "scores.h5": (lambda path, uids, scores: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "an HDF5 file"),
    "p.parquet": (lambda path, uids, scores: pl.DataFrame({"uid": list(uids)}).write_parquet(path), "a parquet file"),
    "mine.json": (submission, r"a submission, .*read_submission \(docs/submissions\.md, section 5\)"),
    "mine.zip": (zipped, r"a zipped submission; read it with read_submission"),
    "bare.csv": (lambda path, uids, scores: np.savetxt(path, scores, delimiter=","), "first line must be uid,0,1"),
    "twice.csv": (repeated, "uid '.*' occurs more than once"),
    "twice.json": (
        lambda path, uids, scores: path.write_text('{"a": [1.0], "a": [2.0]}'),
        "uid 'a' occurs more than once",
    ),
    "list.json": (lambda path, uids, scores: path.write_text(json.dumps(scores.tolist())), r'expected \{"uids"'),
    "cut.json": (lambda path, uids, scores: path.write_text('{"a": [1.0, '), "not JSON"),
    "ragged.json": (lambda path, uids, scores: path.write_text('{"a": [1.0], "b": [1.0, 2.0]}'), "not of one length"),
    "words.csv": (lambda path, uids, scores: path.write_text("uid,0\na,x\n"), "a line does not hold a uid and 1 numb"),
    "other.npz": (
        lambda path, uids, scores: as_npz(path, ["x", *uids[1:]], scores),
        "1 of 40 uids are of no .*'x'",
    ),
    "narrow.npz": (lambda path, uids, scores: as_npz(path, uids, scores[:, 1:]), "expected logits"),
    "flat.npz": (lambda path, uids, scores: as_npz(path, uids, scores[:, 0]), "must be numbers"),
    "nan.npz": (lambda path, uids, scores: as_npz(path, uids, scores * np.nan), "not finite"),
    "huge.npz": (lambda path, uids, scores: as_npz(path, uids, scores.astype(float) * 1e35), "scores beyond 1e"),
    "odd.npz": (
        lambda path, uids, scores: as_npz(path, uids, scores, protocol="tau_a=1"),
        "protocol must be an object",
    ),
    "kind.npz": (
        lambda path, uids, scores: as_npz(path, uids, scores, protocol='{"kind": "x"}'),
        "unknown protocol kind",
    ),
    "list.npz": (lambda path, uids, scores: as_npz(path, uids, scores, protocol='{"kind": []}'), "protocol must be an"),
    "noise.bin": (lambda path, uids, scores: path.write_bytes(bytes(range(256))), "damaged predictions file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_file_is_refused_by_name_and_says_what_to_do(name, benchmark_, scores, root, tmp_path):
    write, message = REFUSED[name]
    write(tmp_path / name, benchmark_.validation.uids, scores)
    with pytest.raises(PredictionError, match=rf"{name}: .*{message}") as caught:
        load_predictions(tmp_path / name, benchmark=benchmark_)
    assert "\n" not in str(caught.value)
    with pytest.raises(PredictionError, match=name):
        Predictions.load(tmp_path / name)


def as_packed_npz(path: Path, uids, scores) -> None:
    np.savez_compressed(path, uids=np.array(uids, dtype=str), scores=scores, protocol=json.dumps(PROTOCOL))


@pytest.mark.parametrize("write", [as_npz, as_packed_npz, as_json, as_json_of_rows, as_csv])
def test_any_changed_bytes_are_read_or_refused_in_one_line(write, benchmark_, scores, tmp_path):
    file, rng = tmp_path / "p.bin", random.Random(0)
    whole = tmp_path / ("p.npz" if write in (as_npz, as_packed_npz) else "p.txt")
    write(whole, benchmark_.validation.uids[:3], scores[:3])
    refused = []
    for number in range(200):
        content = bytearray(whole.read_bytes())
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.choice([rng.randrange(256), *b',"{}[]-'])
        file.write_bytes(content[: rng.randint(1, len(content))] if number % 3 == 0 else content)
        try:
            load_predictions(file, benchmark=benchmark_)
        except SgearError as err:
            refused.append(str(err))
    assert len(refused) > 60
    assert not any("\n" in text or len(text) > 700 for text in refused)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("p.npz", "expected uids and scores, perhaps verb_scores, noun_scores, protocol; got logits. numpy.savez(FILE"),
        ("p.csv", "the first line must be uid,0,1,...: a column for the uid and one for each action"),
        (
            "p.json",
            "p.json: expected logits (1, 43) for 1 uids and 43 actions, and as many targets; got logits (1",
        ),
        ("p.pkl", "not a predictions file of sgear but a pickle, which could execute anything; numpy.savez(FILE, uids"),
    ],
)
def test_the_cases_that_others_met_are_answered(name, message, real_data, root):
    file = real_data / "cases" / "05_predictions_of_other_code" / name
    done = run_here("evaluate", file, "--dataset", "kitchen", "--root", root, columns=400)
    assert done.returncode == 2
    assert message in done.stderr
    assert "too large" not in done.stderr


# --- files that are none, and files that would execute code ---------------------------------------------------------


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Stop what hangs on a pipe."""

    def stop(signum, frame):
        raise TimeoutError("still waiting")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def commands_on(table, root, epic100, tmp_path):
    """Every command that reads a file of predictions, a submission, weights, prototypes or class names."""
    where, out = ("--dataset", "kitchen", "--root", root), tmp_path / "out"
    run = ("experiment=epic100/avt_tsn", "dataset.name=kitchen", f"dataset.root={root}", f"output_root={out}")
    language = ("prototypes", "language", *where, "--out", out / "l.safetensors")
    challenge = ("--dataset", "epic100", "--root", epic100)
    fused = ("--out", out / "f.safetensors")

    def commands(file: Path) -> list[tuple[object, ...]]:
        return [
            ("evaluate", file, *where),
            ("compare", file, table, *where),
            ("compare", table, file),
            ("fuse", table, file, *fused),
            ("fuse", table, table, "--search-on", table, "--search-on", file, *fused),
            ("submit", file, *challenge, "--check"),
            ("submit", file, *challenge, "--sls", "1 3 3", "--out", out / "s.zip"),
            ("import-weights", file, *run, "--class-names", "same-order"),
            (*language, "--original", file, "--class-names", file),
            ("prototypes", "inspect", file),
            ("report", file),
        ]

    return commands


@pytest.fixture(scope="module")
def epic100(tmp_path_factory) -> Path:
    return write_epic100(tmp_path_factory.mktemp("epic100"))


@pytest.mark.parametrize("kind", ["missing", "pipe", "device"])
def test_what_is_no_regular_file_is_refused_at_once_by_every_command(kind, commands_on, tmp_path):
    file = Path("/dev/zero") if kind == "device" else tmp_path / f"{kind}.npz"
    if kind == "pipe":
        os.mkfifo(file)
    for words in commands_on(file):
        with within(60):
            done = run_here(*words, columns=400)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
        assert re.search("no such|no regular file", done.stdout + done.stderr), (words, done.stderr)
    assert not (tmp_path / "out").exists()


def bombs(folder: Path, touched: Path) -> Iterator[Path]:
    """Files in every disguise that would leave a mark if they were unpickled."""
    bomb = Bomb(touched)
    for ending in ("npz", "npy", "json", "csv", "pth", "safetensors", "zip", "pkl", "txt"):
        path = folder / f"pickle.{ending}"
        path.write_bytes(pickle.dumps({"uids": bomb, "scores": bomb}))
        yield path
        path = folder / f"torch.{ending}"
        torch.save({"state_dict": bomb, "model": bomb, 0: bomb}, path)
        yield path
    torch.save({"model": bomb}, folder / "old.pth", _use_new_zipfile_serialization=False)
    yield folder / "old.pth"
    np.savez(folder / "objects.npz", uids=np.array([bomb]), scores=np.array([[bomb]]), allow_pickle=True)
    yield folder / "objects.npz"
    np.save(folder / "objects.npy", np.array([bomb]), allow_pickle=True)
    yield folder / "objects.npy"


def test_no_reader_executes_what_stands_in_a_file(benchmark_, tmp_path):
    touched, vit = tmp_path / "touched", torch.nn.Linear(1, 1)
    readers = [
        Predictions.load,
        lambda path: load_predictions(path, benchmark=benchmark_),
        lambda path: read_submission(path, uids=[], taxonomy=EPIC, protocol=PROTOCOL),
        read_checkpoint,
        lambda path: load_vit_weights(vit, path),
        read_tensors,
        read_class_names,
        kind_of_file,
        lambda path: load_model(model_folder(path, tmp_path)),
    ]
    for file in bombs(tmp_path, touched):
        for read in readers:
            with pytest.raises(SgearError):
                read(file)
            assert not touched.exists(), (file, read)


EPIC = Taxonomy(tuple(map(str, range(97))), tuple(map(str, range(300))), tuple((verb, 0) for verb in range(97)))


def model_folder(file: Path, tmp_path: Path) -> Path:
    """A model of which weights and description are a file."""
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    for name in ("model.json", "weights.safetensors"):
        (folder / name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("number", [-3, -2])
def test_no_command_executes_what_stands_in_a_file(number, commands_on, tmp_path):
    touched = tmp_path / "touched"
    file = list(bombs(tmp_path, touched))[number]
    for words in commands_on(file):
        done = run_here(*words, columns=200)
        assert done.returncode == 2, words
        assert not touched.exists(), words
        assert "Traceback" not in done.stderr, (words, done.stderr)


# --- runs whose files are of several runs ---------------------------------------------------------------------------


def test_predictions_of_another_protocol_than_their_run_are_refused(benchmark_, scores, table, tmp_path):
    run = tmp_path / "run"
    (run / "predictions").mkdir(parents=True)
    (run / "config.yaml").write_text("protocol: {tau_a_s: 0.5}\n")
    save_table(run / "predictions" / "validation.safetensors", benchmark_, scores)
    message = r"run: config\.yaml and validation\.safetensors state different protocols \(tau_a_s 0\.5 and 1\.0\)"
    with pytest.raises(RunError, match=message):
        run_compare(run, table, False)
    with pytest.raises(RunError, match=message):
        run_fuse([table, run], None, "probs", tmp_path / "f.safetensors")
