"""The numbers of the published recipes, written down a second time from their own files; and those of our heads."""

import re
from pathlib import Path

import pytest
from tiny_recipes import head_of, recipe

from sgear.experiment import list_experiments

WEIGHTS = ("sem", "reg", "past", "feat", "past_sem")
NEVER_CLIPPED = ("epic100/", "epic55/", "egtea/", "salads50/vit", "salads50/avt_vit")

# tau_a / length of the window that is kept / steps per second (tau_a below 0 is recognition); layers x heads; dropout;
# losses (WEIGHTS); optimizer (nesterov: sgd with it), rate, decay, batch, epochs / warmup; views; whether a linear map
# stands between stored features and the decoder; whether the cosines to the prototypes have a gradient into the
# anticipated feature. The release of S-GEAR on features adds up the gradients of 4 batches: 4 times its rate on their
# mean; so does AVT on EPIC-KITCHENS-55, whose batch holds these 4.
PUBLISHED = """
epic100/vit             1/15/1   6x4  0.2 4,1,1,1,0   sgd      0.0001 1e-05   3   50/20  three-crop      map pulls
epic100/vit_recognition -1/5/2   6x4  0.2 4,1,1,1,0   sgd      0.0001 1e-05   3   50/20  centre          map pulls
epic100/tsn             1/15/1   6x4  0.2 0,1,0,1,0   sgd      0.0004 2.5e-06 16  20/0   centre          map -
epic100/tsn_obj         1/15/1   6x4  0.2 0,1,0,1,0   sgd      0.0004 2.5e-06 16  20/0   centre          map -
epic100/tsn_flow        1/15/1   6x4  0.2 0,1,0,1,0   sgd      0.0004 2.5e-06 16  20/0   centre          map -
epic100/igm             1/15/1   6x4  0.2 0,1,0,1,0   sgd      0.0004 2.5e-06 16  20/0   centre          map -
epic100/avt_tsn         1/10/1   6x4  0.2 0,0,1,1,0   nesterov 0.001  1e-06   64  50/20  centre          -   pulls
epic100/avt_tsn_obj     1/10/1   6x4  0.2 0,0,1,1,0   nesterov 0.001  1e-06   64  50/20  centre          -   pulls
epic100/avt_tsn_flow    1/10/1   6x4  0.2 0,0,1,1,0   nesterov 0.001  1e-06   64  50/0   centre          -   pulls
epic100/avt_igm         1/10/1   8x2  0.2 0,0,1,1,0   nesterov 0.001  1e-06   64  50/5   centre          -   pulls
epic100/avt_vit         1/10/1   6x4  0.2 0,0,1,1,0   nesterov 0.0001 1e-06   3   50/20  three-crop-flip map pulls
epic55/vit              1/10/1   8x8  0.8 4,1,1,1,0   nesterov 0.0001 0.0001  3   20/5   centre          map pulls
epic55/vit_recognition  -2/3/2   6x4  0.2 2,2,0,1,0   sgd      0.0001 0.0001  3   35/5   centre          map pulls
epic55/tsn              1/5/2    8x8  0.8 0,1,0,1,0   adamw    5e-05  0.0001  64  20/0   centre          map -
epic55/tsn_obj          1/5/2    8x8  0.8 0,1,0,1,0   adamw    5e-05  0.0001  64  20/0   centre          map -
epic55/tsn_flow         1/5/2    8x8  0.8 0,1,0,1,0   adamw    5e-05  0.0001  64  20/0   centre          map -
epic55/igm              1/5/2    8x8  0.8 0,1,0,1,0   adamw    5e-05  0.0001  64  20/0   centre          map -
epic55/avt_vit          1/10/1   6x4  0.8 0,0,1,1,0   nesterov 0.0001 0.0001  3   35/5   three-crop-flip map pulls
epic55/avt_tsn          1/5/2    12x8 0.8 0,0,0,2,0   adam     2e-05  0.0001  128 20/5   centre          -   pulls
epic55/avt_igm          1/5/2    12x8 0.8 0,0,0,2,0   adam     2e-05  0.0001  128 20/0   centre          -   pulls
egtea/vit               0.25/4/4 2x4  0.2 2,0,0.1,1,1 nesterov 5e-05  1e-06   8   10/5   three-crop-flip map pulls
egtea/vit_recognition   -2/4/2.5 2x4  0.2 2,1,0,1,0   nesterov 0.0005 1e-06   3   10/5   centre          map pulls
egtea/avt_vit           0.5/10/1 2x4  0.2 0,0,0.1,1,0 nesterov 0.0005 1e-06   3   10/5   three-crop-flip map pulls
egtea/avt_tsn           0.5/10/1 2x4  0.8 0,0,0.1,1,0 nesterov 0.001  1e-06   64  15/0   centre          -   pulls
salads50/vit            1/20/0.5 8x8  0.8 0,0,0.1,1,0 adam     5e-07  0.0001  2   10/10  three-crop-flip map pulls
salads50/avt_vit        1/20/0.5 8x8  0.8 0,0,1,1,0   adam     5e-07  0.0001  2   200/20 three-crop-flip map pulls
"""
RECIPES = {line.split()[0]: line.split()[1:] for line in PUBLISHED.strip().splitlines()}


