"""Frame-wise labels, as temporal segmentation writes them, become rows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from sgear.datasets.own import FrameLabels, check_own, import_own, load_own
from sgear.errors import AnnotationError, ConfigError

FRAMES = ["SIL", "SIL", "take cup", "take cup", "pour milk", "SIL", "pour milk"]
ROWS = [("take cup", 1.0, 2.0), ("pour milk", 2.0, 2.5), ("pour milk", 3.0, 3.5)]
AT_2_FPS = FrameLabels(fps=2.0)


def write(folder: Path, labels=FRAMES, *, form: str = "txt", videos=("P01_a", "P02_b")) -> Path:
    folder.mkdir(exist_ok=True)
    names = sorted(set(labels))
    numbers = np.array([names.index(label) for label in labels])
    for video in videos:
        file = folder / video
        match form:
            case "txt":
                file.with_suffix(".txt").write_text("\n".join(labels) + "\n")
            case "npz":
                np.savez(file.with_suffix(".npz"), labels=np.array(labels), features=np.zeros((len(labels), 3)))
            case "npz numbers":
                np.savez(file.with_suffix(".npz"), labels=numbers.astype(np.uint8))
            case "mat":
                savemat(file.with_suffix(".mat"), {"gt": np.array(labels, dtype=object)})
            case "mat numbers":
                savemat(file.with_suffix(".mat"), {"gt": numbers[None].astype(float)})
    if form.endswith("numbers"):
        (folder.parent / "mapping").write_text("".join(f"{number} {name}\n" for number, name in enumerate(names)))
    return folder


def settings_of(folder: Path, **changed) -> FrameLabels:
    mapping = folder.parent / "mapping"
    return FrameLabels(**{"fps": 2.0, "mapping": mapping if mapping.is_file() else None, **changed})


@pytest.mark.parametrize("form", ["txt", "npz", "npz numbers", "mat", "mat numbers"])
def test_runs_of_equal_labels_become_actions_in_every_form(tmp_path, form):
    folder = write(tmp_path / "labels", form=form)
    import_own(folder, tmp_path / "out", frames=settings_of(folder, participant="P[0-9]+"))
    benchmark = load_own(tmp_path / "out")
    for table in (benchmark.train, benchmark.validation):
        found = [(benchmark.taxonomy.action_names[row.action_id], row.start_s, row.stop_s) for row in table]
        assert found == ROWS
    assert {row.participant_id for row in [*benchmark.train, *benchmark.validation]} == {"P01", "P02"}


@given(labels=st.lists(st.sampled_from(["a b", "c d", "SIL"]), min_size=1, max_size=30), fps=st.integers(1, 60))
def test_every_frame_lies_in_the_action_that_it_shows(tmp_path_factory, labels, fps):
    labels = ["a b", "SIL", *labels]
    folder = write(tmp_path_factory.mktemp("frames") / "labels", labels)
    out = tmp_path_factory.mktemp("out") / "own"
    import_own(folder, out, frames=FrameLabels(fps=float(fps)))
    benchmark = load_own(out)
    again = ["SIL"] * len(labels)
    for row in benchmark.train:
        for frame in range(round(row.start_s * fps), round(row.stop_s * fps)):
            again[frame] = benchmark.taxonomy.action_names[row.action_id]
    assert again == labels


def test_real_labels_of_50_salads_are_the_known_phases(real_data: Path, tmp_path):
    import_own(real_data / "50salads" / "groundTruth", tmp_path / "out", frames=FrameLabels(fps=30.0))
    benchmark = load_own(tmp_path / "out")
    assert benchmark.taxonomy.num_actions == 17
    assert len(benchmark.train) + len(benchmark.validation) == 88
    assert "cut_tomato" in benchmark.taxonomy.action_names


def test_a_note_says_what_is_no_action_and_it_can_be_chosen(tmp_path):
    folder = write(tmp_path / "labels")
    assert "'SIL' taken as no action" in str(check_own(folder, frames=AT_2_FPS).problems[0])
    all_of_them = import_own(folder, tmp_path / "out", frames=FrameLabels(fps=2.0, no_action=("none",)))
    assert all_of_them.taxonomy.action_names == ("SIL", "pour milk", "take cup")


@pytest.mark.parametrize(
    ("form", "changed", "error", "message"),
    [
        ("txt", {"fps": 0.0}, ConfigError, "give --fps"),
        ("txt", {"fps": float("inf")}, ConfigError, "give --fps"),
        ("txt", {"participant": "P["}, ConfigError, "no regular expression"),
        ("txt", {"participant": "X[0-9]"}, AnnotationError, r"P01_a\.txt: --participant .* finds nobody"),
        ("txt", {"no_action": ("SIL", "take cup", "pour milk")}, AnnotationError, "no frame shows an action"),
        ("npz numbers", {"mapping": None}, AnnotationError, "labels are numbers; give --mapping"),
        ("npz", {"key": "label"}, AnnotationError, r"no array 'label'; it has 'labels', 'features'"),
        ("npz", {"key": "features"}, AnnotationError, r"'features' is float64 \[7, 3\], expected a label per frame"),
    ],
)
def test_wrong_settings_are_named_with_their_remedy(tmp_path, form, changed, error, message):
    folder = write(tmp_path / "labels", form=form)
    with pytest.raises(error, match=message):
        check_own(folder, frames=settings_of(folder, **changed))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"a\.txt: .*empty"),
        ("a.txt", b"take cup\n\xff\n", r"a\.txt.*not UTF-8"),
        ("a.npz", b"no archive", r"a\.npz: cannot be read"),
        ("a.mat", b"no archive", r"a\.mat: cannot be read"),
        ("a.avi", b"", "no file of labels there"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        check_own(tmp_path, frames=AT_2_FPS)


def test_a_number_or_name_that_the_mapping_lacks_and_a_wrong_mapping_are_named(tmp_path):
    folder = write(tmp_path / "labels", form="npz numbers")
    (tmp_path / "mapping").write_text("0 SIL\n1 pour milk\n")
    with pytest.raises(AnnotationError, match=r"P01_a\.npz: --mapping does not know '?2"):
        check_own(folder, frames=settings_of(folder))
    (tmp_path / "mapping").write_text("0 SIL\n0 pour milk\n")
    with pytest.raises(AnnotationError, match=r"mapping, line 2: '0 pour milk', expected a new number"):
        check_own(folder, frames=settings_of(folder))


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.array(["x", None], dtype=object))
    with pytest.raises(AnnotationError, match="cannot be read"):
        check_own(tmp_path, frames=AT_2_FPS)


def test_settings_of_frames_with_a_csv_are_refused(tmp_path):
    csv = tmp_path / "own.csv"
    csv.write_text("video,start,stop,label\na,1,2,x\nb,1,2,x\n")
    with pytest.raises(ConfigError, match="is a csv: --fps"):
        check_own(csv, frames=AT_2_FPS)
