"""RLModules: one network for a whole group of agents, and the masked distribution over their simultaneous choices."""

from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

FORBIDDEN = -1e9
"""Logit of a forbidden action: its probability is exactly 0 in float32, and 0 * FORBIDDEN is 0 in the entropy."""

HIGHEST_UNIFORM = 1 - 2**-20
"""Uniform numbers stay below it, so that u * total < total in float32 and the inverse CDF never runs past the end."""


def head_sizes_of(space: spaces.Space) -> tuple[int, ...]:
    """Options of each simultaneous choice of an action space."""
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec)
    assert isinstance(space, spaces.Discrete)
    return (int(space.n),)


class MultiHeadCategorical(Distribution):
    """Independent categorical choices ("heads"), their logits side by side.

    logits `[..., sum(head_sizes)]`; values `[..., heads]`, or `[...]` where there is one head. Log-probabilities and
    entropies are summed over heads. Everything is computed when it is first asked for, so that the old distribution,
    which RLlib builds in every minibatch, costs nothing where the KL loss is off.
    """

    head_sizes: tuple[int, ...]

    def __init__(self, logits: Tensor, head_sizes: tuple[int, ...]):
        self.logits = logits
        self.head_sizes = head_sizes

    @classmethod
    def from_logits(cls, logits: Tensor, head_sizes: tuple[int, ...] = (), **_: Any) -> "MultiHeadCategorical":
        """The distribution with these logits."""
        return cls(logits, head_sizes)

    @staticmethod
    def required_input_dim(space: spaces.Space, **_: Any) -> int:
        """Logits that an action space needs."""
        return sum(head_sizes_of(space))

    def _blocks(self, x: Tensor) -> list[Tensor]:
        """Views of x `[..., sum(head_sizes)]` as `[..., heads, size]`, one for each run of heads of equal size."""
        blocks, start = [], 0
        for size, run in groupby(self.head_sizes):
            count = len(list(run))
            blocks.append(x[..., start : start + count * size].unflatten(-1, (count, size)))
            start += count * size
        return blocks

    @cached_property
    def _shifted(self) -> Tensor:
        """Logits less the largest one of their head, so that no head underflows."""
        with torch.no_grad():
            largest = torch.cat([block.amax(-1) for block in self._blocks(self.logits)], -1)
        return self.logits - self._spread(largest)

    @cached_property
    def _weights(self) -> Tensor:
        """Unnormalised probabilities `[..., options]`."""
        return self._shifted.exp()

    @cached_property
    def _totals(self) -> Tensor:
        """Normaliser of each head, `[..., heads]`."""
        return self._sum_by_head(self._weights)

    def _sum_by_head(self, x: Tensor) -> Tensor:
        # One matrix product with a 0/1 matrix is several times faster than a softmax for each head.
        return x @ _membership(self.head_sizes, x.device, x.dtype)

    def _spread(self, x: Tensor) -> Tensor:
        """`[..., heads]` to `[..., options]`: each head's number for all its options."""
        return x @ _membership(self.head_sizes, x.device, x.dtype).T

    def logp(self, value: Tensor, **_: Any) -> Tensor:
        """Log-probability `[...]` of the joint choice."""
        value = value.long()
        if len(self.head_sizes) == 1:
            value = value.unsqueeze(-1)
        chosen = self._shifted.gather(-1, value + _offsets(self.head_sizes, value.device))
        return chosen.sum(-1) - self._totals.log().sum(-1)

    def entropy(self, **_: Any) -> Tensor:
        """Entropy `[...]` in nats: log Z - E[z], summed over heads."""
        mean = self._sum_by_head(self._weights * self._shifted) / self._totals
        return (self._totals.log() - mean).sum(-1)

    def kl(self, other: Distribution, **_: Any) -> Tensor:
        """KL divergence `[...]` from `other` to this: E[log p - log q]."""
        assert isinstance(other, MultiHeadCategorical)
        difference = self._sum_by_head(self._weights * (self._shifted - other._shifted)) / self._totals
        return (difference - self._totals.log() + other._totals.log()).sum(-1)

    def sample(self, *, sample_shape: Any = None, generator: torch.Generator | None = None, **_: Any) -> Tensor:
        """A choice for every head, by inverse CDF (one uniform number a head); never one of probability 0."""
        choices = []
        for weights in self._blocks(self._weights):
            cumulative = weights.cumsum(-1)
            u = torch.rand(cumulative.shape[:-1], generator=generator, device=cumulative.device, dtype=cumulative.dtype)
            threshold = u.clamp_(max=HIGHEST_UNIFORM) * cumulative[..., -1]
            choices.append((cumulative <= threshold.unsqueeze(-1)).sum(-1))
        return self._joined(choices)

    def rsample(self, **_: Any) -> Tensor:
        """Categorical choices have no reparameterised sample."""
        raise NotImplementedError("discrete choices cannot be reparameterised; use sample()")

    def to_deterministic(self) -> Distribution:
        """The most likely choice of every head."""
        return TorchDeterministic(loc=self._joined([block.argmax(-1) for block in self._blocks(self.logits)]))

    def _joined(self, choices: list[Tensor]) -> Tensor:
        joined = choices[0] if len(choices) == 1 else torch.cat(choices, -1)
        return joined.squeeze(-1) if len(self.head_sizes) == 1 else joined


