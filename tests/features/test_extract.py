import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_films import write_film

from sgear.errors import FeatureError
from sgear.features import FeatureStoreWriter
from sgear.features.extract import FrameEncoder, extract
from sgear.features.prefetch import prefetched
from sgear.models.frame_features import timm_frame_encoder


def half_means(frames: torch.Tensor) -> torch.Tensor:
    """Brightness of the left and of the right half."""
    halves = frames.mean(dim=1).chunk(2, dim=-1)
    return torch.stack([half.mean(dim=(-2, -1)) for half in halves], dim=1)


ENCODER = FrameEncoder(
    encode=half_means,
    name="halves",
    weights="none",
    width=2,
    image_height=24,
    image_width=32,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    crop_margin=0.0,
)


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("films")
    return {name: write_film(root / f"{name}.mp4", num) for name, num in (("a", 45), ("b", 31), ("c", 20), ("d", 7))}


def writer_of(
    root: Path, encoder: FrameEncoder = ENCODER, *, fps: float = 2.0, views: str = "centre"
) -> FeatureStoreWriter:
    return FeatureStoreWriter(root, encoder.provenance(fps=fps, views=views), width=encoder.width)


def test_every_row_is_the_frame_on_screen_at_its_time(films, tmp_path):
    result = extract(ENCODER, films, writer_of(tmp_path), fps=2.0, batch_size=4)
    assert result.done == ["a", "b", "c", "d"]
    store = writer_of(tmp_path).finish()
    video = store["a"]
    assert video.times_s.tolist() == [index / 2 for index in range(9)]
    brightness = (2 * np.arange(0, 45, 5) + 20) / 255
    assert video.features[:, 0] == pytest.approx(brightness, abs=0.02)
    assert video.features[:, 1] == pytest.approx(10 / 255, abs=0.02)
    assert len(store["d"].times_s) == 2


def test_the_size_of_a_batch_changes_nothing(films, tmp_path):
    stores = []
    for batch_size in (1, 100):
        writer = writer_of(tmp_path / str(batch_size))
        extract(ENCODER, films, writer, fps=2.0, batch_size=batch_size)
        stores.append(writer.finish())
    assert np.array_equal(stores[0]["a"].features, stores[1]["a"].features)


def test_flipped_views_are_averaged(films, tmp_path):
    writer = writer_of(tmp_path, views="three-crop-flip")
    extract(ENCODER, films, writer, fps=2.0, views="three-crop-flip")
    features = writer.finish()["a"].features
    assert features[:, 0] == pytest.approx(features[:, 1], abs=1e-6)


def test_finished_films_are_kept_and_the_rest_is_done(films, tmp_path):
    some = {name: films[name] for name in ("a", "c")}
    extract(ENCODER, some, writer_of(tmp_path), fps=2.0)
    reports = []
    result = extract(ENCODER, films, writer_of(tmp_path), fps=2.0, progress=lambda *told: reports.append(told))
    assert (result.kept, result.done) == (["a", "c"], ["b", "d"])
    total = sum(films[name].stat().st_size for name in ("b", "d"))
    assert reports[-1] == (total, total)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_shards_together_do_everything_once(films, tmp_path):
    results = [extract(ENCODER, films, writer_of(tmp_path), fps=2.0, shard=(index, 2)) for index in range(2)]
    assert [result.done for result in results] == [["a", "c"], ["b", "d"]]
    assert all(not result.kept and not result.elsewhere for result in results)


def test_a_film_of_another_worker_is_left_to_it(films, tmp_path):
    writer = writer_of(tmp_path)
    with writer.claimed("b"):
        result = extract(ENCODER, films, writer_of(tmp_path), fps=2.0)
    assert result.elsewhere == ["b"]
    assert result.done == ["a", "c", "d"]


def test_a_film_that_fails_is_named_after_the_others_are_done(films, tmp_path):
    bad = tmp_path / "b.mp4"
    bad.write_bytes(films["b"].read_bytes()[:300])
    writer = writer_of(tmp_path / "store")
    result = extract(ENCODER, films | {"b": bad, "bb": tmp_path / "bb.mp4"}, writer, fps=2.0)
    assert result.done == ["a", "c", "d"]
    with pytest.raises(FeatureError, match=r"2 films could not be extracted, 3 others are done:\n.*b\.mp4"):
        result.raise_failures()
    assert extract(ENCODER, films, writer, fps=2.0).done == ["b"]


def test_an_encoder_that_fails_leaves_no_claim_behind(films, tmp_path):
    def fail(frames: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        extract(replace(ENCODER, encode=fail), films, writer_of(tmp_path), fps=2.0, batch_size=2)
    assert list((tmp_path / "claims").iterdir()) == []
    assert len(extract(ENCODER, films, writer_of(tmp_path), fps=2.0).done) == 4
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_an_encoder_of_another_width_is_refused(films, tmp_path):
    wider = replace(ENCODER, width=3)
    with pytest.raises(FeatureError, match=r"'halves' gave features \(8, 2\) for 8 frames, expected \(8, 3\)"):
        extract(wider, {"a": films["a"]}, writer_of(tmp_path, wider), fps=2.0, batch_size=8)


def test_a_store_of_another_rate_is_refused(films, tmp_path):
    with pytest.raises(FeatureError, match=r"made for .*'fps': 2\.0.*, but this extraction gives .*'fps': 4\.0"):
        extract(ENCODER, films, writer_of(tmp_path), fps=4.0)


def test_more_rows_than_frames_repeat_what_is_on_screen(films, tmp_path):
    writer = writer_of(tmp_path, fps=25.0)
    extract(ENCODER, {"d": films["d"]}, writer, fps=25.0)
    brightness = writer.finish()["d"].features[:, 0]
    assert len(brightness) == 16
    assert np.array_equal(brightness[:3], brightness[[0, 0, 0]])


def test_a_network_of_timm_has_a_digest_and_its_own_preprocessing(films, tmp_path):
    torch.manual_seed(0)
    network = timm_frame_encoder("test_resnet", pretrained=False)
    assert (network.image_height, network.image_width) == (160, 160)
    writer = writer_of(tmp_path, network, fps=1.0)
    extract(network, {"d": films["d"]}, writer, fps=1.0)
    store = writer.finish()
    assert store.width == network.width
    assert store.description.weights == network.weights
    torch.manual_seed(1)
    assert timm_frame_encoder("test_resnet", pretrained=False).weights != network.weights


def test_prefetched_items_come_in_order_and_ahead():
    made = []

    def items():
        for number in range(6):
            made.append(number)
            yield number

    taken = prefetched(items(), depth=2)
    assert next(taken) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made[:4] == [0, 1, 2, 3]
    assert [*taken] == [1, 2, 3, 4, 5]


def test_an_error_of_the_background_thread_is_raised_in_front():
    def items():
        yield 1
        raise ValueError("from behind")

    taken = prefetched(items())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="from behind"):
        next(taken)


def test_the_background_thread_ends_with_its_reader():
    is_closed = []

    def items():
        try:
            while True:
                yield 1
        finally:
            is_closed.append(True)

    taken = prefetched(items())
    next(taken)
    taken.close()
    assert is_closed == [True]
