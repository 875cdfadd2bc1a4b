import pytest

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment, list_experiments

EXPERIMENTS = [
    name
    for name in list_experiments()
    if name.startswith(("salads50/spatialcnn", "salads50/accelerometer", "salads50/fused"))
]


def test_the_six_experiments_exist():
    assert EXPERIMENTS == [
        "salads50/accelerometer",
        "salads50/accelerometer_avt",
        "salads50/fused",
        "salads50/fused_avt",
        "salads50/spatialcnn",
        "salads50/spatialcnn_avt",
    ]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name):
    config = compose_experiment([f"experiment={name}"])
    assert config.dataset.name == "salads50-tcn"
    assert config.protocol.tau_a_s == 1.0
    assert config.model.encoder.recogniser


@pytest.mark.parametrize("features", ["spatialcnn", "accelerometer", "fused"])
def test_avt_and_sgear_have_the_same_budget(features):
    sgear, avt = (compose_experiment([f"experiment=salads50/{features}{suffix}"]) for suffix in ("", "_avt"))
    assert (sgear.model.name, avt.model.name) == ("sgear", "avt")
    for part in ("optim", "protocol", "source", "dataset"):
        assert getattr(sgear, part) == getattr(avt, part)
    assert (sgear.model.encoder, sgear.model.decoder) == (avt.model.encoder, avt.model.decoder)


def test_class_confusion_of_pixels_is_an_error():
    with pytest.raises(ConfigError, match=r"source\.confusion=0\.5 has no effect"):
        compose_experiment(["experiment=kitchen/avt", "source.confusion=0.5"])
