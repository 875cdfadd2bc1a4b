import numpy as np
import pytest
from coded_videos import make_video, overwrite_packet, steady

from sgear.errors import VideoError, WriteError
from sgear.forecast import Forecast
from sgear.video import VideoReader, write_overlay
from sgear.video.panel import MAX_PANEL_SHARE, OverlayPainter, Palette, PanelContent

TOP = (("wash plate", 0.6), ("take cup", 0.3), ("open fridge", 0.1))
SWAPPED = (("take cup", 0.8), ("wash plate", 0.15), ("open fridge", 0.05))
FORECASTS = (Forecast(2.0, 1.0, SWAPPED), Forecast(1.0, 1.0, TOP))


@pytest.fixture(scope="module")
def video_path(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "video.mp4", steady(30, fps=10), rate=10, size=(240, 320))


def _frames_at(path, timestamps_s):
    with VideoReader(path) as reader:
        return reader.frames_played_at(timestamps_s).frames.float()


def test_uneven_frame_times_are_kept(tmp_path):
    times_s = [0.0, 0.1, 0.15, 0.6, 0.7, 1.5]
    write_overlay(make_video(tmp_path / "uneven.mp4", times_s), tmp_path / "out.mp4", ())
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert [pts_s for _, pts_s in reader.iterate()] == pytest.approx(times_s, abs=1e-4)


def test_panel_changes_when_a_forecast_is_made_and_not_before(video_path, tmp_path):
    write_overlay(video_path, tmp_path / "none.mp4", ())
    write_overlay(video_path, tmp_path / "out.mp4", FORECASTS)
    asked_s = [0.95, 1.05, 2.05]
    # The ribbon at the bottom shows the whole video, so only the image above it is compared.
    waiting, told = (_frames_at(tmp_path / name, asked_s)[:, :, :220] for name in ("none.mp4", "out.mp4"))
    difference = (waiting - told).abs().mean(dim=(1, 2, 3))
    assert difference[0] < 0.3
    assert difference[1] > 1
    assert difference[2] > 1


def test_truth_adds_to_the_panel(video_path, tmp_path):
    write_overlay(video_path, tmp_path / "plain.mp4", FORECASTS)
    write_overlay(video_path, tmp_path / "truth.mp4", FORECASTS, truth=[(0.5, 1.5, "cut"), (2.0, 3.0, "take cup")])
    plain, truth = (_frames_at(tmp_path / name, [1.2]) for name in ("plain.mp4", "truth.mp4"))
    assert (plain - truth).abs().mean() > 1


def test_hit_is_marked_in_the_panel():
    painter = OverlayPainter(480, 640, Palette([]))
    hit, miss = (painter.panel(PanelContent("t", TOP, None, name)).rgba for name in ("take cup", "dry hand"))
    # The row of the hit lies above the line that names the next action.
    rows = slice(0, hit.shape[0] * 2 // 3)
    assert (hit[rows] != miss[rows]).any()


@pytest.mark.parametrize("size", [(480, 854), (480, 270), (288, 288), (180, 1280), (96, 96), (480, 120), (64, 400)])
def test_panel_stays_in_the_image_and_leaves_most_of_it_free(size):
    long_rows = tuple((f"{name} from the big washing-up bowl", share) for name, share in TOP * 2)
    painter = OverlayPainter(*size, Palette([]))
    panel = painter.panel(PanelContent("next action in ~1.0 s", long_rows, "squeeze washing-up liquid", "dry hand"))
    height, width = panel.rgba.shape[:2]
    assert panel.top + height <= size[0]
    assert panel.left + width <= size[1]
    assert height * width <= (MAX_PANEL_SHARE + 0.01) * size[0] * size[1]


def test_colours_of_many_actions_differ():
    palette = Palette([f"action {idx}" for idx in range(20)])
    assert len({palette[f"action {idx}"] for idx in range(20)}) == 20


@pytest.mark.parametrize(
    ("size", "expected"), [((96, 96), (288, 288)), ((720, 1280), (480, 852)), ((640, 360), (480, 270))]
)
def test_size_of_the_result_is_even_legible_and_limited(tmp_path, size, expected):
    source = make_video(tmp_path / "video.mp4", steady(4), size=size)
    write_overlay(source, tmp_path / "out.mp4", FORECASTS)
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert (reader.height, reader.width) == expected


def test_result_streams_from_its_first_bytes(video_path, tmp_path):
    write_overlay(video_path, tmp_path / "out.mp4", FORECASTS)
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_progress_counts_every_frame(video_path, tmp_path):
    told = []
    write_overlay(video_path, tmp_path / "out.mp4", (), progress=lambda done, of: told.append((done, of)))
    assert told == [(idx, 30) for idx in range(1, 31)]


def test_folder_of_the_result_is_made_and_the_video_is_never_replaced(video_path, tmp_path):
    write_overlay(video_path, tmp_path / "new" / "folder" / "out.mp4", FORECASTS)
    before = video_path.read_bytes()
    (tmp_path / "link.mp4").symlink_to(video_path)
    for out in (video_path, tmp_path / "link.mp4"):
        with pytest.raises(WriteError, match="is the video itself"):
            write_overlay(video_path, out, FORECASTS)
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="is no folder"):
        write_overlay(video_path, tmp_path / "file" / "out.mp4", FORECASTS)
    assert video_path.read_bytes() == before


def test_damaged_video_leaves_no_result_behind(video_path, tmp_path):
    overwrite_packet(video_path, tmp_path / "hurt.mp4", 15)
    with pytest.raises(VideoError, match=r"hurt\.mp4"):
        write_overlay(tmp_path / "hurt.mp4", tmp_path / "out.mp4", FORECASTS)
    assert [path.name for path in tmp_path.iterdir()] == ["hurt.mp4"]


@pytest.mark.parametrize("changes", [{"max_height": 8}, {"top_k": 0}])
def test_settings_out_of_range_are_refused(video_path, tmp_path, changes):
    with pytest.raises(ValueError, match="at least"):
        write_overlay(video_path, tmp_path / "out.mp4", FORECASTS, **changes)


def test_image_outside_of_the_layers_is_untouched():
    image = np.full((240, 320, 3), 90, np.uint8)
    painter = OverlayPainter(240, 320, Palette([]))
    panel = painter.panel(PanelContent("watching..."))
    panel.paste_on(image)
    outside = image.copy()
    outside[panel.top : panel.top + panel.rgba.shape[0], panel.left : panel.left + panel.rgba.shape[1]] = 90
    assert (outside == 90).all()
    assert (image != 90).any()
