"""Tiny models of every kind, with weights as large as trained ones."""

from typing import Any

import torch

from sgear.models import (
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    RulstmConfig,
    TemporalContextConfig,
    build_model,
    model_config,
)

NUM_ACTIONS, NUM_VERBS, NUM_NOUNS, FEATURE_DIM, MAX_STEPS, WIDTH = 7, 3, 4, 6, 8, 32

CONTEXTS = {
    "sgear": TemporalContextConfig(num_blocks=2),
    "sgear-unnormalised": TemporalContextConfig(num_blocks=2, normalise=False, detach_past=False),
    "sgear-decay": TemporalContextConfig(num_blocks=2, mode="decay", lifetime_steps=3.0),
    "sgear-causal": TemporalContextConfig(num_blocks=2, mode="causal"),
    "sgear-causal-attached": TemporalContextConfig(num_blocks=2, mode="causal", detach_past=False),
}
ATTENTIONS = {
    "sgear-share": PrototypeAttentionConfig(num_heads=2, share=0.5, detach_prototypes=False),
    "sgear-top-k": PrototypeAttentionConfig(num_heads=2, top_k=3),
    "sgear-released": PrototypeAttentionConfig(num_heads=4, mode="released"),
    "sgear-released-top-k": PrototypeAttentionConfig(num_heads=4, mode="released", top_k=2, toeplitz=False),
}
EVERY = [*CONTEXTS, *ATTENTIONS, "avt"]
"""Every model with a causal decoder."""

PIXELS = EncoderConfig(
    name="vit_tiny_patch16_224", image_height=16, image_width=32, embed_dim=WIDTH, depth=1, num_heads=2, patch_size=8
)


def tiny_config(name: str, *, pixels: bool = False) -> Any:
    parts: dict[str, Any] = {
        "width": WIDTH,
        "max_steps": MAX_STEPS,
        "encoder": PIXELS if pixels else EncoderConfig(feature_dim=FEATURE_DIM),
        "decoder": DecoderConfig(width=WIDTH, num_layers=2, num_heads=2),
        "head": HeadConfig(verb_noun=True),
    }
    if name != "avt":
        parts["temporal_context"] = CONTEXTS.get(name, TemporalContextConfig(num_blocks=1))
        parts["prototype_attention"] = ATTENTIONS.get(name, PrototypeAttentionConfig(num_heads=2))
    return model_config(name.split("-")[0], **parts)


def tiny_model(name: str, *, pixels: bool = False):
    torch.manual_seed(0)
    model = build_model(
        tiny_config(name, pixels=pixels), num_actions=NUM_ACTIONS, num_verbs=NUM_VERBS, num_nouns=NUM_NOUNS
    ).eval()
    # Trained weights are not small; at their start many paths are almost switched off.
    for parameter_name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=0.3)
        elif "step_weights" in parameter_name or "log_lifetime" in parameter_name:
            torch.nn.init.uniform_(parameter, 0.2, 1.8)
    return model


RULSTM = {"rulstm": [FEATURE_DIM], "rulstm-fused": [FEATURE_DIM - 2, 2]}
"""Modalities by name; these models have neither a decoder nor classifiers of the past."""


def tiny_rulstm(name: str):
    torch.manual_seed(0)
    config = model_config(
        name="rulstm",
        max_steps=MAX_STEPS,
        encoder=EncoderConfig(feature_dim=FEATURE_DIM),
        rulstm=RulstmConfig(modalities=RULSTM[name], hidden_dim=WIDTH, anticipation_steps=4, dropout=0.0),
    )
    model = build_model(config, num_actions=NUM_ACTIONS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def clip_of(seed: int, batch: int, steps: int, *, pixels: bool = False) -> torch.Tensor:
    shape = (batch, steps, 3, 16, 32) if pixels else (batch, steps, FEATURE_DIM)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()
