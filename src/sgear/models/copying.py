"""A noun that was seen goes on: scores of the next action, copied from the nouns of the actions seen so far.

Who has taken the pan puts it down, whatever else a pan is for. A class vector must learn that for each noun anew; here
it is learnt once, as scores of verbs after a seen verb, and holds for every noun, those of never-seen actions too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.config import HeadConfig
from sgear.models.encoders import PastEncoder, SeenActions


class CopyHead(nn.Module):
    """Add to the score of each action what the seen actions with its noun say about its verb.

    score(v, n) = sum over seen k with noun n of s_v(token k, feature), with one map s for all nouns: copying as in
    pointer networks, of the noun alone.

    Args:
        width: Width D of tokens and feature.
        num_actions: Number of actions A.
        num_verbs: Number of verbs V.
        dropout: Dropout before the scores.

    Raises:
        ConfigError: If the number of verbs is not given.

    Source:
        Idea of copying: Vinyals et al., Pointer Networks, NeurIPS 2015 (arXiv:1506.03134). Of nouns by verbs: this
        project, docs/results/epic100-past.md.
    """

    verb_of_action: Tensor
    noun_of_action: Tensor

    def __init__(self, *, width: int, num_actions: int, num_verbs: int, dropout: float) -> None:
        super().__init__()
        if num_verbs < 1:
            raise ConfigError("head.copy_nouns needs the number of verbs; give num_verbs to build_model")
        self.read = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(dropout))
        self.scores = nn.Linear(width, num_verbs)
        # Nothing is copied at first: training begins as without this head.
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)
        self.register_buffer("verb_of_action", torch.zeros(num_actions, dtype=torch.long))
        self.register_buffer("noun_of_action", torch.zeros(num_actions, dtype=torch.long))

    def set_classes(
        self, verb_of_action: Int[Tensor, " A"], noun_of_action: Int[Tensor, " A"], texts: Float[Tensor, "A E"] | None
    ) -> None:
        """Say what the classes are; saved with the weights. Texts are not used."""
        self.verb_of_action.copy_(verb_of_action)
        self.noun_of_action.copy_(noun_of_action)

    def forward(self, features: Float[Tensor, "B T D"], seen: SeenActions) -> Float[Tensor, "B T A"]:
        """Return what is added to the scores of the action after each step.

        Args:
            features: Predicted feature of each step.
            seen: The actions that each step shows.
        """
        num_clips, num_steps, num_seen, _ = seen.tokens.shape
        # [B T K D]: each seen action is judged in the light of what is expected next.
        asked = features[:, :, None].expand(-1, -1, num_seen, -1)
        scores = self.scores(self.read(torch.cat([seen.tokens, asked], dim=-1))).flatten(0, 1)  # [M K V]
        actions = seen.actions.flatten(0, 1)
        # Of all A classes only the few with the noun of a seen action are touched: M K G numbers instead of M K A.
        same_noun = self._by_noun()[self.noun_of_action[actions.clamp(min=0)]]  # [M K G]
        is_class = (same_noun >= 0) & (actions >= 0)[..., None]
        classes = same_noun.clamp(min=0)
        said = scores.gather(-1, self.verb_of_action[classes]).masked_fill(~is_class, 0.0)
        # A noun that was seen twice speaks twice: scores add, as logs of independent hints do.
        copied = said.new_zeros(len(actions), len(self.verb_of_action))
        copied = copied.scatter_add(1, classes.flatten(1), said.flatten(1))
        return copied.view(num_clips, num_steps, -1)

    def _by_noun(self) -> Int[Tensor, "N G"]:
        """Return the actions of each noun, -1 beyond the last one."""
        nouns = self.noun_of_action
        order = nouns.argsort(stable=True)
        sizes = torch.bincount(nouns)
        within = torch.arange(len(nouns), device=nouns.device) - (sizes.cumsum(0) - sizes)[nouns[order]]
        table = nouns.new_full((len(sizes), int(sizes.max())), -1)
        table[nouns[order], within] = order
        return table


def build_copying(
    config: HeadConfig, encoder: nn.Module, *, width: int, num_actions: int, num_verbs: int, num_nouns: int
) -> CopyHead | None:
    """Return a copying head where `config.copy_nouns` asks for one.

    Raises:
        ConfigError: If the encoder does not say which actions it shows.
    """
    if not config.copy_nouns:
        return None
    if not isinstance(encoder, PastEncoder):
        raise ConfigError("model.head.copy_nouns=true needs an encoder that names actions; set source.kind=annotations")
    return CopyHead(width=width, num_actions=num_actions, num_verbs=num_verbs, dropout=config.dropout)


def read_tokens(encoder: nn.Module, clip: Tensor) -> tuple[Float[Tensor, "B T N D"], SeenActions | None]:
    """Return the tokens of each step, and the actions behind them where the encoder knows them."""
    return encoder.read(clip) if isinstance(encoder, PastEncoder) else (encoder(clip), None)