_TABLES: dict[Any, Tensor] = {}


def _membership(head_sizes: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The 0/1 matrix `[options, heads]` that says which option belongs to which head; made once."""
    key = (head_sizes, device, dtype)
    if key not in _TABLES:
        _TABLES[key] = torch.block_diag(*(torch.ones(size, 1) for size in head_sizes)).to(device, dtype)
    return _TABLES[key]


def _offsets(head_sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Index of each head's first option; made once."""
    key = (head_sizes, device)
    if key not in _TABLES:
        _TABLES[key] = torch.tensor([sum(head_sizes[:h]) for h in range(len(head_sizes))], device=device)
    return _TABLES[key]


class GroupModule(TorchRLModule, ValueFunctionAPI):
    """Policy and value of one group: a shared trunk of two hidden layers.

    The first layer is W_shared shared + W_private private, so that the shared observation of an economy is multiplied
    once and not once for every agent. A batch holds either one row for each agent (RLlib's own runner: `private`
    [N, P]) or one row for each quarter of an economy with the agents on an inner axis (`private` [N, K, P]).

    `model_config`: `{"hidden_sizes": [128, 128]}`.
    """

    def setup(self) -> None:
        """Build the layers from the spaces."""
        first, second = self.model_config["hidden_sizes"]
        parts = self.observation_space.spaces
        self.head_sizes = head_sizes_of(self.action_space)
        self.action_dist_cls = MultiHeadCategorical.get_partial_dist_cls(head_sizes=self.head_sizes)
        self.shared_layer = nn.Linear(parts["shared"].shape[0], first)
        private = parts["private"].shape[0] if "private" in parts else 0
        self.private_layer = nn.Linear(private, first, bias=False) if private else None
        self.hidden_layer = nn.Linear(first, second)
        self.policy_head = nn.Linear(second, sum(self.head_sizes))
        self.value_head = nn.Linear(second, 1)
        nn.init.orthogonal_(self.policy_head.weight, 0.01)
        nn.init.zeros_(self.policy_head.bias)

    def trunk(self, observation: dict[str, Tensor]) -> Tensor:
        """The second hidden layer: `[N, width]`, or `[N, K, width]` where observations have an agent axis."""
        x = self.shared_layer(observation["shared"])
        private = observation.get("private")
        if private is not None:
            if private.ndim > x.ndim:
                x = x.unsqueeze(-2)
            if self.private_layer is not None:
                x = x + self.private_layer(private)
        return torch.relu_(self.hidden_layer(torch.relu_(x)))

    def logits(self, observation: dict[str, Tensor], embeddings: Tensor) -> Tensor:
        """Logits of all options; those that `action_mask` forbids are `FORBIDDEN`."""
        logits = self.policy_head(embeddings)
        mask = observation.get("action_mask")
        if mask is None:
            return logits
        if mask.ndim < logits.ndim:
            mask = mask.unsqueeze(-2)
        return logits.masked_fill(mask == 0, FORBIDDEN)

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        observation = batch[Columns.OBS]
        return {Columns.ACTION_DIST_INPUTS: self.logits(observation, self.trunk(observation))}

    def _forward_train(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        observation = batch[Columns.OBS]
        embeddings = self.trunk(observation)
        return {Columns.ACTION_DIST_INPUTS: self.logits(observation, embeddings), Columns.EMBEDDINGS: embeddings}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Values `[N]` or `[N, K]` of the states in the batch."""
        if embeddings is None:
            embeddings = self.trunk(batch[Columns.OBS])
        return self.value_head(embeddings).squeeze(-1)
