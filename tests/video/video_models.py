"""Small models of videos, and segments of one video `v`, to see what reaches a model."""

from __future__ import annotations

import polars as pl
import torch

from sgear.features.extract import FrameEncoder
from sgear.models import DecoderConfig, EncoderConfig, build_model, model_config
from sgear.models.pretrained import Preprocessing, TrainedModel
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol


def segments_at(starts_s: list[float], taxonomy: Taxonomy) -> SegmentTable:
    """Segments of half a second, whose actions take turns."""
    actions = [idx % taxonomy.num_actions for idx in range(len(starts_s))]
    columns = {
        "uid": [f"v_{idx}" for idx in range(len(starts_s))],
        "participant_id": "P01",
        "video_id": "v",
        "start_s": starts_s,
        "stop_s": [start_s + 0.5 for start_s in starts_s],
        "verb_id": taxonomy.verb_of_action[actions],
        "noun_id": taxonomy.noun_of_action[actions],
        "action_id": actions,
    }
    return SegmentTable(pl.DataFrame(columns), taxonomy, origin="test")


def vit(height: int, width: int, embed_dim: int) -> EncoderConfig:
    return EncoderConfig(
        name="vit_tiny_patch16_224",
        image_height=height,
        image_width=width,
        embed_dim=embed_dim,
        depth=1,
        num_heads=2,
        patch_size=8,
    )


def avt(encoder: EncoderConfig, *, width: int, num_steps: int, num_actions: int):
    """Configuration and model."""
    torch.manual_seed(0)
    decoder = DecoderConfig(width=width, num_layers=1, num_heads=2)
    config = model_config(name="avt", width=width, max_steps=num_steps, encoder=encoder, decoder=decoder)
    return config, build_model(config, num_actions=num_actions)


def trained(config, model, taxonomy: Taxonomy, protocol: AnticipationProtocol, seen: Preprocessing) -> TrainedModel:
    return TrainedModel(
        model=model.eval(),
        config=config,
        taxonomy=taxonomy,
        protocol=protocol,
        preprocessing=seen,
        log_prior=torch.zeros(taxonomy.num_actions),
    )


def frame_encoder(encode, name: str, num_values: int, seen: Preprocessing) -> FrameEncoder:
    """What extracts features from frames as a model of this preprocessing reads them."""
    return FrameEncoder(
        encode=encode,
        name=name,
        weights="none",
        width=num_values,
        image_height=seen.height,
        image_width=seen.width,
        mean=seen.mean,
        std=seen.std,
        crop_margin=seen.crop_margin,
        reading_margin=seen.reading_margin,
    )


def note_clips(model) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keep each clip and mask that a model reads from now on."""
    clips: list[tuple[torch.Tensor, torch.Tensor]] = []
    model.register_forward_pre_hook(lambda module, inputs: clips.append((inputs[0].clone(), inputs[1].clone())))
    return clips