def as_published(name: str) -> list[str]:
    config = recipe(name)
    protocol, optim, decoder, head = config.protocol, config.optim, config.model.decoder, config.model.head
    if protocol.kind == "recognition":
        window = (-protocol.after_start_s, protocol.num_steps / protocol.fps, protocol.fps)
    else:
        window = (protocol.tau_a_s, protocol.tau_o_s, protocol.fps)
    return [
        "/".join(f"{value:g}" for value in window),
        f"{decoder.num_layers}x{decoder.num_heads}",
        f"{head.dropout:g}",
        ",".join(f"{getattr(config.objective, name):g}" for name in WEIGHTS),
        "nesterov" if optim.nesterov else optim.name,
        f"{optim.lr:g}",
        f"{optim.weight_decay:g}",
        f"{optim.batch_size}",
        f"{optim.epochs}/{optim.warmup_epochs:g}",
        protocol.views,
        "map" if config.model.encoder.map else "-",
        "-" if head.detach_similarity_feature else "pulls",
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_published_numbers(name):
    assert as_published(name) == RECIPES[name]
    config = recipe(name)
    objective, init = config.objective, config.init
    assert (objective.cls, config.model.decoder.width) == (1.0, 2048)
    assert objective.past_mean == ("all" if objective.past or objective.past_sem else "labelled")
    if config.protocol.kind == "anticipation":
        assert config.protocol.view_mean == ("probabilities" if config.protocol.views == "centre" else "logits")
    assert config.model.head.past_similarity == ("encoder" if objective.past_sem else "predicted")
    if name in ("epic100/vit", "epic55/vit"):
        assert (init.run, init.blocks, init.freeze) == ("", [], [])
        assert init.visual_prototypes
        assert init.language_prototypes


@pytest.mark.parametrize("name", [name for name in list_experiments() if "rulstm" in name])
def test_rulstm_has_its_own_numbers(name):
    config = recipe(name)
    protocol, rulstm, optim = config.protocol, config.model.rulstm, config.optim
    assert (protocol.tau_a_s, protocol.tau_o_s, protocol.fps) == (0.25, 3.5, 4.0)
    assert (rulstm.hidden_dim, rulstm.anticipation_steps, rulstm.dropout) == (1024, 8, 0.8)
    assert (optim.name, optim.lr, optim.weight_decay, optim.batch_size, optim.epochs) == ("sgd", 0.01, 0.0, 128, 100)
    assert config.model.encoder.feature_dim == sum(rulstm.modalities)
    assert rulstm.sequence_completion == name.endswith("_completion")


@pytest.mark.parametrize("name", [name for name in list_experiments() if name.startswith(NEVER_CLIPPED)])
def test_no_published_recipe_clips_gradients(name):
    config = recipe(name)
    # The annotated past is a benchmark of this project; nothing published clips or does not.
    assert config.optim.clip_norm == 0.0 or config.source.kind == "annotations"


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("epic100/vit", "vit_base_patch16_384.orig_in21k_ft_in1k"),
        ("epic100/avt_vit", "vit_base_patch16_224.orig_in21k"),
        ("epic55/vit", "vit_base_patch16_384.orig_in21k_ft_in1k"),
        ("epic55/avt_vit", "vit_base_patch16_224.orig_in21k_ft_in1k"),
        ("egtea/vit", "vit_base_patch16_224.orig_in21k_ft_in1k"),
        ("egtea/avt_vit", "vit_base_patch16_224.orig_in21k_ft_in1k"),
        ("salads50/vit", "vit_base_patch16_224.orig_in21k"),
        ("salads50/avt_vit", "vit_base_patch16_224.orig_in21k"),
    ],
)
def test_a_recipe_starts_from_the_weights_that_the_original_downloads(name, weights):
    encoder = recipe(name).model.encoder
    assert (encoder.name, encoder.pretrained) == (weights, True)


@pytest.mark.parametrize(
    ("name", "crop", "short_sides"),
    [
        # Of training from and to, of evaluation.
        ("epic100/vit", 384, [384, 425, 388]),
        ("epic100/vit_recognition", 384, [384, 425, 388]),
        ("epic100/avt_vit", 224, [248, 280, 248]),
        ("epic55/vit", 384, [384, 428, 388]),
        ("epic55/vit_recognition", 224, [248, 280, 248]),
        ("egtea/vit", 224, [248, 280, 248]),
        ("salads50/vit", 224, [248, 280, 248]),
    ],
)
def test_a_recipe_has_the_released_short_sides(name, crop, short_sides):
    config = recipe(name)
    assert config.model.encoder.image_height == config.model.encoder.image_width == crop
    margins = (*config.source.scale_jitter, config.source.crop_margin)
    assert [round(crop * (1 + margin)) for margin in margins] == short_sides


@pytest.mark.parametrize("features", ["spatialcnn", "accelerometer", "fused"])
def test_avt_and_sgear_have_the_same_budget(features):
    sgear, avt = (recipe(f"salads50/{features}{suffix}") for suffix in ("", "_avt"))
    assert (sgear.model.name, avt.model.name) == ("sgear", "avt")
    for part in ("optim", "protocol", "source", "dataset"):
        assert getattr(sgear, part) == getattr(avt, part)
    assert (sgear.model.encoder, sgear.model.decoder) == (avt.model.encoder, avt.model.decoder)


PAGES = Path(__file__).resolve().parents[2]
EXPECTED = [name for name in list_experiments() if "Expected" in head_of(name)]


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_head_expects_was_measured_over_seeds_and_stands_on_a_page(name):
    expected = head_of(name).partition("Expected")[2]
    assert re.search(r"\d seed", expected)
    values = re.findall(r"\d+\.\d(?: \+- \d+\.\d)?", expected)
    assert values
    pages = [*(PAGES / "docs" / "results").glob("*.md"), PAGES / "research" / "LOG.md"]
    measured = " ".join(page.read_text(encoding="utf-8") for page in pages)
    assert [value for value in values if value not in measured] == []
