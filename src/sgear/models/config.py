"""The dataclasses a model is built from. They hold values only, so a notebook can build a model in three lines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """What turns one frame (or one stored feature) into tokens.

    Args:
        name: Full name of a timm ViT, `features` for stored features, or `annotations` for the annotated past.
        pretrained: Start from timm's published weights. They are downloaded on first use.
        weights: Start from a local file instead: `.safetensors`, or `.pth` read without executing code (timm encoders).
        image_height: Height of the input frames in pixels; 0 and `image_width` 0 take the size that timm names for the
            model (timm encoders).
        image_width: Width of the input frames in pixels (timm encoders).
        embed_dim: Width of the ViT; 0 keeps the architecture's own.
        depth: Number of ViT blocks; 0 keeps the architecture's own. Of `annotations`: blocks between the seen actions.
        num_heads: Number of attention heads; 0 keeps the architecture's own (`annotations`: 4).
        patch_size: Side of a patch in pixels; 0 keeps the architecture's own.
        feature_dim: Width F of stored features (`features` only).
        feature_dropout: Dropout on stored features or on seen actions (`features` and `annotations` only).
        feature_noise: Standard deviation of Gaussian noise on stored features in training, as a share of the
            standard deviation of each feature over the training set (`features` only).
        recogniser: Read the posteriors of a linear frame classifier, fitted to the rows of the training videos and then
            frozen, instead of the stored features themselves (`features` only).
        map: Map features to width D. AVT does not where they are that wide already (`features` only).
        init_gain: Factor on the initial weights of that map (`features` only).
        standardise: Shift and scale the mapped features to the mean and the standard deviation of all numbers of the
            prototypes, as the released code does (`features` only).
        composition: Parts of the vector of an action that was seen; see `PrototypesConfig` (`annotations` only).
        text_dim: Width of the sentence embeddings (`annotations` only, with the part `text`).
    """

    name: str = "features"
    pretrained: bool = False
    weights: str = ""
    image_height: int = 0
    image_width: int = 0
    embed_dim: int = 0
    depth: int = 0
    num_heads: int = 0
    patch_size: int = 0
    feature_dim: int = 0
    feature_dropout: float = 0.0
    feature_noise: float = 0.0
    recogniser: bool = False
    map: bool = True
    init_gain: float = 1.0
    standardise: bool = False
    composition: str = "free+verb+noun"
    text_dim: int = 384


@dataclass(frozen=True, kw_only=True)
class PrototypesConfig:
    """What the vector of a class is made of, in the classifier and in the bank of prototypes.

    Args:
        composition: `free` is one vector per class; `verb`, `noun` and `text` share theirs between classes: that of the
            verb, of the noun, and a linear map of the sentence embedding of the name. Any sum, e.g. `free+verb+noun`.
        text_dim: Width of the sentence embeddings of `init.language_prototypes` (part `text`).
    """

    composition: str = "free"
    text_dim: int = 384


@dataclass(frozen=True, kw_only=True)
class TemporalContextConfig:
    """TCA: `num_blocks` blocks over the tokens of all frames; 0 switches it off.

    Args:
        num_blocks: Number of blocks.
        mode: `cumulative` adds a learned weighted sum of the earlier frames' keys and values (the released code's
            idea), `decay` the same sum with weights that fall exponentially with age, `causal` attends to all tokens
            of the earlier frames (the paper's words), `original` is what the released code computes, faults included,
            for weights that were trained with them; see `sgear.models.context_blocks`.
        normalise: Divide the sum of earlier keys and values by the sum of its weights, so that it does not grow
            with the number of frames (`cumulative`, `decay`).
        detach_past: Keep gradients from flowing into the keys and values of earlier frames, as the released code does.
        lifetime_steps: Start value of the age, in steps, at which a frame's weight has fallen to 1/e; learned per head
            (`decay`).
    """

    num_blocks: int = 0
    mode: str = "cumulative"
    normalise: bool = True
    detach_past: bool = True
    lifetime_steps: float = 8.0


@dataclass(frozen=True, kw_only=True)
class PrototypeAttentionConfig:
    """PA: each frame attends to the visual prototypes.

    Args:
        enabled: Switch PA on.
        mode: `paper` projects frames and prototypes and attends to all or a share of them; `released` to few, as they
            are, with a Toeplitz term, as the released code does, corrected; `original` is what that code computes,
            faults included, for weights that were trained with them; see `sgear.models.prototype_attention`.
        num_heads: Number of attention heads.
        share: Share of the prototypes that can be read, in (0, 1] (`paper`); a random subset.
        num_prototypes: The same as a number instead; 0 leaves it to `share`.
        subset_seed: Seed of the subset.
        top_k: Each frame attends to the k prototypes most like the mean of the frames up to it. 0: every prototype in
            mode `paper`, as many as the longest clip has steps in mode `released`.
        toeplitz: Blend in the term that depends on the distance of step and rank alone (`released`).
        detach_prototypes: Keep PA's gradient away from the prototypes, as the released code does.
        gate: Start value of the fusion gate; sigmoid(gate) is the share that bypasses PA.
    """

    enabled: bool = True
    mode: str = "paper"
    num_heads: int = 4
    share: float = 1.0
    num_prototypes: int = 0
    subset_seed: int = 0
    top_k: int = 0
    toeplitz: bool = True
    detach_prototypes: bool = True
    gate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The causal transformer that predicts the next feature (a GPT-2 stack without token table).

    Args:
        width: Inner width.
        num_layers: Number of blocks.
        num_heads: Number of attention heads.
        dropout: Dropout of embeddings, attention and residual branches.
        positions: Add a learned vector per position of the window; without it the order of steps is known by the
            causal mask alone.
        init_std: Standard deviation of the initial weights; GPT-2's 0.02 suits widths of several hundred.
    """

    width: int = 2048
    num_layers: int = 6
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True
    init_std: float = 0.02


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The classifier.

    Args:
        mix_prototypes: Classify a mix of the predicted feature and its prototype read-out (S-GEAR) instead of the
            feature alone (AVT).
        temperature: Start value of the softmax temperature of the read-out: 1.0 in the paper, sqrt(width) in the
            released code (the read-out is then close to the mean prototype), 0.07 for a read-out that tells apart.
        learn_temperature: Train the temperature.
        gate: Start value of the mixing gate; sigmoid(gate) is the share of the feature itself.
        dropout: Dropout before the classifiers.
        copy_nouns: Add to the score of an action what the seen actions of its noun say about its verb (a noun goes on;
            `models/copying.py`); needs `source.kind=annotations`.
        verb_noun: Add classifiers of the verb and of the noun; without them both are summed action probabilities.
        detach_prototype_values: Keep the read-out's gradient away from the prototypes it returns (RGB path of the
            released code; its feature path does not).
        detach_similarity_feature: Keep the gradient of the cosines away from the feature (the released feature path;
            its RGB path does not).
        detach_similarity_prototypes: Keep the gradient of the cosines away from the prototypes.
        past_similarity: Whose cosines `objective.past_sem` reads: `predicted`, the features behind the past actions,
            or `encoder`, the class tokens before temporal context, as the released code does where it has PA.
    """

    mix_prototypes: bool = True
    temperature: float = 0.07
    learn_temperature: bool = True
    gate: float = 0.5
    dropout: float = 0.2
    copy_nouns: bool = False
    verb_noun: bool = False
    detach_prototype_values: bool = True
    detach_similarity_feature: bool = False
    detach_similarity_prototypes: bool = False
    past_similarity: str = "predicted"


@dataclass(frozen=True, kw_only=True)
class RulstmConfig:
    """RULSTM (`name: rulstm` only).

    Args:
        modalities: Width of each modality; the clip holds them side by side on its last axis. Two or more are fused
            by modality attention.
        hidden_dim: Width H of the hidden and the cell state of each LSTM.
        step_s: Seconds between two steps, the paper's alpha; equals 1 / protocol.fps.
        tau_a_s: Seconds from the last step of a clip to the start of the action; equals protocol.tau_a_s.
        anticipation_steps: The action is predicted at every step that lies at most this many steps before it, the
            paper's S_ant. Earlier steps of the clip, the paper's S_enc, are read only.
        dropout: Dropout on the features, before the classifiers and inside modality attention.
        sequence_completion: Pre-training: the unrolling LSTM reads the observed steps that follow, not the last
            one again and again.
        attention: What modality attention reads beside the rolling cell states: `released` the hidden states at the
            end of the unrolling, as the published weights do, `paper` the rolling hidden states.
    """

    modalities: list[int] = field(default_factory=list)
    hidden_dim: int = 1024
    step_s: float = 0.25
    tau_a_s: float = 0.25
    anticipation_steps: int = 8
    dropout: float = 0.8
    sequence_completion: bool = False
    attention: str = "released"


@dataclass(frozen=True, kw_only=True)
class CountsConfig:
    """What follows what (`name: last_action` and `last_recognised` only).

    Args:
        smoothing: Counts added to each row of transitions, in proportion to the class frequencies, above 0: an action
            that was rarely seen falls back to them.
    """

    smoothing: float = 1.0


@dataclass(frozen=True, kw_only=True)
class RegressionConfig:
    """Logistic regression (`name: last_recognised` and `pooled` only).

    Args:
        inverse_regularization: The C of scikit-learn, above 0.
    """

    inverse_regularization: float = 0.01
