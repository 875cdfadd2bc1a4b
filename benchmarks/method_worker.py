"""One way to train, in a process of its own: `benchmarks/method.py` asks each in turn for a step.

A process per way keeps apart what cannot be told apart in one: the peak memory, and what the allocator does with
freed memory.
"""

from __future__ import annotations

import resource
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from method_network import Sizes, count_flops, import_transformers, make_batch, make_train_step, use_eager_blocks
from torch.profiler import ProfilerActivity, profile

from sgear.models.sgear import SGear
from sgear.training.config import OptimConfig
from sgear.training.optim import build_optimizer
from sgear.training.processes import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class Way:
    """How to train.

    Args:
        is_eager: With the blocks of transformers.
        is_bf16: Under bf16 autocast.
        keeps_memory: Freed memory stays with the process, as in `fit`.
        is_compiled: Through `torch.compile`.
    """

    is_eager: bool = False
    is_bf16: bool = False
    keeps_memory: bool = True
    is_compiled: bool = False

    @property
    def name(self) -> str:
        """Words for a table."""
        words = ["eager GPT-2" if self.is_eager else "sgear", "bf16" if self.is_bf16 else "float32"]
        return " ".join(words + ["memory kept"] * self.keeps_memory + ["compiled"] * self.is_compiled)


class Training:
    """The network, its optimiser and one batch on a device."""

    def __init__(self, way: Way, sizes: Sizes, device: str) -> None:
        self.way, self.sizes, self.device = way, sizes, torch.device(device)
        train_step = make_train_step(sizes)
        if way.is_eager:
            use_eager_blocks(train_step)
        self.module = train_step.train().to(self.device)
        self.runnable = torch.compile(self.module) if way.is_compiled else self.module
        # The settings of the recipe, on one batch per step.
        self.optimizer = build_optimizer(self.module, OptimConfig(name="sgd", lr=1e-4, weight_decay=1e-5))
        self.batch = make_batch(sizes, self.device)

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.way.is_bf16)

    def _now_s(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def step(self) -> dict[str, float]:
        """Do one training step as `fit` does by the recipe, which clips nothing; return the seconds of its parts."""
        cpu_s, began_s = time.process_time(), self._now_s()
        with self._autocast():
            losses = self.runnable(self.batch)
        forward_s = self._now_s()
        losses["total"].backward()
        backward_s = self._now_s()
        self.optimizer.step()
        self.optimizer.zero_grad()
        done_s = self._now_s()
        return {
            "step": done_s - began_s,
            "forward": forward_s - began_s,
            "backward": backward_s - forward_s,
            "optimizer": done_s - backward_s,
            "cpu": time.process_time() - cpu_s,
            "loss": float(losses["total"].detach()),
        }

    def attention(self) -> dict[str, float]:
        """Do prototype attention alone, forward and backward."""
        model = self.module.model
        assert isinstance(model, SGear)
        assert model.prototype_attention is not None
        frames = torch.randn(self.sizes.num_clips, self.sizes.num_steps, self.sizes.width, device=self.device)
        frames.requires_grad_()
        began_s = self._now_s()
        with self._autocast():
            read = model.prototype_attention(frames, model.bank.visual, self.batch["mask"])
        read.backward(torch.ones_like(read))
        taken_s = self._now_s() - began_s
        self.optimizer.zero_grad()
        return {"attention": taken_s}

    def products(self) -> dict[str, float]:
        """Do nothing but the matrix products of the decoder's blocks, forward and backward."""
        dtype = torch.bfloat16 if self.way.is_bf16 else torch.float32
        rows, width = self.sizes.num_clips * self.sizes.num_steps, self.sizes.decoder_width
        taken_s = 0.0
        for ins, outs in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)):
            shapes = (rows, ins), (outs, ins), (rows, outs)
            steps, weight, gradient = (torch.randn(shape, device=self.device, dtype=dtype) for shape in shapes)
            results = steps.new_ones(rows, outs), steps.new_ones(rows, ins), steps.new_ones(outs, ins)
            began_s = self._now_s()
            torch.mm(steps, weight.T, out=results[0])
            torch.mm(gradient, weight, out=results[1])
            torch.mm(gradient.T, steps, out=results[2])
            taken_s += self._now_s() - began_s
        return {"products": taken_s * self.sizes.num_layers}

    def peak(self) -> dict[str, float]:
        """Return the most memory ever held, in GB."""
        if self.device.type == "cuda":
            return {"peak_gb": torch.cuda.max_memory_allocated(self.device) / 1e9}
        return {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}

    def flops(self) -> dict[str, float]:
        """Return the floating-point operations of one step's matrix products."""
        return {"flops": float(count_flops(self.module, self.batch))}

    def profile(self) -> dict[str, float]:
        """Return the share of each operation in the time of one step's operations."""
        on_gpu = self.device.type == "cuda"
        with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
            self.step()
        times = {
            event.key: float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)
            for event in seen.key_averages()
        }
        total = sum(times.values())
        return {name: taken / total for name, taken in sorted(times.items(), key=lambda item: -item[1])}


def serve(connection: Connection, way: Way, sizes: Sizes, device: str, num_threads: int) -> None:
    """Train in this way whenever asked; None ends it."""
    if way.keeps_memory:
        keep_freed_memory()
    # In every process, so that its own size counts in every peak.
    import_transformers()
    torch.set_num_threads(num_threads)
    torch.set_float32_matmul_precision("highest")
    training = Training(way, sizes, device)
    while (asked := connection.recv()) is not None:
        connection.send(getattr(training, asked)())
