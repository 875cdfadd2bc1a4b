"""The network that `benchmarks/method.py` trains, and the same with the blocks of GPT-2 from transformers.

Sizes are those of the EPIC-KITCHENS-100 feature recipe (`epic100/tsn`); every loss term of S-GEAR is on. Inputs, labels
and language prototypes are random: they cost what real ones cost.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sgear.data.dataset import Batch
from sgear.losses import Objective, ObjectiveConfig
from sgear.models import DecoderConfig, EncoderConfig, PrototypeAttentionConfig, build_model, model_config
from sgear.models.causal_decoder import CausalBlock
from sgear.models.sgear import SGear
from sgear.torchvision_guard import guard_torchvision
from sgear.training.loop import TrainStep
from sgear.video.transforms import no_colour


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the network and of a batch."""

    num_actions: int = 3806
    num_clips: int = 16
    num_steps: int = 15
    feature_dim: int = 1024
    width: int = 768
    decoder_width: int = 2048
    num_layers: int = 6
    num_heads: int = 4


def make_train_step(sizes: Sizes) -> TrainStep:
    """Return S-GEAR and its objective with every loss term; weights depend on the sizes alone."""
    torch.manual_seed(0)
    config = model_config(
        name="sgear",
        width=sizes.width,
        max_steps=sizes.num_steps,
        encoder=EncoderConfig(feature_dim=sizes.feature_dim),
        prototype_attention=PrototypeAttentionConfig(num_heads=12),
        decoder=DecoderConfig(width=sizes.decoder_width, num_layers=sizes.num_layers, num_heads=sizes.num_heads),
    )
    model = build_model(config, num_actions=sizes.num_actions)
    language = F.normalize(torch.randn(sizes.num_actions, sizes.width), dim=-1)
    return TrainStep(model, Objective(ObjectiveConfig(sem=1.0, past_sem=1.0, reg=1.0), language @ language.T))


def import_transformers() -> ModuleType:
    """Return the transformers module with its GPT-2 loaded."""
    guard_torchvision()
    importlib.import_module("transformers.models.gpt2.modeling_gpt2")
    return importlib.import_module("transformers")


class EagerBlock(nn.Module):
    """A GPT-2 block of transformers with eager attention, in the place of a `CausalBlock` and with its weights."""

    def __init__(self, block: CausalBlock) -> None:
        super().__init__()
        width = block.qkv.in_features
        transformers = import_transformers()
        config = transformers.GPT2Config(
            n_embd=width,
            n_head=block.num_heads,
            n_layer=1,
            vocab_size=1,
            n_positions=1,
            bos_token_id=None,
            eos_token_id=None,
            attn_pdrop=block.dropout,
            resid_pdrop=block.dropout,
            attn_implementation="eager",
        )
        self.block = transformers.GPT2Model(config).h[0]
        pairs = (
            (self.block.ln_1, block.attention_norm),
            (self.block.attn.c_attn, block.qkv),
            (self.block.attn.c_proj, block.attention_out),
            (self.block.ln_2, block.mlp_norm),
            (self.block.mlp.c_fc, block.mlp_in),
            (self.block.mlp.c_proj, block.mlp_out),
        )
        with torch.no_grad():
            for theirs, ours in pairs:
                # Conv1D of transformers holds the transposed weight of a linear layer.
                theirs.weight.copy_(ours.weight.T if ours.weight.ndim == 2 else ours.weight)
                theirs.bias.copy_(ours.bias)

    def forward(self, steps: Tensor, mask: Tensor | None, past: None = None) -> tuple[Tensor, None]:
        """See `CausalBlock.forward`; without a cache."""
        assert mask is not None
        assert past is None
        hidden = torch.zeros(mask.shape, dtype=steps.dtype, device=steps.device)
        return self.block(steps, attention_mask=hidden.masked_fill(~mask, torch.finfo(steps.dtype).min)), None


def use_eager_blocks(train_step: TrainStep) -> None:
    """Replace the blocks of the decoder by those of transformers; they compute the same."""
    model = train_step.model
    assert isinstance(model, SGear)
    blocks = model.decoder.blocks
    for layer_idx, block in enumerate(blocks):
        assert isinstance(block, CausalBlock)
        blocks[layer_idx] = EagerBlock(block)


def make_batch(sizes: Sizes, device: torch.device) -> Batch:
    """Return a random batch; all steps exist, all labels but `next_labels` are known."""
    generator = torch.Generator().manual_seed(1)
    shape = (sizes.num_clips, sizes.num_steps)
    return {
        "clip": torch.randn(*shape, sizes.feature_dim, generator=generator).to(device),
        "colour": no_colour().expand(sizes.num_clips, -1, -1).to(device),
        "mask": torch.ones(shape, dtype=torch.bool, device=device),
        "target": torch.randint(sizes.num_actions, shape[:1], generator=generator).to(device),
        "step_labels": torch.randint(sizes.num_actions, shape, generator=generator).to(device),
        "next_labels": torch.full(shape, -1, device=device),
        "row": torch.arange(sizes.num_clips, device=device),
    }


def largest_difference(sizes: Sizes) -> float:
    """Return by how much both networks differ in the scores, at most; without dropout."""
    train_step, batch = make_train_step(sizes).eval(), make_batch(sizes, torch.device("cpu"))
    with torch.inference_mode():
        ours = train_step.model(batch["clip"], batch["mask"]).next_logits
    use_eager_blocks(train_step.eval())
    with torch.inference_mode():
        theirs = train_step.eval().model(batch["clip"], batch["mask"]).next_logits
    return float((ours - theirs).abs().max())


def count_flops(train_step: TrainStep, batch: Batch) -> int:
    """Return the floating-point operations of the matrix products of a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter:
        train_step(batch)["total"].backward()
    for parameter in train_step.parameters():
        parameter.grad = None
    return counter.get_total_flops()
