"""RLModules: one network for a whole group of agents, and the masked distribution over their simultaneous choices."""

import math
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any

import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rbc_rllib.arrays import keep_freed_memory, multiply_with_onednn

FORBIDDEN = -1e9
"""Logit of a forbidden action: its probability is exactly 0 in float32, and 0 * FORBIDDEN is 0 in the entropy."""

HIGHEST_UNIFORM = 1 - 2**-20
"""Uniform numbers stay below it, so that u * total < total in float32 and the inverse CDF never runs past the end."""


LOG2_E = math.log2(math.e)


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

    Inside, options come first, `[heads, size, ...]` for each run of heads of equal size: numbers of one option of many
    agents are added to those of the next option, which is many times faster than adding the few options of one head,
    where `GroupModule` has laid the logits out in memory like that.
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

    @cached_property
    def _options(self) -> Tensor:
        """Logits `[options, ...]`."""
        return self.logits.movedim(-1, 0)

    @cached_property
    def _blocks(self) -> list[Tensor]:
        """Logits `[heads, size, ...]` of each run of heads of equal size."""
        runs = [(len(list(run)), size) for size, run in groupby(self.head_sizes)]
        blocks = self._options.split([count * size for count, size in runs])
        return [block.unflatten(0, run) for block, run in zip(blocks, runs, strict=True)]

    @cached_property
    def _largest(self) -> list[Tensor]:
        """The largest logit of each head, `[heads, 1, ...]`; a constant: no gradient depends on it."""
        return [block.detach().amax(1, keepdim=True) for block in self._blocks]

    @cached_property
    def _shifted(self) -> list[Tensor]:
        """Logits less the largest one of their head, so that no head underflows."""
        return [block - largest for block, largest in zip(self._blocks, self._largest, strict=True)]

    @cached_property
    def _weights(self) -> list[Tensor]:
        """Unnormalised probabilities."""
        # exp2() is several times faster than exp() on a CPU.
        if torch.is_grad_enabled():
            return [(shifted * LOG2_E).exp2_() for shifted in self._shifted]
        # Whoever acts needs no shifted logits: in their memory, so that caches hold more.
        pairs = zip(self._blocks, self._largest, strict=True)
        return [(block - largest).mul_(LOG2_E).exp2_() for block, largest in pairs]

    @cached_property
    def _totals(self) -> list[Tensor]:
        """Sum of each head's weights, `[heads, ...]`."""
        return [weights.sum(1) for weights in self._weights]

    @cached_property
    def _log_totals(self) -> Tensor:
        """log sum exp of each head's shifted logits, `[all heads, ...]`."""
        return _joined(self._totals).log()

    def logp(self, value: Tensor, **_: Any) -> Tensor:
        """Log-probability `[...]` of the joint choice."""
        if len(self.head_sizes) == 1:
            value = value.unsqueeze(-1)
        index = (value.long() + _offsets(self.head_sizes, value.device)).movedim(-1, 0)
        largest = _joined(self._largest).squeeze(1)
        return (self._options.gather(0, index) - largest - self._log_totals).sum(0)

    def entropy(self, **_: Any) -> Tensor:
        """Entropy `[...]` in nats: log Z - E[z], summed over heads."""
        return (self._log_totals - self._expected(self._shifted)).sum(0)

    def kl(self, other: Distribution, **_: Any) -> Tensor:
        """KL divergence `[...]` from `other` to this: E[log p - log q]."""
        assert isinstance(other, MultiHeadCategorical)
        differences = [own - others for own, others in zip(self._shifted, other._shifted, strict=True)]
        return (self._expected(differences) - self._log_totals + other._log_totals).sum(0)

    def _expected(self, blocks: list[Tensor]) -> Tensor:
        """Each head's mean over its options, `[all heads, ...]`."""
        parts = zip(blocks, self._weights, self._totals, strict=True)
        return _joined([(weights * block).sum(1) / totals for block, weights, totals in parts])

    def sample(
        self,
        *,
        sample_shape: Any = None,
        generator: torch.Generator | None = None,
        uniforms: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """A choice for every head, by inverse CDF; never one of probability 0.

        `uniforms` `[heads, ...]`, uniform in [0, 1), decide; drawn with `generator` where they are not given.
        """
        if uniforms is None:
            shape = (len(self.head_sizes), *self.logits.shape[:-1])
            uniforms = torch.rand(shape, generator=generator, device=self.logits.device, dtype=self.logits.dtype)
        choices = []
        for weights, u in zip(self._weights, uniforms.split([len(block) for block in self._blocks]), strict=True):
            cumulative = weights.cumsum(1)
            threshold = u.clamp(max=HIGHEST_UNIFORM)[:, None].mul_(cumulative[:, -1:])
            choices.append(cumulative.le_(threshold).sum(1))  # as floats: twice as fast as with booleans
        return self._by_agent(choices)

    def rsample(self, **_: Any) -> Tensor:
        """Categorical choices have no reparameterised sample."""
        raise NotImplementedError("discrete choices cannot be reparameterised; use sample()")

    def to_deterministic(self) -> Distribution:
        """The most likely choice of every head."""
        return TorchDeterministic(loc=self._by_agent([block.argmax(1) for block in self._blocks]))

    def _by_agent(self, choices: list[Tensor]) -> Tensor:
        """Choices `[heads, ...]` of each block as values, in one byte where they fit: torch's indices take eight."""
        # Signed: unsigned bytes would be taken for a mask where they index.
        compact = torch.int8 if max(self.head_sizes) <= 128 else torch.int32
        values = _joined(choices).movedim(0, -1).to(compact)
        return values.squeeze(-1) if len(self.head_sizes) == 1 else values


def _joined(blocks: list[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


_OFFSETS: dict[Any, Tensor] = {}


def _offsets(head_sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Index of each head's first option; made once."""
    key = (head_sizes, device)
    if key not in _OFFSETS:
        _OFFSETS[key] = torch.tensor([0, *accumulate(head_sizes[:-1])], device=device)
    return _OFFSETS[key]


class GroupModule(TorchRLModule, ValueFunctionAPI):
    """Policy and value of one group: a shared trunk of two hidden layers.

    The first layer is W_shared shared + W_private private, so that the shared observation of an economy is multiplied
    once and not once for every agent. A batch holds either one row for each agent (RLlib's own runner: `private`
    [N, P]) or one row for each quarter of an economy with the agents on an inner axis (`private` [N, K, P]).

    `model_config`: `{"hidden_sizes": [128, 128]}`.
    """

    def setup(self) -> None:
        """Build the layers from the spaces."""
        # Of every process that plays or learns.
        keep_freed_memory()
        multiply_with_onednn()
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
                x = self.private_layer(private).add_(x)
        # Of two dimensions: autograd copies the gradient of what is changed in place through a view, as three have.
        hidden = self.hidden_layer(torch.relu_(x).flatten(0, -2))
        return torch.relu_(hidden).unflatten(0, x.shape[:-1])

    def logits(self, observation: dict[str, Tensor], embeddings: Tensor) -> Tensor:
        """Logits `[..., options]`; those that `action_mask` forbids are `FORBIDDEN`.

        In memory they lie options first, as `MultiHeadCategorical` likes them: W x^T + b.
        """
        weight, bias = self.policy_head.weight, self.policy_head.bias
        logits = torch.addmm(bias[:, None], weight, embeddings.flatten(0, -2).T).T.unflatten(0, embeddings.shape[:-1])
        mask = observation.get("action_mask")
        if mask is None:
            return logits
        if mask.ndim < logits.ndim:
            mask = mask.unsqueeze(-2)
        return torch.where(mask == 0, FORBIDDEN, logits)

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
