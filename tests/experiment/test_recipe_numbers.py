"""The numbers of the published recipes, written down a second time from their own files; and those of our heads."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_recipes import head_of

from sgear.experiment import compose_experiment, list_experiments

WEIGHTS = ("sem", "reg", "past", "feat", "past_sem")
NEVER_CLIPPED = ("epic100/", "epic55/", "egtea/", "salads50/vit", "salads50/avt_vit")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a published file says: window, network, losses (`WEIGHTS`), optimisation."""

    window: tuple[float, float, float]
    """tau_a and the length of the window that is kept in seconds, steps per second; tau_a below 0 is recognition."""
    num_steps: int
    layers: int
    heads: int
    dropout: float
    losses: tuple[float, ...]
    optimizer: str
    nesterov: bool = False
    lr: float
    decay: float
    batch: int
    epochs: float
    warmup: float
    views: str = "centre"
    has_map: bool = True
    """Whether a linear map stands between stored features and the decoder."""
    pulls: bool = True
    """Whether the cosines to the prototypes have a gradient into the anticipated feature."""


def avt(**changes) -> Recipe:
    return Recipe(
        **(
            {
                "window": (1.0, 10.0, 1.0),
                "num_steps": 10,
                "layers": 6,
                "heads": 4,
                "dropout": 0.2,
                "losses": (0, 0, 1, 1, 0),
                "optimizer": "sgd",
                "nesterov": True,
                "lr": 1e-3,
                "decay": 1e-6,
                "batch": 64,
                "epochs": 50,
                "warmup": 20,
                "has_map": "views" in changes,
            }
            | changes
        )
    )


def sgear(**changes) -> Recipe:
    return Recipe(
        **(
            {
                "window": (1.0, 15.0, 1.0),
                "num_steps": 15,
                "layers": 6,
                "heads": 4,
                "dropout": 0.2,
                "losses": (4, 1, 1, 1, 0),
                "optimizer": "sgd",
                "lr": 1e-4,
                "decay": 1e-5,
                "batch": 3,
                "epochs": 50,
                "warmup": 20,
                "views": "three-crop",
            }
            | changes
        )
    )


# The release adds up the gradients of 4 batches: 4 times its rate on their mean.
EK100_FEATURES = sgear(
    losses=(0, 1, 0, 1, 0), lr=4 * 1e-4, decay=1e-5 / 4, batch=16, epochs=20, warmup=0, views="centre", pulls=False
)
EK55 = {"layers": 8, "heads": 8, "dropout": 0.8, "decay": 1e-4, "epochs": 20, "warmup": 5, "window": (1.0, 10.0, 1.0)}
EK55_FEATURES = sgear(
    **{**EK55, "window": (1.0, 5.0, 2.0), "warmup": 0},
    num_steps=10,
    losses=(0, 1, 0, 1, 0),
    optimizer="adamw",
    lr=5e-5,
    batch=64,
    views="centre",
    pulls=False,
)
EGTEA = {"layers": 2, "nesterov": True, "decay": 1e-6, "epochs": 10, "warmup": 5}
SALADS = {
    "window": (1.0, 20.0, 0.5),
    "num_steps": 10,
    "layers": 8,
    "heads": 8,
    "dropout": 0.8,
    "optimizer": "adam",
    "nesterov": False,
    "lr": 5e-7,
    "decay": 1e-4,
    "batch": 2,
    "views": "three-crop-flip",
}
RECIPES = {
    "epic100/vit": sgear(),
    "epic100/vit_recognition": sgear(window=(-1.0, 5.0, 2.0), num_steps=10, views="centre"),
    "epic100/tsn": EK100_FEATURES,
    "epic100/tsn_obj": EK100_FEATURES,
    "epic100/tsn_flow": EK100_FEATURES,
    "epic100/igm": EK100_FEATURES,
    "epic100/avt_tsn": avt(),
    "epic100/avt_tsn_obj": avt(),
    "epic100/avt_tsn_flow": avt(warmup=0),
    "epic100/avt_igm": avt(layers=8, heads=2, warmup=5),
    "epic100/avt_vit": avt(lr=1e-4, batch=3, views="three-crop-flip"),
    "epic55/vit": sgear(**EK55, num_steps=10, nesterov=True, views="centre"),
    "epic55/vit_recognition": sgear(
        window=(-2.0, 3.0, 2.0), num_steps=6, losses=(2, 2, 0, 1, 0), decay=1e-4, epochs=35, warmup=5, views="centre"
    ),
    "epic55/tsn": EK55_FEATURES,
    "epic55/tsn_obj": EK55_FEATURES,
    "epic55/tsn_flow": EK55_FEATURES,
    "epic55/igm": EK55_FEATURES,
    "epic55/avt_vit": avt(dropout=0.8, lr=1e-4, decay=1e-4, batch=3, epochs=35, warmup=5, views="three-crop-flip"),
    "epic55/avt_tsn": avt(
        **{**EK55, "layers": 12, "window": (1.0, 5.0, 2.0)},
        losses=(0, 0, 0, 2, 0),
        optimizer="adam",
        nesterov=False,
        lr=4 * 5e-6,
        batch=4 * 32,
    ),
    "epic55/avt_igm": avt(
        **{**EK55, "layers": 12, "window": (1.0, 5.0, 2.0), "warmup": 0},
        losses=(0, 0, 0, 2, 0),
        optimizer="adam",
        nesterov=False,
        lr=4 * 5e-6,
        batch=4 * 32,
    ),
    "egtea/vit": sgear(
        **EGTEA,
        window=(0.25, 4.0, 4.0),
        num_steps=16,
        losses=(2, 0, 0.1, 1, 1),
        lr=5e-5,
        batch=8,
        views="three-crop-flip",
    ),
    "egtea/vit_recognition": sgear(
        **EGTEA, window=(-2.0, 4.0, 2.5), num_steps=10, losses=(2, 1, 0, 1, 0), lr=5e-4, views="centre"
    ),
    "egtea/avt_vit": avt(
        **EGTEA, window=(0.5, 10.0, 1.0), losses=(0, 0, 0.1, 1, 0), lr=5e-4, batch=3, views="three-crop-flip"
    ),
    "egtea/avt_tsn": avt(window=(0.5, 10.0, 1.0), layers=2, dropout=0.8, losses=(0, 0, 0.1, 1, 0), epochs=15, warmup=0),
    "salads50/vit": sgear(**SALADS, losses=(0, 0, 0.1, 1, 0), epochs=10, warmup=10),
    "salads50/avt_vit": avt(**SALADS, epochs=200, warmup=20),
}


