"""The page and the picture of sets of prototypes."""

import io
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sgear.prototypes import cosine_relations
from sgear.report.label_places import place_labels
from sgear.report.prototype_map import kept_neighbours, plane_positions
from sgear.report.prototype_page import render_page, render_picture, write_prototype_page
from sgear.report.prototype_views import PrototypeSet, fact_rows
from sgear.report.style import COLOURS
from sgear.taxonomy import Taxonomy


def make_taxonomy(num_verbs: int = 3, num_nouns: int = 4) -> Taxonomy:
    verbs = tuple(f"verb{index}" for index in range(num_verbs))
    nouns = tuple(f"noun{index}" for index in range(num_nouns))
    pairs = tuple((verb, noun) for verb in range(num_verbs) for noun in range(num_nouns))
    return Taxonomy(verbs=verbs, nouns=nouns, action_pairs=pairs)


def make_set(taxonomy: Taxonomy, title: str = "language", seed: int = 0, *, num_filled: int | None = None):
    """Vectors in which actions of one noun are alike, as they are in language."""
    generator = torch.Generator().manual_seed(seed)
    nouns = torch.randn(len(taxonomy.nouns), 16, generator=generator)
    vectors = nouns[torch.from_numpy(taxonomy.noun_of_action)]
    vectors = vectors + 0.4 * torch.randn(vectors.shape, generator=generator)
    return PrototypeSet(title=title, source=f"{title} source", vectors=vectors, num_filled=num_filled)


def relations_of(each: PrototypeSet):
    return cosine_relations(each.vectors).numpy()


def test_a_page_holds_every_class_and_nothing_from_elsewhere():
    taxonomy = make_taxonomy()
    page = render_page([make_set(taxonomy)], taxonomy, heading="toy <1>")
    assert "toy &lt;1&gt;" in page
    assert all(name in page for name in taxonomy.action_names)
    assert "language source" in page
    assert page.count("<svg") == page.count("</svg>") == 2
    assert not re.search(r"(src|href)=['\"](?!#|data:)", page)
    assert "<script" not in page


def test_a_page_of_two_sets_shows_both_and_how_they_agree():
    taxonomy = make_taxonomy()
    sets = [make_set(taxonomy), make_set(taxonomy, "visual", 1, num_filled=2)]
    page = render_page(sets, taxonomy, heading="toy")
    assert "Do the two sets agree?" in page
    assert "made from siblings" in page
    assert page.count("<svg") == 4
    assert page.count("Nearest neighbours, ") == 2


@pytest.mark.parametrize(("num_verbs", "num_nouns"), [(1, 2), (3, 1), (2, 70)])
def test_vocabularies_of_any_size_are_drawn(num_verbs, num_nouns):
    taxonomy = make_taxonomy(num_verbs, num_nouns)
    sets = [make_set(taxonomy), make_set(taxonomy, "visual", 1)]
    page = render_page(sets, taxonomy, heading="toy")
    assert page.count("<tr>") >= 2 * taxonomy.num_actions


def test_equal_prototypes_are_drawn_too():
    taxonomy = make_taxonomy()
    equal = PrototypeSet(title="visual", source="s", vectors=torch.ones(12, 3))
    page = render_page([make_set(taxonomy), equal], taxonomy, heading="toy")
    assert "Do the two sets agree?" not in page


def test_a_picture_is_a_png_with_ink():
    taxonomy = make_taxonomy()
    with Image.open(io.BytesIO(render_picture([make_set(taxonomy)], taxonomy))) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (pixels.mean(axis=2) < 128).mean() > 0.005
    for colour in COLOURS[: len(taxonomy.verbs)]:
        wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        assert (np.abs(pixels - wanted).max(axis=2) < 12).sum() > 50, f"the dots of {colour} are missing"


def test_a_file_is_chosen_by_its_ending(tmp_path):
    taxonomy = make_taxonomy()
    write_prototype_page([make_set(taxonomy)], taxonomy, tmp_path / "a" / "page.html", heading="toy")
    assert (tmp_path / "a" / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(ValueError, match=r"\.html .* \.png, got '\.pdf'"):
        write_prototype_page([make_set(taxonomy)], taxonomy, tmp_path / "page.pdf", heading="toy")


def test_facts_name_what_is_compared():
    taxonomy = make_taxonomy()
    rows = dict(fact_rows([make_set(taxonomy), make_set(taxonomy, "visual", 1, num_filled=3)], taxonomy))
    assert rows["size"] == ["12 x 16", "12 x 16"]
    assert rows["made from siblings"] == ["-", "3"]
    assert "rank correlation with language" in rows


def test_three_sets_are_refused():
    taxonomy = make_taxonomy()
    with pytest.raises(ValueError, match="one or two sets"):
        render_page([make_set(taxonomy)] * 3, taxonomy, heading="toy")


@pytest.mark.parametrize("num_nouns", [2, 4, 12])
def test_a_plane_keeps_families_together_and_is_the_same_each_time(num_nouns):
    taxonomy = make_taxonomy(4, num_nouns)
    relations = relations_of(make_set(taxonomy))
    positions = plane_positions(relations)
    assert np.isfinite(positions).all()
    assert np.array_equal(positions, plane_positions(relations))
    chance = 3 / (taxonomy.num_actions - 1)
    assert kept_neighbours(relations, positions, k=3) > min(0.95, 1.8 * chance)
    # No dot is thrown far away from all others, which would leave them no room.
    distance = np.linalg.norm(positions - np.median(positions, axis=0), axis=1)
    assert distance.max() < 4 * np.median(distance)


def test_kept_neighbours_is_one_where_the_plane_is_the_space():
    angles = np.linspace(0, 1.5, 9) ** 1.5
    vectors = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert kept_neighbours(cosine_relations(vectors).numpy(), vectors.numpy(), k=3) == 1.0


def overlap(one, other) -> bool:
    return one.left < other.right and other.left < one.right and one.bottom < other.top and other.bottom < one.top


@given(seed=st.integers(0, 2**20), num=st.integers(1, 40))
def test_names_lie_over_no_other_name_and_no_dot_and_inside_the_drawing(seed, num):
    rng = np.random.default_rng(seed)
    dots = rng.uniform(5, 195, (num, 2))
    sizes = np.stack([rng.uniform(10, 60, num), np.full(num, 7.0)], axis=1)
    places = place_labels(dots, sizes, dot_radius=2.0, width=200.0, height=200.0)
    placed = [place for place in places if place is not None]
    for index, place in enumerate(placed):
        assert place.left >= 0
        assert place.bottom >= 0
        assert place.right <= 200
        assert place.top <= 200
        assert not any(overlap(place, other) for other in placed[index + 1 :])
    for place in placed:
        inside = (dots >= (place.left, place.bottom)).all(axis=1) & (dots <= (place.right, place.top)).all(axis=1)
        assert not inside.any()


def test_a_lonely_dot_is_named_right_beside_it():
    (place,) = place_labels(np.array([[50.0, 50.0]]), np.array([[30.0, 7.0]]), dot_radius=2.0, width=200.0, height=99.0)
    assert place is not None
    assert (place.align, place.is_far) == ("left", False)
    assert 52 < place.left < 55


def test_no_more_names_are_placed_than_asked_for():
    dots = np.random.default_rng(0).uniform(0, 900, (50, 2))
    places = place_labels(dots, np.full((50, 2), 5.0), dot_radius=1.0, width=900.0, height=900.0, max_labels=7)
    assert sum(place is not None for place in places) == 7
