import hashlib
import json
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from coded_films import decode_all, make_film, number_in, overwrite_packet, played_at, steady
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.claims import Claims
from sgear.errors import VideoError
from sgear.files import partial_path
from sgear.video import VideoReader, training_copy
from sgear.video.training_copy import CopySettings, TakenOverError, copy_fault, is_copy, make_copy
from sgear.video.transcode import CLAIM_FOLDER, PlannedCopy, plan_copies, transcode
from sgear.workers import LostWorker

SMALL = CopySettings(short_side=24, gop=6)
UNEVEN = [0.0, 0.1, 0.15, 0.6, 0.7, 1.5, 1.51, 1.9]


def _all_frames(path):
    """Time and number of every frame, as a reader sees them."""
    with VideoReader(path) as film:
        return [(pts_s, number_in(frame.permute(1, 2, 0).numpy())) for frame, pts_s in film.iterate()]


def _key_idx(path):
    with av.open(str(path)) as container:
        return [idx for idx, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]


def _run(films, out, copy_settings=SMALL, **options):
    return transcode(plan_copies([films], out), out, copy_settings, num_workers=1, **options)


def _files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    (folder / "P01").mkdir(parents=True)
    make_film(folder / "P01" / "P01_01.MP4", steady(20))
    make_film(folder / "P01_02.avi", steady(20), codec="mpeg4")
    return folder


def test_copies_of_all_kinds_of_films_have_the_frames_at_the_same_times(tmp_path):
    late = [time_s + Fraction(14, 10) for time_s in steady(20)]
    cases = {
        "steady.mp4": (steady(40), {}),
        "uneven.mp4": (UNEVEN, {}),
        "reordered.mp4": (steady(20), {"num_b": 2}),
        "late.mp4": (late, {"num_b": 2}),
        "late.mkv": (late, {}),
        "uneven.mkv": (UNEVEN, {"num_b": 1}),
        "ntsc.mov": ([Fraction(idx * 1001, 30_000) for idx in range(20)], {}),
        "steady.avi": (steady(20), {"codec": "mpeg4"}),
        "single.mp4": ([0.0], {}),
    }
    for name, (times_s, options) in cases.items():
        source = make_film(tmp_path / name, times_s, **options)
        make_copy(source, tmp_path / "copy.mp4", SMALL)
        assert _all_frames(tmp_path / "copy.mp4") == _all_frames(source), name


@settings(max_examples=8)
@given(st.lists(st.integers(1, 90_000), min_size=2, max_size=12), st.data())
def test_frame_played_at_an_instant_of_the_copy_is_that_of_the_film(tmp_path_factory, gaps, data):
    folder = tmp_path_factory.mktemp("law")
    ticks = np.cumsum([0, *gaps])
    source = make_film(folder / "film.mp4", [Fraction(int(tick), 90_000) for tick in ticks])
    make_copy(source, folder / "copy.mp4", SMALL)
    film = decode_all(source)
    # Instants at which a frame begins, just before, and anywhere.
    tick = data.draw(st.sampled_from([*ticks, *(ticks[1:] - 1)]) | st.integers(0, int(ticks[-1])))
    t_s = float(Fraction(int(tick), 90_000))
    with VideoReader(folder / "copy.mp4") as copy:
        batch = copy.frames_played_at([t_s])
    seen = (float(batch.pts_s[0]), number_in(batch.frames[0].permute(1, 2, 0).numpy()))
    assert seen == played_at(film, t_s)


def test_lower_rate_keeps_the_frames_played_at_its_instants_with_their_own_times(tmp_path):
    source = make_film(tmp_path / "film.mp4", UNEVEN)
    make_copy(source, tmp_path / "copy.mp4", CopySettings(short_side=24, fps=4.0))
    film = decode_all(source)
    # The last frame, of 1.9 s, is still on at 2.0 s.
    kept = sorted({played_at(film, tick / 4) for tick in range(9)})
    assert decode_all(tmp_path / "copy.mp4") == kept


