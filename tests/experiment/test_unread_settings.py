"""Settings that nothing reads are told all at once, with what resets them."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.settings import as_override, hydra_override

FEATURES = ["source.kind=features", "source.features=x", "model.encoder.feature_dim=384"]


def refusal(overrides: list[str]) -> str:
    with pytest.raises(ConfigError) as error:
        compose_experiment(overrides)
    return str(error.value)


def resets_in(message: str) -> list[str]:
    return shlex.split(message.partition("reset them with: ")[2].partition("; of these")[0])


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=own/avt", *FEATURES],
        ["experiment=own/sgear", *FEATURES],
        ["experiment=own/sgear", "model.name=avt"],
        ["experiment=kitchen/sgear", "model.name=avt", "objective.next=0"],
        ["experiment=epic100/vit", *FEATURES, "model.name=avt"],
    ],
)
def test_one_message_resets_all_that_a_choice_leaves_unread(overrides):
    message = refusal(overrides)
    resets = resets_in(message)
    assert len(resets) > 2
    compose_experiment([*overrides, *resets])


def test_a_recipe_on_films_names_its_encoder_among_what_features_leave_unread():
    message = refusal(["experiment=own/avt", *FEATURES])
    assert "model.encoder.name=vit_small_patch16_224.augreg_in21k_ft_in1k with source.kind=features" in message
    assert "model.encoder.name=features" in message


def test_what_was_typed_may_be_left_out_and_what_a_recipe_sets_is_reset():
    message = refusal(["experiment=own/avt", "source.reading=films"])
    assert message.endswith("the recipe sets it; reset it with source.cache_fps=6.0")
    assert "leave it out, or reset it with optim.nesterov=false" in refusal(
        ["experiment=own/avt", "optim.nesterov=true"]
    )
    message = refusal(["experiment=own/avt", *FEATURES, "source.brightness=0.5"])
    assert message.endswith("; of these you typed source.brightness: leave that out instead")


@settings(max_examples=10)
@given(st.text(st.characters(exclude_characters="\\$", exclude_categories=["Cs", "Cc"]), max_size=20))
def test_a_text_comes_through_the_quotes_of_hydra_and_the_shell(text):
    (word,) = shlex.split(as_override("dataset.root", f"x{text}"))
    assert word == hydra_override("dataset.root", f"x{text}")
    assert compose_experiment(["experiment=own/avt", word]).dataset.root == f"x{text}"


def test_a_text_that_hydra_cannot_read_comes_with_its_quotes():
    message = refusal(["experiment=own/avt", "dataset.root=a[b]c"])
    assert message.endswith("""stands in quotes: 'dataset.root="a[b]c"'""")


def test_a_home_that_the_shell_did_not_expand_comes_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert refusal(["experiment=own/avt", "dataset.root=~/kitchen"]).endswith("quotes: dataset.root=/home/me/kitchen")
