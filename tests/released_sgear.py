"""The network of the S-GEAR release: random weights under its names, and its forward pass by loops, faults included.

Written from what its code computes for one clip (models/base_model_ts.py, attention.py and common.py of the release),
number by number where rows of numbers are cut anew.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812

NUM_ACTIONS, WIDTH, NUM_STEPS, HEAD_DIM = 7, 384, 4, 64
VIT = {"embed_dim": WIDTH, "depth": 1, "num_heads": 2, "patch_size": 8, "img_size": (16, 16)}


def make_gpt2(*, width=16, num_layers=2, num_heads=2):
    from sgear.torchvision_guard import guard_torchvision

    guard_torchvision()
    transformers = __import__("transformers")
    torch.manual_seed(1)
    config = transformers.GPT2Config(vocab_size=1, n_positions=32, n_embd=width, n_layer=num_layers, n_head=num_heads)
    model = transformers.GPT2Model(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def drawn(*shape: int, std: float = 0.3) -> torch.Tensor:
    return torch.randn(*shape) * std


def released_weights(
    gpt2,
    *,
    feature_dim: int = 0,
    vit: torch.nn.Module | None = None,
    num_actions: int = NUM_ACTIONS,
    width: int = WIDTH,
    num_steps: int = NUM_STEPS,
) -> dict[str, torch.Tensor]:
    """Weights of the variant on stored features of `feature_dim`, or of the one from frames with TCA."""
    torch.manual_seed(0)
    stored = {
        f"future_predictor.gpt_model.{name}": tensor
        for name, tensor in gpt2.state_dict().items()
        if not name.startswith("wte.") and not name.endswith((".attn.bias", ".attn.masked_bias"))
    }
    stored |= {
        "vis_prototypes": drawn(num_actions, width, std=2.0) + 0.5,
        "balancer": torch.tensor([0.2]),
        "alpha": torch.tensor([-0.4]),
        "ProtAttn.proj.weight": drawn(width, width, std=0.1),
        "ProtAttn.proj.bias": drawn(width),
        "ProtAttn.tpl_weights": drawn(12, num_steps),
        "ProtAttn.gate": torch.tensor([0.7]),
        "future_predictor.encoder.weight": drawn(gpt2.config.n_embd, width, std=0.1),
        "future_predictor.decoder.weight": drawn(width, gpt2.config.n_embd),
        "classifiers.action.weight": drawn(num_actions, width),
        "classifiers.action.bias": drawn(num_actions),
        "cls_map_verb_action": torch.ones(num_actions, 2),
    }
    if feature_dim not in (0, width):
        stored["mapper_to_inter.weight"] = drawn(width, feature_dim)
    if vit is None:
        return stored
    stored |= {f"backbone.model.{name}": tensor for name, tensor in vit.state_dict().items()}
    for block in ("TCA.0.", "TCA.1."):
        stored |= {
            f"{block}attn.qkv.weight": drawn(3 * width, width, std=0.1),
            f"{block}attn.proj.weight": drawn(width, width, std=0.1),
            f"{block}attn.proj.bias": drawn(width),
            f"{block}attn.tmp_weighting": torch.rand(num_steps) + 0.5,
            f"{block}attn.alpha": torch.tensor([0.5]),
            f"{block}mlp.fc1.weight": drawn(4 * width, width, std=0.1),
            f"{block}mlp.fc1.bias": drawn(4 * width),
            f"{block}mlp.fc2.weight": drawn(width, 4 * width, std=0.05),
            f"{block}mlp.fc2.bias": drawn(width),
        }
        for norm in ("norm1", "norm2"):
            stored |= {f"{block}{norm}.weight": 1 + drawn(width), f"{block}{norm}.bias": drawn(width)}
    return stored


def linear(stored, name: str, values: torch.Tensor) -> torch.Tensor:
    return F.linear(values, stored[f"{name}.weight"], stored.get(f"{name}.bias"))


def released_tca(stored, block: str, tokens: torch.Tensor) -> torch.Tensor:
    """One block over the tokens [T N D] of a clip."""
    num_steps, num_tokens, width = tokens.shape
    num_heads, times = width // HEAD_DIM, stored[f"{block}attn.tmp_weighting"]

    def norm(name: str, values: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(values, (width,), stored[f"{block}{name}.weight"], stored[f"{block}{name}.bias"])

    parts = linear(stored, f"{block}attn.qkv", norm("norm1", tokens)).unflatten(-1, (3, num_heads, HEAD_DIM))
    row = []
    for head in range(num_heads):
        for step in range(num_steps):
            query, key, value = (parts[step, :, part, head] for part in range(3))
            for earlier in range(step + 1):
                key = key + times[earlier] * parts[earlier, :, 1, head]
                value = value + times[earlier] * parts[earlier, :, 2, head]
            key, value = key - parts[step, :, 1, head], value - parts[step, :, 2, head]
            scores = query @ key.T / math.sqrt(HEAD_DIM)
            for token in range(num_tokens):
                scores[token, token + 1 :] = 0.0
            row.append((scores.softmax(dim=1) @ value).flatten())
    read = torch.cat(row).reshape(num_steps, num_tokens, width)
    tokens = tokens + linear(stored, f"{block}attn.proj", read)
    hidden = F.gelu(linear(stored, f"{block}mlp.fc1", norm("norm2", tokens)))
    return tokens + linear(stored, f"{block}mlp.fc2", hidden)


def cosines(feature: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    return torch.stack([feature @ each / (feature.norm() * each.norm()) for each in prototypes])


def released_prototype_attention(stored, frames: torch.Tensor, informed: torch.Tensor) -> torch.Tensor:
    """What is added to the frames [T D] of a clip; the prototypes are chosen by the frames before TCA."""
    num_steps, width = informed.shape
    prototypes, distances = stored["vis_prototypes"], stored["ProtAttn.tpl_weights"]
    best = cosines(frames.mean(dim=0), prototypes).argsort(descending=True)[:num_steps].tolist()
    chosen = prototypes[[*sorted(best[:-1]), best[-1]]]
    gate, size, row = stored["ProtAttn.gate"].sigmoid(), width // len(distances), []
    for head in range(len(distances)):
        part = slice(head * size, (head + 1) * size)
        wave = torch.sin if 3 <= head < 6 or head >= 9 else torch.cos
        for rank in range(num_steps):
            scores = torch.stack([chosen[rank, part] @ frame[part] / math.sqrt(size) for frame in informed])
            places = torch.stack([wave(distances[head, abs(rank - step)]) for step in range(num_steps)])
            row.append((gate * scores.softmax(dim=0) + (1 - gate) * places) @ chosen[:, part])
    return linear(stored, "ProtAttn.proj", torch.cat(row).reshape(num_steps, width))


@torch.no_grad()
def released_logits(stored, gpt2, tokens: torch.Tensor) -> torch.Tensor:
    """Scores of one clip, from the tokens [T N D] of its frames or from stored features [T 1 F]."""
    prototypes, backbone_dim = stored["vis_prototypes"], tokens.shape[-1]
    if not any(name.startswith("backbone.") for name in stored):
        if "mapper_to_inter.weight" in stored:
            tokens = linear(stored, "mapper_to_inter", tokens)
        tokens = (tokens - prototypes.mean()) / prototypes.std()
    frames = tokens[:, 0]
    for block in ("TCA.0.", "TCA.1."):
        if f"{block}attn.alpha" in stored:
            tokens = released_tca(stored, block, tokens)
    gate = stored["alpha"].sigmoid()
    observed = gate * tokens[:, 0] + (1 - gate) * released_prototype_attention(stored, frames, tokens[:, 0])
    inner = gpt2(inputs_embeds=linear(stored, "future_predictor.encoder", observed)[None]).last_hidden_state[0]
    future = linear(stored, "future_predictor.decoder", inner)[-1]
    near = (cosines(future, prototypes) / math.sqrt(backbone_dim)).softmax(dim=0) @ prototypes
    gate = stored["balancer"].sigmoid()
    return linear(stored, "classifiers.action", gate * future + (1 - gate) * near)