def test_key_frames_are_never_further_apart_than_asked(tmp_path):
    source = make_film(tmp_path / "film.mp4", steady(50), gop=48)
    make_copy(source, tmp_path / "copy.mp4", CopySettings(short_side=24, gop=7))
    assert _key_idx(tmp_path / "copy.mp4") == list(range(0, 50, 7))


def test_key_frames_of_the_film_are_not_taken_over(tmp_path):
    source = make_film(tmp_path / "film.mp4", steady(30), gop=2)
    make_copy(source, tmp_path / "copy.mp4", CopySettings(short_side=24, gop=10))
    assert _key_idx(tmp_path / "copy.mp4") == [0, 10, 20]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(8, 400), st.booleans())
def test_size_is_even_keeps_the_shape_and_enlarges_only_when_asked(height, width, half, enlarge):
    short_side = 2 * half
    new = CopySettings(short_side=short_side, enlarge=enlarge).size_of(height, width)
    assert all(side % 2 == 0 for side in new)
    if min(height, width) > short_side or enlarge:
        assert min(new) == short_side
        scale = short_side / min(height, width)
        assert max(abs(new[0] - height * scale), abs(new[1] - width * scale)) <= 1
    else:
        assert new == (max(2, height // 2 * 2), max(2, width // 2 * 2))


@pytest.mark.parametrize(("height", "width"), [(51, 75), (75, 51), (24, 90), (7, 9)])
def test_odd_and_small_films_are_copied(tmp_path, height, width):
    source = make_film(tmp_path / "film.mp4", steady(3), size=(height, width), pix_fmt="yuv444p")
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with VideoReader(tmp_path / "copy.mp4") as film:
        assert (film.height, film.width) == SMALL.size_of(height, width)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_in_the_pixels_of_the_copy(tmp_path, rotation):
    source = make_film(tmp_path / "film.mp4", steady(9), rotation=rotation, size=(48, 96))
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        raw = next(container.decode(video=0))
    assert raw.rotation == 0
    with VideoReader(source, size=(raw.height, raw.width)) as film:
        upright = film.frames_played_at([0.0]).frames[0].permute(1, 2, 0).numpy()
    assert (raw.height < raw.width) == (rotation == 180)
    assert _psnr(raw.to_ndarray(format="rgb24"), upright) > 25


@pytest.mark.parametrize(
    ("color_range", "colorspace", "pix_fmt"),
    [(0, 2, "yuv420p"), (2, 2, "yuvj420p"), (1, 1, "yuv420p"), (0, 2, "yuv444p")],
)
def test_pictures_of_the_copy_look_like_those_of_the_film(tmp_path, color_range, colorspace, pix_fmt):
    source = _colourful_film(tmp_path / "film.mkv", color_range, colorspace, pix_fmt)
    make_copy(source, tmp_path / "copy.mp4", CopySettings(short_side=96))
    with VideoReader(source, size=(96, 144)) as film, VideoReader(tmp_path / "copy.mp4") as copy:
        seen, copied = (each.frames_played_at([0.0, 0.3]).frames.numpy().astype(float) for each in (film, copy))
    assert _psnr(seen, copied) > 34
    # A wrong matrix or range would shift whole colours, which a mean over pixels cannot hide.
    assert np.abs((copied - seen).mean(axis=(0, 2, 3))).max() < 2


def test_sound_is_dropped(tmp_path):
    source = _film_with_sound(tmp_path / "film.mp4")
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with av.open(str(source)) as before, av.open(str(tmp_path / "copy.mp4")) as after:
        assert [stream.type for stream in before.streams] == ["video", "audio"]
        assert [stream.type for stream in after.streams] == ["video"]


def test_shape_of_single_pixels_is_kept_as_a_note(tmp_path):
    source = make_film(tmp_path / "film.mp4", steady(3), x264="sar=4/3")
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_tree_and_names_of_the_films_are_kept(films, tmp_path):
    result = _run(films, tmp_path / "out")
    assert _files(tmp_path / "out") == ["P01/P01_01.MP4", "P01_02.mp4"]
    assert len(result.done) == 2
    assert result.film_s == pytest.approx(2 * 20 / 30)
    assert result.bytes_out == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.[mM]*"))


def test_finished_copies_are_not_made_again(films, tmp_path):
    _run(films, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    result = _run(films, tmp_path / "out")
    assert (len(result.done), len(result.kept)) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("change", [{"short_side": 32}, {"gop": 5}, {"crf": 30}, {"fps": 5.0}, {"enlarge": True}])
def test_other_settings_make_the_copy_again(films, tmp_path, change):
    make_copy(films / "P01_02.avi", tmp_path / "copy.mp4", SMALL)
    other = CopySettings(**{"short_side": 24, "gop": 6, **change})
    assert is_copy(tmp_path / "copy.mp4", films / "P01_02.avi", SMALL)
    assert not is_copy(tmp_path / "copy.mp4", films / "P01_02.avi", other)


def test_copy_of_a_film_that_changed_is_made_again(films, tmp_path):
    _run(films, tmp_path / "out")
    make_film(films / "P01" / "P01_01.MP4", steady(7))
    result = _run(films, tmp_path / "out")
    assert result.done == [tmp_path / "out" / "P01" / "P01_01.MP4"]
    assert len(decode_all(result.done[0])) == 7


def test_truncated_copy_counts_as_none(films, tmp_path):
    copy = tmp_path / "copy.mp4"
    make_copy(films / "P01_02.avi", copy, SMALL)
    copy.write_bytes(copy.read_bytes()[:-100])
    assert not is_copy(copy, films / "P01_02.avi", SMALL)


def test_what_a_killed_worker_left_is_removed_and_its_film_done(films, tmp_path):
    out = tmp_path / "out"
    copy = out / "P01" / "P01_01.MP4"
    copy.parent.mkdir(parents=True)
    partial_path(copy).write_bytes(b"half of a film")
    neighbour = partial_path(out / "P01" / "P01_01.MP4.MP4")
    neighbour.write_bytes(b"of another film")
    script = (
        "import sys, os; from pathlib import Path; from sgear.claims import Claims\n"
        "for name in sys.argv[2:]: Claims(Path(sys.argv[1]), stale_s=1e9).take(name)\n"
        "os._exit(9)"
    )
    names = [job.relative.as_posix() for job in plan_copies([films], out)]
    digests = [hashlib.sha256(name.encode()).hexdigest()[:24] for name in names]
    subprocess.run([sys.executable, "-c", script, str(out / CLAIM_FOLDER), *digests], check=False)
    assert len(list((out / CLAIM_FOLDER).iterdir())) == 2
    result = _run(films, out)
    assert len(result.done) == 2
    assert _files(out) == sorted(["P01/P01_01.MP4", "P01_02.mp4", f"P01/{neighbour.name}"])


def test_film_that_another_worker_holds_is_left_to_it(films, tmp_path):
    out = tmp_path / "out"
    plan = plan_copies([films], out)
    held = [hashlib.sha256(job.relative.as_posix().encode()).hexdigest()[:24] for job in plan]
    claim = Claims(out / CLAIM_FOLDER, stale_s=1e9).take(held[0])
    result = _run(films, out)
    assert result.elsewhere == [out / plan[0].relative]
    assert result.done == [out / plan[1].relative]
    claim.release()
    assert _run(films, out).done == [out / plan[0].relative]


def test_damaged_and_truncated_films_are_named_and_leave_nothing(films, tmp_path):
    good = films / "P01" / "P01_01.MP4"
    mkv = make_film(tmp_path / "whole.mkv", steady(40), noise=20)
    overwrite_packet(make_film(tmp_path / "whole.mp4", steady(40), noise=20), films / "broken.mp4", 17)
    (films / "cut.mkv").write_bytes(mkv.read_bytes()[: mkv.stat().st_size * 2 // 3])
    (films / "last_byte_lost.mkv").write_bytes(mkv.read_bytes()[:-1])
    (films / "no_index.mp4").write_bytes(good.read_bytes()[:-200])
    (films / "empty.mp4").touch()
    (films / "text.mp4").write_text("this is no film")
    result = _run(films, tmp_path / "out")
    assert sorted(path.name for path in result.failures) == [
        "broken.mp4",
        "cut.mkv",
        "empty.mp4",
        "last_byte_lost.mkv",
        "no_index.mp4",
        "text.mp4",
    ]
    assert "cannot be decoded" in result.failures[films / "broken.mp4"]
    assert "truncated" in result.failures[films / "cut.mkv"]
    assert "truncated" in result.failures[films / "last_byte_lost.mkv"]
    assert _files(tmp_path / "out") == ["P01/P01_01.MP4", "P01_02.mp4"]


def test_disk_that_takes_no_more_stops_with_its_reason_and_leaves_nothing(films, tmp_path):
    make_film(films / "large.mp4", steady(90), size=(96, 128), noise=40)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(VideoError, match=r"large.mp4: cannot be written \(File too large\).*goes on"):
            _run(films, tmp_path / "out", CopySettings(short_side=96, crf=0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [name for name in _files(tmp_path / "out") if "large" in name]
    assert len(_run(films, tmp_path / "out", CopySettings(short_side=96, crf=0)).done) >= 1


def test_interrupt_leaves_nothing_half_written(films, tmp_path):
    def stop(num_done, num_films, done_s, total_s):
        if num_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(films, tmp_path / "out", progress=stop)
    assert len(_files(tmp_path / "out")) == 1
    assert len(_run(films, tmp_path / "out").done) == 1


def test_copies_among_the_films_are_refused(films, tmp_path):
    for place, out in [(films, films), (films, films / "small"), (films / "P01_02.avi", films)]:
        with pytest.raises(VideoError, match="among the films"):
            plan_copies([place], out)
    (tmp_path / "link").symlink_to(films)
    with pytest.raises(VideoError, match="among the films"):
        plan_copies([films], tmp_path / "link" / "small")
    assert _files(films) == ["P01/P01_01.MP4", "P01_02.avi"]


def test_two_films_with_one_copy_are_refused(films, tmp_path):
    make_film(films / "P01_02.mkv", steady(2))
    with pytest.raises(VideoError, match=r"P01_02.avi and .*P01_02.mkv would both become .*P01_02.mp4"):
        plan_copies([films], tmp_path / "out")


def test_single_films_go_by_their_names(films, tmp_path):
    planned = plan_copies([films / "P01" / "P01_01.MP4"], tmp_path / "out")
    assert planned == [PlannedCopy(films / "P01" / "P01_01.MP4", Path("P01_01.MP4"))]


def test_places_without_films_are_refused(tmp_path):
    with pytest.raises(VideoError, match="no such film or folder"):
        plan_copies([tmp_path / "absent"], tmp_path / "out")
    (tmp_path / "films").mkdir()
    with pytest.raises(VideoError, match="no video files"):
        plan_copies([tmp_path / "films"], tmp_path / "out")


@pytest.mark.parametrize(
    "wrong", [{"short_side": 255}, {"short_side": 8}, {"gop": 0}, {"crf": 52}, {"fps": 0.0}, {"fps": float("nan")}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        CopySettings(**wrong)


def test_check_of_a_copy_finds_every_difference(tmp_path):
    copy = make_film(tmp_path / "copy.mp4", steady(20), gop=10)
    times_s = [float(time_s) for time_s in steady(20)]
    assert copy_fault(copy, times_s, (48, 64), 10) is None
    assert "pixels" in (copy_fault(copy, times_s, (64, 48), 10) or "")
    assert "key frame" in (copy_fault(copy, times_s, (48, 64), 9) or "")
    assert "instead of 21 frames" in (copy_fault(copy, [*times_s, 0.7], (48, 64), 10) or "")
    assert "not in the film" in (copy_fault(copy, times_s[:-1], (48, 64), 10) or "")
    assert "not in the film" in (copy_fault(copy, [time_s + 1e-6 for time_s in times_s], (48, 64), 10) or "")
    overwrite_packet(make_film(tmp_path / "noisy.mp4", steady(20), noise=30), tmp_path / "bad.mp4", 3)
    assert "cannot be decoded" in (copy_fault(tmp_path / "bad.mp4", times_s, (48, 64), 12) or "")


def test_copy_says_in_its_header_of_what_it_was_made(films, tmp_path):
    source = films / "P01_02.avi"
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        told = json.loads(container.metadata["comment"])
    assert (told["short_side"], told["gop"], told["crf"], told["fps"]) == (24, 6, 20, None)
    assert told["source_bytes"] == source.stat().st_size


def _psnr(first, second):
    return 10 * np.log10(255**2 / np.mean((first.astype(float) - second.astype(float)) ** 2))


def _colourful_film(path, color_range, colorspace, pix_fmt):
    rows, columns = np.mgrid[:192, :288]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.height, stream.width, stream.pix_fmt = 192, 288, pix_fmt
        stream.codec_context.color_range, stream.codec_context.colorspace = color_range, colorspace
        for idx in range(4):
            channels = (np.sin(columns / 37 + idx) * 110 + 128, np.cos(rows / 29 + idx) * 110 + 128, 60 + columns / 3)
            rgb = np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)
            image = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=pix_fmt,
                dst_colorspace=colorspace if colorspace != 2 else None,
                dst_color_range=color_range or None,
            )
            image.pts, image.time_base = idx, Fraction(1, 10)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return path


def _film_with_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        for idx in range(10):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * idx, np.uint8), format="rgb24")
            image.pts, image.time_base = idx, Fraction(1, 10)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
        for idx in range(12):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 16_000, 1024 * idx
            container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return path


def test_half_written_copy_of_another_live_run_survives_a_lost_worker(films, tmp_path, monkeypatch):
    out = tmp_path / "out"
    theirs = partial_path(out / "P01_02.mp4")
    theirs.parent.mkdir()
    theirs.write_bytes(b"half")
    claims = []

    def lose(work, jobs, **options):
        for idx, job in enumerate(jobs):
            if job.copy.name == "P01_02.mp4":
                claims.append(Claims(job.claim_folder, stale_s=900.0).take(job.claim_name))
            yield idx, LostWorker(-9)

    monkeypatch.setattr("sgear.video.transcode.run_jobs", lose)
    ours = partial_path(out / "P01" / "P01_01.MP4")
    ours.parent.mkdir()
    ours.write_bytes(b"half")
    assert len(_run(films, out).failures) == 2
    assert theirs.exists()
    assert claims[0].path.exists()
    assert not ours.exists()


def test_checking_a_copy_shows_that_its_worker_is_alive(tmp_path):
    copy = make_film(tmp_path / "copy.mp4", steady(20), gop=5)
    signs = []
    times_s = [float(time_s) for time_s in steady(20)]
    with VideoReader(copy) as film:
        size = (film.height, film.width)
    assert copy_fault(copy, times_s, size, 20, progress=lambda: signs.append(1)) is None
    assert len(signs) == 20


def test_sign_of_life_goes_on_while_film_and_copy_are_checked(films, tmp_path):
    told_s = []
    report = make_copy(films / "P01_02.avi", tmp_path / "copy.mp4", SMALL, progress=told_s.append)
    # Once for each frame that is written, and once for each that is read again.
    assert told_s.count(report.length_s) >= 1 + report.num_frames


def test_copy_whose_half_written_file_vanished_counts_as_made_elsewhere(films, tmp_path, monkeypatch):
    out = tmp_path / "out"
    check = training_copy.copy_fault

    def vanish(partial, *args, **options):
        partial.unlink()
        return check(partial, *args, **options)

    monkeypatch.setattr(training_copy, "copy_fault", vanish)
    result = _run(films, out)
    assert sorted(result.elsewhere) == [out / "P01" / "P01_01.MP4", out / "P01_02.mp4"]
    assert not result.failures
    with pytest.raises(TakenOverError, match="another worker"):
        make_copy(films / "P01_02.avi", out / "P01_02.mp4", SMALL)
