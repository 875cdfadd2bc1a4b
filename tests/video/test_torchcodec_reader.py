"""torchcodec and PyAV give the same frames: to the bit at the film's own size, within a measured bound at others."""

import importlib
import importlib.util
import struct
import sys

import numpy as np
import pytest
import torch
from coded_films import make_film, number_in, overwrite_packet, steady

from sgear.errors import VideoError
from sgear.video.opening import open_film


def _reason_to_skip() -> str:
    if importlib.util.find_spec("torchcodec") is None:
        return "torchcodec is not installed: pip install 'sgear[torchcodec]'"
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError) as err:
        return f"torchcodec does not load: {str(err).splitlines()[0]}"
    return ""


needs_torchcodec = pytest.mark.skipif(bool(_reason_to_skip()), reason=_reason_to_skip() or "it is there")
UNEVEN_S = [0.0, *np.cumsum(np.random.default_rng(2).choice([1 / 90, 1 / 30, 0.1, 0.4], 59)).tolist()]
FILMS = {
    "plain.mp4": {},
    "b_frames.mp4": {"num_b": 3, "gop": 24},
    "open_gop.mp4": {"num_b": 3, "gop": 24, "x264": "open-gop=1"},
    "uneven.mp4": {"num_b": 2},
    "film.mkv": {"gop": 40},
    "odd.mp4": {"size": (45, 67), "pix_fmt": "yuv444p"},
    "turned.mp4": {"rotation": 90},
    "upside_down.mp4": {"rotation": 180},
}


def _film(root, name):
    return make_film(root / name, UNEVEN_S if name == "uneven.mp4" else steady(60), noise=30, **FILMS[name])


@needs_torchcodec
@pytest.mark.parametrize("name", FILMS)
def test_both_decoders_give_the_same_bits_at_the_same_instants(tmp_path, name):
    path = _film(tmp_path, name)
    with open_film(path) as pyav, open_film(path, backend="torchcodec") as torchcodec:
        rng = np.random.default_rng(0)
        times_s = pyav.frames_played_at(rng.uniform(0, pyav.last_pts_s, 8)).pts_s
        asked_s = np.concatenate([times_s, rng.uniform(0, pyav.last_pts_s, 12), [pyav.last_pts_s]])
        expected, batch = pyav.frames_played_at(asked_s), torchcodec.frames_played_at(asked_s)
        assert batch.pts_s.tolist() == expected.pts_s.tolist()
        assert torch.equal(batch.frames, expected.frames)
        facts = [(film.height, film.width, film.fps, film.first_pts_s, film.last_pts_s) for film in (pyav, torchcodec)]
        assert facts[0] == facts[1]
        assert torchcodec.duration_s == pytest.approx(pyav.duration_s, abs=1e-3)


@needs_torchcodec
@pytest.mark.parametrize("size", [(24, 32), (30, 50), (60, 100)])
def test_resized_frames_differ_within_the_measured_bound(tmp_path, size):
    path = make_film(tmp_path / "film.mp4", steady(30), noise=30)
    with open_film(path, size=size) as pyav, open_film(path, size=size, backend="torchcodec") as torchcodec:
        asked_s = [0.1, 0.5, 0.9]
        one, other = pyav.frames_played_at(asked_s).frames, torchcodec.frames_played_at(asked_s).frames
    difference = (one.int() - other.int()).abs().float()
    # Measured here: mean 1.4, largest 18 (noise has the sharpest colour edges there are).
    assert difference.mean() < 2
    assert difference.max() <= 30


@needs_torchcodec
def test_ten_bits_differ_within_the_measured_bound(tmp_path):
    path = make_film(tmp_path / "film.mkv", steady(30), noise=30, pix_fmt="yuv420p10le")
    with open_film(path) as pyav, open_film(path, backend="torchcodec") as torchcodec:
        difference = (pyav.frames_played_at([0.5]).frames.int() - torchcodec.frames_played_at([0.5]).frames.int()).abs()
    assert difference.max() <= 12
    assert difference.float().mean() < 1


@needs_torchcodec
def test_iterating_gives_the_same_frames(tmp_path):
    path = _film(tmp_path, "b_frames.mp4")
    with open_film(path) as pyav, open_film(path, backend="torchcodec") as torchcodec:
        numbers = [
            [(number_in(frame.permute(1, 2, 0).numpy()), pts_s) for frame, pts_s in film.iterate(0.51)]
            for film in (pyav, torchcodec)
        ]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 45


