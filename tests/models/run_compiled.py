"""Compile and export models outside of pytest, whose shape checks a compiler cannot read.

Usage: python run_compiled.py BACKEND NAME...; writes the largest difference to the plain model, per model.
"""

import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import torch
from tiny_models import MAX_STEPS, NUM_ACTIONS, NUM_NOUNS, NUM_VERBS, RULSTM, clip_of, tiny_model, tiny_rulstm

from sgear.losses import Objective, ObjectiveConfig
from sgear.training.loop import TrainStep
from sgear.video.transforms import no_colour

PIXEL_MODELS = ("sgear", "sgear-causal", "sgear-decay", "sgear-released")


def make_batch(name: str, num_clips: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(num_clips)
    mask = torch.ones(num_clips, MAX_STEPS, dtype=torch.bool)
    mask[0, :2] = False
    return {
        "clip": clip_of(num_clips, num_clips, MAX_STEPS, pixels=name in PIXEL_MODELS),
        "colour": no_colour().expand(num_clips, -1, -1),
        "mask": mask,
        "step_labels": torch.randint(-1, NUM_ACTIONS, (num_clips, MAX_STEPS), generator=generator),
        "next_labels": torch.randint(-1, NUM_ACTIONS, (num_clips, MAX_STEPS), generator=generator),
        "target": torch.randint(-1, NUM_ACTIONS, (num_clips,), generator=generator),
    }


def train_step(name: str) -> TrainStep:
    if name in RULSTM:
        config = ObjectiveConfig(cls=0.0, past=0.0, feat=0.0, horizons=1.0)
        return TrainStep(tiny_rulstm(name), Objective(config))
    has_prototypes = float(name != "avt")
    config = ObjectiveConfig(
        next=1.0, sem=has_prototypes, past_sem=has_prototypes, reg=has_prototypes, cls_verb=1.0, cls_noun=1.0
    )
    objective = Objective(
        config,
        torch.eye(NUM_ACTIONS) + 0.1,
        verb_of_action=torch.arange(NUM_ACTIONS) % NUM_VERBS,
        noun_of_action=torch.arange(NUM_ACTIONS) % NUM_NOUNS,
    )
    return TrainStep(tiny_model(name, pixels=name in PIXEL_MODELS), objective)


def gradients_and_losses(step, parameters, batch) -> list[torch.Tensor]:
    losses = step(batch)
    for parameter in parameters:
        parameter.grad = None
    losses["total"].backward()
    return [*losses.values(), *(parameter.grad for parameter in parameters if parameter.grad is not None)]


def largest_difference(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    assert len(first) == len(second)
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in zip(first, second, strict=True))


def compare_compiled(name: str, backend: str) -> float:
    step = train_step(name)
    compiled = torch.compile(step, backend=backend, fullgraph=True)
    parameters = [parameter for parameter in step.parameters() if parameter.requires_grad]
    batch = make_batch(name, 3)
    plain = [tensor.clone() for tensor in gradients_and_losses(step, parameters, batch)]
    return largest_difference(plain, gradients_and_losses(compiled, parameters, batch))


class NamedScores(torch.nn.Module):
    """A model whose output is a dict of the tensors it made: graphs know no dataclasses."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clip: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        output = self.model(clip, mask)
        made = {item.name: getattr(output, item.name) for item in fields(output)}
        return {name: tensor for name, tensor in made.items() if tensor is not None}


def export(model: torch.nn.Module, clip: torch.Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("clips")
    mask = torch.ones(clip.shape[:2], dtype=torch.bool)
    with torch.no_grad():
        return torch.export.export(NamedScores(model), (clip, mask), dynamic_shapes=({0: batch}, {0: batch}))


def compare_exported(name: str) -> float:
    pixels = name in PIXEL_MODELS
    model = tiny_rulstm(name) if name in RULSTM else tiny_model(name, pixels=pixels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pt2"
        torch.export.save(export(model, clip_of(0, 3, 5, pixels=pixels)), path)
        program = torch.export.load(path).module()
    worst = 0.0
    for num_clips in (1, 2, 6):
        clip, mask = clip_of(1, num_clips, 5, pixels=pixels), torch.ones(num_clips, 5, dtype=torch.bool)
        mask[0, 0] = False
        with torch.no_grad():
            expected, got = model(clip, mask), program(clip, mask)
        names = ("logits", "horizon_logits") if name in RULSTM else ("logits", "past_logits", "verb_logits")
        worst = max(worst, largest_difference([got[key] for key in names], [getattr(expected, key) for key in names]))
    return worst


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model_name in sys.argv[2:]:
        # A compiler gives up on code that it has compiled for too many different models.
        torch.compiler.reset()
        sys.stdout.write(f"{model_name} compiled {compare_compiled(model_name, sys.argv[1])}\n")
        sys.stdout.write(f"{model_name} exported {compare_exported(model_name)}\n")
