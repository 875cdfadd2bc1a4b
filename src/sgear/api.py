"""What `import sgear` offers beside loading a model: train, evaluate, fuse, and lists of what there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgear.errors import ConfigError, PredictionError

if TYPE_CHECKING:
    import polars as pl

    from sgear.datasets import Benchmark
    from sgear.models import AnticipationModel
    from sgear.predictions import Predictions
    from sgear.predictions.fusion import Rule
    from sgear.training.run import RunDirectory


def _names() -> dict[str, str]:
    """Return the metrics of a report by their headings, class-mean recall@5 first."""
    from sgear.metrics import metrics  # noqa: PLC0415

    names = {metric.heading: name for name, metric in metrics().items()}
    return {"recall@5": names.pop("recall@5"), **names}


class Scores(Mapping[str, float]):
    """Scores of a split: `scores["recall@5"]` is the action's over all segments, in percent.

    Attributes:
        report: Everything, as in `report.json`: protocol, counts, caveats, and the scores of verb, noun and action,
            overall and over each subset, in [0, 1].
    """

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report

    def __getitem__(self, name: str) -> float:
        values = self.report["scores"]["overall"]["action"]
        names = _names()
        if name not in names:
            raise KeyError(f"{name!r}; choose {', '.join(names)}")
        return 100 * values[names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(_names())

    def __len__(self) -> int:
        return len(_names())

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.1f}" for name, value in self.items())
        caveat = f"; {self.report['caveat']}" if "caveat" in self.report else ""
        return f"Scores({self.report['benchmark']}: {numbers}{caveat})"

    def to_frame(self) -> pl.DataFrame:
        """Return a table with one row per subset and field: counts, and scores in percent."""
        import polars as pl  # noqa: PLC0415

        rows = [
            {
                "subset": subset,
                "field": field,
                "samples": values["num_samples"],
                "classes": values["num_classes"],
                **{name: 100 * values[key] if key in values else None for name, key in _names().items()},
            }
            for subset, fields in self.report["scores"].items()
            for field, values in fields.items()
        ]
        return pl.DataFrame(rows)


def list_models() -> list[str]:
    """Return the names that `create_model` and `model.name` take."""
    from sgear.models import list_models as names  # noqa: PLC0415

    return names()


def list_datasets() -> list[str]:
    """Return the names that `load_dataset` and `dataset.name` take."""
    from sgear.datasets import dataset_names  # noqa: PLC0415

    return list(dataset_names())


def list_experiments() -> list[str]:
    """Return the names of the recipes that `train` takes."""
    from sgear.experiment.recipes import list_experiments as names  # noqa: PLC0415

    return names()


def load_dataset(name: str, root: Path | str | None = None, *, split: int = 1, granularity: str = "mid") -> Benchmark:
    """Load segments, vocabulary and subsets of a data set.

    Args:
        name: One of `list_datasets()`.
        root: Its folder. Default: the folder of its name under the environment variable SGEAR_DATA.
        split: Number of the official split, where it has several.
        granularity: Level of the labels (salads50).

    Raises:
        AnnotationError: If files are missing or wrong.
    """
    from sgear.datasets import load_dataset as load  # noqa: PLC0415

    return load(name, None if root is None else Path(root), split=split, granularity=granularity)


def create_model(
    model: str,
    *,
    num_actions: int,
    num_verbs: int = 0,
    num_nouns: int = 0,
    feature_dim: int = 0,
    encoder: str = "",
    **settings: Any,
) -> AnticipationModel:
    """Build a bare network with random weights.

    Args:
        model: One of `list_models()`.
        num_actions: Number of action classes A.
        num_verbs: Number of verbs V, for a verb classifier (`head.verb_noun`).
        num_nouns: Number of nouns N, for a noun classifier.
        feature_dim: Width F of stored features: the network then reads clips [B T F].
        encoder: Full name of a timm ViT instead: the network then reads clips [B T 3 H W].
        settings: Other fields of its `Config`, e.g. `width=256, max_steps=20`.

    Raises:
        ConfigError: If a name is unknown, or settings do not fit together.
    """
    from sgear.models import EncoderConfig, RulstmConfig, build_model, model_config  # noqa: PLC0415

    if feature_dim and encoder:
        raise ConfigError(f"feature_dim={feature_dim} and encoder={encoder!r}: a network reads one of both")
    if feature_dim or encoder:
        settings["encoder"] = EncoderConfig(name=encoder) if encoder else EncoderConfig(feature_dim=feature_dim)
    if feature_dim and model == "rulstm":
        settings.setdefault("rulstm", RulstmConfig(modalities=[feature_dim]))
    config = model_config(model, **settings)
    return build_model(config, num_actions=num_actions, num_verbs=num_verbs, num_nouns=num_nouns)


def train(experiment: str, *overrides: str, dataset: Path | str | None = None, **settings: Any) -> RunDirectory:
    """Train and evaluate an experiment, as `sgear train` does.

    Args:
        experiment: One of `list_experiments()`.
        overrides: Settings as `key=value`, e.g. "optim.lr=1e-3"; see `sgear train --settings`.
        dataset: Folder of the data set (`dataset.root`).
        settings: Settings without a dot in their name, e.g. `seed=1, name="second"`.

    Returns:
        The run directory; `sgear.load(run.path)` loads its model.

    Raises:
        SgearError: If data or settings are wrong; nothing is left half-written then.
    """
    from sgear.experiment.compose import compose_experiment  # noqa: PLC0415
    from sgear.experiment.settings import hydra_override  # noqa: PLC0415
    from sgear.experiment.train import train_run  # noqa: PLC0415

    given = [hydra_override(key, value) for key, value in settings.items()]
    if dataset is not None:
        given.append(hydra_override("dataset.root", str(dataset)))
    return train_run(compose_experiment([f"experiment={experiment}", *given, *overrides]))


def evaluate(
    target: Path | str | Predictions,
    *,
    dataset: str = "",
    root: Path | str | None = None,
    split: int = 1,
    granularity: str = "mid",
) -> Scores:
    """Score a run, or predictions of any origin.

    Args:
        target: Run directory, which is evaluated again; or predictions, in memory or in a file.
        dataset: Data set that the predictions belong to, e.g. `epic100`.
        root: Folder of the data set, for a run where it lies now. Default: under SGEAR_DATA; for a run, where it was.
        split: Number of the official split, where it has several.
        granularity: Level of the labels (salads50).

    Raises:
        SgearError: If files are missing or damaged, or predictions do not hold each segment exactly once.
    """
    from sgear.experiment.moved import Places  # noqa: PLC0415
    from sgear.predictions import Predictions  # noqa: PLC0415
    from sgear.scoring import make_report, read_predictions  # noqa: PLC0415

    if not isinstance(target, Predictions) and Path(target).is_dir():
        from sgear.experiment.evaluate import evaluate_run  # noqa: PLC0415
        from sgear.experiment.moved import Places  # noqa: PLC0415

        if dataset:
            raise PredictionError(f"{target}: a run knows its data set; leave out dataset")
        return Scores(evaluate_run(Path(target), places=Places(root=None if root is None else Path(root))))
    if not dataset:
        raise PredictionError("name the data set of the predictions, e.g. dataset='epic100'")
    benchmark = load_dataset(dataset, root, split=split, granularity=granularity)
    table = target if isinstance(target, Predictions) else read_predictions(Path(target), benchmark)
    return Scores(make_report(table, benchmark))


def fuse(
    predictions: Sequence[Predictions | Path | str], weights: Sequence[float] | None = None, *, rule: Rule = "probs"
) -> Predictions:
    """Fuse the predictions of several models on the same segments.

    Args:
        predictions: In memory or in files, one per model.
        weights: One per model. Default: equal.
        rule: What is averaged: `probs`, `logits`, `ranks`, or `avt`, the published rule; see `late_fuse`.

    Raises:
        PredictionError: If they do not belong together.
    """
    from sgear.predictions import Predictions  # noqa: PLC0415
    from sgear.predictions.fusion import late_fuse  # noqa: PLC0415

    tables = [each if isinstance(each, Predictions) else Predictions.load(Path(each)) for each in predictions]
    return late_fuse(tables, weights or [1.0] * len(tables), rule=rule)