@needs_torchcodec
def test_times_past_the_end_are_the_same_errors(tmp_path):
    path = _film(tmp_path, "plain.mp4")
    messages = []
    for backend in ("pyav", "torchcodec"):
        with open_film(path, backend=backend) as film:
            assert film.frames_played_at([2.03]).pts_s.tolist() == [59 / 30]
            with pytest.raises(VideoError, match="nothing is played") as caught:
                film.frames_played_at([2.1])
            messages.append(str(caught.value))
    assert messages[0] == messages[1]


@needs_torchcodec
def test_a_packet_that_decodes_to_nothing_is_an_error_and_never_a_neighbour(tmp_path):
    source = make_film(tmp_path / "source.mp4", steady(60), gop=1, x264="scenecut=0")
    damaged_s = overwrite_packet(source, tmp_path / "hurt.mp4", 20)
    with open_film(source) as film:
        intact = film.frames_played_at([(idx + 0.5) / 30 for idx in range(60)]).frames
    with open_film(tmp_path / "hurt.mp4", backend="torchcodec") as film:
        for idx in (10, 19, 21, 40):
            assert torch.equal(film.frames_played_at([(idx + 0.5) / 30]).frames[0], intact[idx])
        with pytest.raises(VideoError, match=r"hurt\.mp4: .*cannot be decoded"):
            film.frames_played_at([damaged_s + 0.01])


@needs_torchcodec
@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("film.mp4", b"", "empty"),
        ("film.mp4", b"minutes\n" * 300, "not a readable video"),
        ("gone.mp4", None, "no such"),
    ],
)
def test_unreadable_files_are_the_same_errors(tmp_path, name, content, complaint):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=rf"{name}: .*{complaint}"):
        open_film(tmp_path / name, backend="torchcodec")


@needs_torchcodec
@pytest.mark.parametrize(("name", "codec"), [("film.avi", "mpeg4"), ("film.ts", "libx264")])
def test_containers_in_which_torchcodec_finds_other_frames_are_left_to_pyav(tmp_path, name, codec):
    path = make_film(tmp_path / name, steady(10), codec=codec)
    with pytest.raises(VideoError, match=rf"{name}: .*backend 'pyav'"):
        open_film(path, backend="torchcodec")


@needs_torchcodec
def test_a_mirrored_film_is_left_to_pyav(tmp_path):
    path = make_film(tmp_path / "film.mp4", steady(10))
    content = bytearray(path.read_bytes())
    begin = content.index(b"tkhd") + 44
    content[begin : begin + 4] = struct.pack(">i", -(1 << 16))
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"film\.mp4: its pictures are mirrored .*backend 'pyav'"):
        open_film(path, backend="torchcodec")


@needs_torchcodec
def test_a_matroska_film_with_a_damaged_structure_is_left_to_pyav(tmp_path):
    path = make_film(tmp_path / "film.mkv", steady(60), noise=30)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"film\.mkv: its structure is damaged .*backend 'pyav'"):
        open_film(path, backend="torchcodec")


@needs_torchcodec
def test_reading_after_closing_is_an_error(tmp_path):
    film = open_film(_film(tmp_path, "plain.mp4"), backend="torchcodec")
    film.close()
    with pytest.raises(ValueError, match="closed"):
        film.frames_played_at([0.0])


def test_without_the_extra_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torchcodec" else find_spec(name))
    path = make_film(tmp_path / "film.mp4", steady(3))
    with pytest.raises(VideoError, match=r"not installed; pip install 'sgear\[torchcodec\]', or use backend 'pyav'"):
        open_film(path, backend="torchcodec")


def test_an_extra_that_does_not_load_is_told_with_the_remedy(tmp_path, monkeypatch):
    package = tmp_path / "torchcodec"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "decoders.py").write_text("raise RuntimeError('Could not load libtorchcodec\\nlong text')\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchcodec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = make_film(tmp_path / "film.mp4", steady(3))
    with pytest.raises(VideoError, match=r"does not load \(Could not load libtorchcodec\).*shared libraries of ffmpeg"):
        open_film(path, backend="torchcodec")
    for name in ("torchcodec.decoders", "torchcodec"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_an_unknown_backend_is_refused(tmp_path):
    with pytest.raises((ValueError, TypeError), match="decord"):
        open_film(make_film(tmp_path / "film.mp4", steady(3)), backend="decord")
