"""`sgear fuse`, `compare`, `submit` and `check`: tables for people, files for machines, one line for every mistake."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from epic_miniature import write_epic100

from sgear.cli.compare import run_compare, run_fuse
from sgear.cli.submit import run_check, run_submit
from sgear.datasets import load_dataset
from sgear.errors import ConfigError, PredictionError, SgearError
from sgear.predictions import Predictions, late_fuse
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol, VJepaProtocol

TAXONOMY = Taxonomy(
    verbs=("take", "cut", "put"), nouns=("knife", "onion"), action_pairs=((0, 0), (0, 1), (1, 1), (2, 0))
)
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0).to_dict()


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")


def save(path: Path, seed: int, prefix: str = "v", **changes) -> Path:
    rng = np.random.default_rng(seed)
    fields = {
        "uids": tuple(f"{prefix}_{index}" for index in range(30)),
        "logits": rng.normal(size=(30, 4)).astype(np.float32),
        "targets": np.arange(30) % 4,
        "taxonomy": TAXONOMY,
        "protocol": PROTOCOL,
        "provenance": {"model": f"m{seed}"},
    }
    Predictions(**(fields | changes)).save(path)
    return path


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [save(tmp_path / "camera.safetensors", 1), save(tmp_path / "hand.safetensors", 2)]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run-1"
    folder.mkdir()
    (folder / "config.yaml").write_text("{}\n")
    save(folder / "predictions" / "validation.safetensors", 2)
    return folder


def test_fusing_writes_the_fused_table_and_prints_the_scores(two, tmp_path, capsys):
    out = tmp_path / "fused.safetensors"
    run_fuse(two, [2.5, 0.5], "probs", out)
    tables = [Predictions.load(path) for path in two]
    assert np.array_equal(Predictions.load(out).logits, late_fuse(tables, [2.5, 0.5]).logits)
    printed = capsys.readouterr().out
    assert "camera" in printed
    assert "2.5" in printed
    assert "recall@5" in printed


@pytest.mark.parametrize("searches", [False, True])
def test_names_of_models_are_whole_on_a_narrow_screen(tmp_path, capsys, monkeypatch, searches):
    monkeypatch.setenv("COLUMNS", "80")
    names = ["epic100-tsn", "epic100-tsn-obj", "a[b]c-" + "x" * 120]
    files = [save(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate(names)]
    held_out = [save(tmp_path / f"h{seed}.safetensors", seed, prefix="h") for seed in range(3)] if searches else None
    out = tmp_path / "out" / "fused.safetensors"
    run_fuse(files, None, "probs", out, search_on=held_out, num_steps=2)
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if not line.startswith("wrote")]
    assert max(map(len, rows)) <= 80
    assert "epic100-tsn " in printed
    assert "epic100-tsn-obj" in printed
    assert names[2] in "".join(line.split(" ")[1] for line in rows if line.startswith((" a[b]", " x")))
    assert f"wrote {out}" in printed


def test_a_comparison_shows_each_row_on_one_line_of_a_narrow_screen(two, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run_compare(*two, False, num_resamples=50)
    rows = [line for line in capsys.readouterr().out.splitlines() if "recall@5 " in line and " .. " in line]
    assert len(rows) == 3


def test_a_run_directory_stands_for_its_predictions(two, run_folder, tmp_path):
    run_fuse([two[0], run_folder], [1.0, 1.0], "logits", tmp_path / "a.safetensors")
    run_fuse(two, [1.0, 1.0], "logits", tmp_path / "b.safetensors")
    fused = [Predictions.load(tmp_path / f"{name}.safetensors") for name in "ab"]
    assert np.array_equal(fused[0].logits, fused[1].logits)


def test_verbs_and_nouns_take_weights_of_their_own(two, tmp_path):
    run_fuse(two, [1.0, 1.0], "probs", tmp_path / "a.safetensors", [1.0, 0.0], [0.0, 1.0])
    fused = Predictions.load(tmp_path / "a.safetensors")
    tables = [Predictions.load(path) for path in two]
    np.testing.assert_allclose(fused.field_probs("verb"), tables[0].field_probs("verb"), atol=1e-6)
    np.testing.assert_allclose(fused.field_probs("noun"), tables[1].field_probs("noun"), atol=1e-6)


def test_without_weights_models_count_alike(two, tmp_path):
    run_fuse(two, None, "probs", tmp_path / "a.safetensors")
    assert Predictions.load(tmp_path / "a.safetensors").provenance["weights"] == [1.0, 1.0]


def test_weights_are_searched_on_other_files(two, tmp_path, capsys):
    held_out = [save(tmp_path / f"h{seed}.safetensors", seed, prefix="h") for seed in (5, 6)]
    run_fuse(two, None, "probs", tmp_path / "a.safetensors", search_on=held_out, num_steps=4)
    note = Predictions.load(tmp_path / "a.safetensors").provenance["weights_searched_on"]
    assert set(note) == {"action", "verb", "noun"}
    assert "on 30 held-out segments" in capsys.readouterr().out


def test_weights_are_not_searched_on_the_reported_files(two, tmp_path):
    with pytest.raises(PredictionError, match="fitted to its noise"):
        run_fuse(two, None, "probs", tmp_path / "a.safetensors", search_on=two)
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"weights": [1.0]}, "--weights: expected one weight per table"),
        ({"weights": [1.0, -1.0]}, "--weights: weights must be finite"),
        ({"verb_weights": [1.0, 2.0, 3.0]}, "--verb-weights: expected one weight"),
        ({"rule": "scores"}, "--rule scores: choose one of probs, logits, ranks, avt"),
        ({"out": Path("fused.npz")}, "ends in .safetensors"),
        ({"search_on": [Path("x")]}, "--search-on needs one file per model"),
        ({"search_on": [Path("x"), Path("y")], "weights": [1.0, 1.0]}, "leave out --weights"),
        ({"metric": "loss"}, "--metric must be one of"),
        ({"files": [Path("a")]}, "at least two"),
        ({"files": [Path("absent.safetensors"), Path("b")]}, "absent.safetensors: no such file"),
    ],
)
def test_mistakes_of_fuse_are_one_line(two, tmp_path, options, text):
    given = {"files": two, "weights": None, "rule": "probs", "out": tmp_path / "a.safetensors"} | options
    with pytest.raises(SgearError) as caught:
        run_fuse(**given)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_input_is_never_overwritten(two):
    with pytest.raises(ConfigError, match="one of the files to fuse"):
        run_fuse(two, None, "probs", two[0])


def test_a_folder_that_is_no_run_is_said_to_be_none(two, tmp_path):
    with pytest.raises(SgearError, match="not a run directory"):
        run_fuse([two[0], tmp_path], None, "probs", tmp_path / "a.safetensors")


def test_numbers_of_the_end_anchored_protocol_come_with_a_warning(tmp_path, capsys):
    protocol = VJepaProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=8.0).to_dict()
    files = [save(tmp_path / f"{seed}.safetensors", seed, protocol=protocol) for seed in (1, 2)]
    run_fuse(files, None, "probs", tmp_path / "a.safetensors")
    assert "the action is usually seen" in " ".join(capsys.readouterr().out.split())


def test_comparing_prints_scores_tests_and_classes(two, capsys):
    run_compare(*two, False, num_resamples=50)
    printed = capsys.readouterr().out
    for text in ("camera (1) against hand (2), 30 segments", "difference", "recall@5", "interval"):
        assert text in printed


def test_a_comparison_as_json_is_one_object(two, capsys):
    run_compare(*two, True, num_resamples=50)
    document = json.loads(capsys.readouterr().out)
    assert (document["first"], document["second"]) == ("camera", "hand")
    assert len(document["scores"]) == 9
    assert document["protocol"] == PROTOCOL


def test_protocols_that_differ_are_told_by_what_differs(two, tmp_path):
    protocol = AnticipationProtocol(tau_a_s=0.5, tau_o_s=10.0, fps=4.0).to_dict()
    other = save(tmp_path / "o.safetensors", 3, protocol=protocol)
    with pytest.raises(
        PredictionError, match=r"different protocols: tau_a_s 1\.0 and 0\.5, fps 1\.0 and 4\.0; train or"
    ):
        run_compare(two[0], other, False)


def test_what_must_not_be_compared_is_refused(two, tmp_path):
    other = save(tmp_path / "o.safetensors", 3, prefix="w")
    with pytest.raises(PredictionError, match="not about the same segments"):
        run_compare(two[0], other, False)


# --- submissions ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def epic100(tmp_path_factory) -> Path:
    return write_epic100(tmp_path_factory.mktemp("epic100"))


def epic100_predictions(root: Path, path: Path, split: str = "test", **changes) -> Path:
    benchmark = load_dataset("epic100", root)
    segments = benchmark.validation if split == "validation" else benchmark.tests[split]
    rng = np.random.default_rng(0)
    fields = {
        "uids": tuple(segments.uids),
        "logits": rng.normal(size=(len(segments), 150)).astype(np.float32),
        "targets": segments.column("action_id"),
        "taxonomy": benchmark.taxonomy,
        "protocol": PROTOCOL,
    }
    Predictions(**(fields | changes)).save(path)
    return path


def test_a_submission_is_written_checked_and_found_valid(epic100, tmp_path, capsys):
    out = tmp_path / "mine.zip"
    run_submit([epic100_predictions(epic100, tmp_path / "p.safetensors")], "epic100", out, (1, 3, 3), root=epic100)
    assert "6 segments" in capsys.readouterr().out
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["test.json"]
    assert run_check(out, "epic100", root=epic100)
    assert "a valid submission" in capsys.readouterr().out


def test_the_validation_split_can_be_written_for_a_local_check(epic100, tmp_path):
    file = epic100_predictions(epic100, tmp_path / "p.safetensors", "validation")
    out = tmp_path / "mine.json"
    run_submit([file], "epic100", out, (1, 3, 3), split="validation", root=epic100)
    assert run_check(out, "epic100", "validation", root=epic100)
    assert not run_check(out, "epic100", "test", root=epic100)


def test_a_run_directory_gives_its_predictions_of_the_test_split(epic100, run_folder, tmp_path):
    with pytest.raises(PredictionError, match="no predictions of the test split; make them with"):
        run_submit([run_folder], "epic100", tmp_path / "a.zip", (1, 3, 3), root=epic100)
    epic100_predictions(epic100, run_folder / "predictions" / "test.safetensors")
    run_submit([run_folder], "epic100", tmp_path / "a.zip", (1, 3, 3), root=epic100)
    assert (tmp_path / "a.zip").is_file()


def test_equal_scores_go_to_the_frequent_class_of_the_training_split(epic100, tmp_path):
    # Every action occurs once in training; verbs and nouns without an action occur never and tie at probability 0.
    file = epic100_predictions(epic100, tmp_path / "p.safetensors")
    run_submit([file], "epic100", tmp_path / "a.json", (1, 3, 3), root=epic100)
    scores = json.loads((tmp_path / "a.json").read_text())["results"]["P01_101_0"]["noun"]
    ranking = sorted(scores, key=scores.__getitem__, reverse=True)
    assert {int(key) for key in ranking[:10]} == set(range(10))


def test_a_faulty_submission_is_listed_and_not_valid(epic100, tmp_path, capsys):
    out = tmp_path / "mine.json"
    run_submit([epic100_predictions(epic100, tmp_path / "p.safetensors")], "epic100", out, (1, 3, 3), root=epic100)
    document = json.loads(out.read_text())
    document["version"] = "[red]9[/red]"
    document["results"]["x"] = document["results"].pop("P01_101_3")
    out.write_text(json.dumps(document))
    capsys.readouterr()
    assert not run_check(out, "epic100", root=epic100)
    printed = capsys.readouterr().out
    assert "'version' is '[red]9[/red]'; it must be the text '0.2'" in printed
    assert "the narration id is missing (1 segments: 'P01_101_3')" in printed
    assert "valid submission" not in printed


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dataset": "egtea"}, "there are challenges of epic100, epic55"),
        ({"sls": None}, "--sls needs three levels"),
        ({"sls": None}, "for example --sls '1 3 3';"),
        ({"sls": (1, 3, 9)}, "--sls needs three levels"),
        ({"split": "train"}, "epic100 has no split train"),
        ({"out": Path("mine.tar")}, "the ending .zip or .json"),
    ],
)
def test_mistakes_of_submit_are_one_line(epic100, tmp_path, options, text):
    file = epic100_predictions(epic100, tmp_path / "p.safetensors")
    given = {"dataset": "epic100", "out": tmp_path / "a.zip", "sls": (1, 3, 3), "root": epic100} | options
    with pytest.raises(SgearError) as caught:
        run_submit([file], **given)
    assert text in str(caught.value)


def test_predictions_of_another_split_or_vocabulary_are_not_submitted(epic100, tmp_path):
    file = epic100_predictions(epic100, tmp_path / "v.safetensors", "validation")
    with pytest.raises(PredictionError, match="none of the files holds predictions of the test split"):
        run_submit([file], "epic100", tmp_path / "a.zip", (1, 3, 3), root=epic100)
    uids = tuple(f"P01_101_{index}" for index in range(5))
    some = {"uids": uids, "logits": np.random.default_rng(0).normal(size=(5, 150)).astype(np.float32)}
    file = epic100_predictions(epic100, tmp_path / "f.safetensors", targets=np.full(5, -1), **some)
    with pytest.raises(PredictionError, match="1 uids missing"):
        run_submit([file], "epic100", tmp_path / "a.zip", (1, 3, 3), root=epic100)
    names = load_dataset("epic100", epic100).taxonomy
    other = Taxonomy(names.verbs, tuple(reversed(names.nouns)), names.action_pairs)
    file = epic100_predictions(epic100, tmp_path / "o.safetensors", taxonomy=other)
    with pytest.raises(PredictionError, match="another vocabulary"):
        run_submit([file], "epic100", tmp_path / "a.zip", (1, 3, 3), root=epic100)


def test_each_segment_is_submitted_from_one_file(epic100, tmp_path):
    files = [epic100_predictions(epic100, tmp_path / f"{name}.safetensors") for name in "ab"]
    with pytest.raises(PredictionError, match="2 files hold predictions of the test split"):
        run_submit(files, "epic100", tmp_path / "a.zip", (1, 3, 3), root=epic100)


@pytest.mark.data
def test_epic55_takes_a_file_of_predictions_per_test_split(real_data, tmp_path):
    source, root = real_data / "epic-kitchens-55-annotations", tmp_path / "annotations"
    root.mkdir()
    for file in source.glob("*.csv"):
        # The official files, with the first 40 segments of each test split.
        lines = file.read_text().splitlines(keepends=True)
        (root / file.name).write_text("".join(lines[:41] if "test" in file.name else lines))
    shutil.copytree(real_data / "rulstm" / "ek55", tmp_path / "rulstm")
    benchmark = load_dataset("epic55", root)
    files = []
    for split, first_uid in (("seen", "1924"), ("unseen", "15582")):
        uids = tuple(benchmark.tests[split].uids)
        assert uids[0] == first_uid
        table = Predictions(
            uids=uids,
            logits=np.random.default_rng(0).normal(size=(40, 2513)).astype(np.float32),
            targets=np.full(40, -1),
            taxonomy=benchmark.taxonomy,
            protocol=PROTOCOL,
        )
        files.append(tmp_path / f"{split}.safetensors")
        table.save(files[-1])
    run_submit(files, "epic55", tmp_path / "a.zip", None, root=root)
    assert run_check(tmp_path / "a.zip", "epic55", root=root)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for split in ("seen", "unseen"):
            assert archive.read(f"{split}.json").count(b'"noun":') == 40
    with pytest.raises(PredictionError, match="none of the files holds predictions of the unseen split"):
        run_submit(files[:1], "epic55", tmp_path / "b.zip", None, root=root)
    with pytest.raises(ConfigError, match="state no supervision levels"):
        run_submit(files, "epic55", tmp_path / "b.zip", (1, 3, 3), root=root)


def test_predictions_with_skipped_segments_are_named_by_fuse_and_compare_and_refused_by_submit(
    epic100, two, tmp_path, capsys
):
    missed = {"validation": {"v_3": "video.mp4: no such video"}}
    save(two[1], 2, provenance={"skipped": missed})
    run_fuse(two, None, "probs", tmp_path / "fused.safetensors")
    assert "not a benchmark number: 1 segment" in capsys.readouterr().out
    assert Predictions.load(tmp_path / "fused.safetensors").provenance["skipped"] == missed
    run_compare(*two, False)
    assert "warning: hand: not a benchmark number: 1 segment" in capsys.readouterr().out
    run_compare(*two, True)
    assert json.loads(capsys.readouterr().out)["is_benchmark"] is False
    file = epic100_predictions(epic100, tmp_path / "p.safetensors", provenance={"skipped": {"train": {"u": "lost"}}})
    with pytest.raises(PredictionError, match="not a benchmark number"):
        run_submit([file], "epic100", tmp_path / "mine.zip", (1, 3, 3), root=epic100)
    assert not (tmp_path / "mine.zip").exists()