def as_recipe(name: str) -> Recipe:
    config = compose_experiment([f"experiment={name}"])
    protocol, optim = config.protocol, config.optim
    if protocol.kind == "recognition":
        num_steps = protocol.num_steps
        window = (-protocol.after_start_s, num_steps / protocol.fps, protocol.fps)
    else:
        window, num_steps = (protocol.tau_a_s, protocol.tau_o_s, protocol.fps), round(protocol.tau_o_s * protocol.fps)
    return Recipe(
        window=window,
        num_steps=num_steps,
        layers=config.model.decoder.num_layers,
        heads=config.model.decoder.num_heads,
        dropout=config.model.head.dropout,
        losses=tuple(getattr(config.objective, name) for name in WEIGHTS),
        optimizer=optim.name,
        nesterov=optim.nesterov,
        lr=optim.lr,
        decay=optim.weight_decay,
        batch=optim.batch_size,
        epochs=optim.epochs,
        warmup=optim.warmup_epochs,
        views=protocol.views,
        has_map=config.model.encoder.map,
        pulls=not config.model.head.detach_similarity_feature,
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_published_numbers(name):
    assert as_recipe(name) == RECIPES[name]
    config = compose_experiment([f"experiment={name}"])
    assert config.objective.cls == 1.0
    assert config.model.decoder.width == 2048


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_averages_and_starts_as_published(name):
    config = compose_experiment([f"experiment={name}"])
    objective, init = config.objective, config.init
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
    config = compose_experiment([f"experiment={name}"])
    protocol, rulstm, optim = config.protocol, config.model.rulstm, config.optim
    assert (protocol.tau_a_s, protocol.tau_o_s, protocol.fps) == (0.25, 3.5, 4.0)
    assert (rulstm.hidden_dim, rulstm.anticipation_steps, rulstm.dropout) == (1024, 8, 0.8)
    assert (optim.name, optim.lr, optim.weight_decay, optim.batch_size, optim.epochs) == ("sgd", 0.01, 0.0, 128, 100)
    assert config.model.encoder.feature_dim == sum(rulstm.modalities)
    assert rulstm.sequence_completion == name.endswith("_completion")


@pytest.mark.parametrize("name", [name for name in list_experiments() if name.startswith(NEVER_CLIPPED)])
def test_no_published_recipe_clips_gradients(name):
    config = compose_experiment([f"experiment={name}"])
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
    encoder = compose_experiment([f"experiment={name}"]).model.encoder
    assert (encoder.name, encoder.pretrained) == (weights, True)


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
