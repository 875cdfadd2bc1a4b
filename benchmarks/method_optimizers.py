"""Fused, foreach and one-by-one optimisers, and clipping, over the parameters of the network."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
from data_ratios import Ratio, compare, in_turns
from method_network import Sizes, make_train_step
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import SGD, AdamW, Optimizer

_FORMS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "one by one": {"foreach": False}}


def optimizer_ratios(sizes: Sizes, *, rounds: int) -> list[Ratio]:
    """Compare the forms of SGD with momentum, of AdamW, and of clipping."""
    parameters = list(make_train_step(sizes).parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    ratios = []
    makers: dict[str, Callable[..., Optimizer]] = {
        "SGD": lambda **form: SGD(parameters, lr=1e-4, momentum=0.9, **form),
        "AdamW": lambda **form: AdamW(parameters, lr=1e-4, **form),
    }
    for name, make in makers.items():
        optimizers = {form: make(**settings) for form, settings in _FORMS.items()}
        optimizers["fused"].step()
        # Moments are large, so the forms share them.
        for optimizer in optimizers.values():
            optimizer.state = optimizers["fused"].state
        taken = in_turns({form: (each.step, 1) for form, each in optimizers.items()}, rounds=rounds)
        ratios += [
            compare(f"{name}, fused against {other}", taken["fused"], times)
            for other, times in taken.items()
            if other != "fused"
        ]
        del optimizers
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "foreach": (lambda: clip_grad_norm_(parameters, 1.0, foreach=True), 1),
        "one by one": (lambda: clip_grad_norm_(parameters, 1.0, foreach=False), 1),
        "norm": (lambda: get_total_norm(gradients, foreach=True), 1),
    }
    taken = in_turns(ways, rounds=rounds)
    return [
        *ratios,
        compare("clipping, foreach against one by one", taken["foreach"], taken["one by one"]),
        compare("the norm alone against clipping", taken["norm"], taken["foreach"]),
    ]


def serve_optimizers(connection: Connection, sizes: Sizes, rounds: int, num_threads: int) -> None:
    """Send the ratios, measured in this process."""
    torch.set_num_threads(num_threads)
    connection.send(optimizer_ratios(sizes, rounds=rounds))
