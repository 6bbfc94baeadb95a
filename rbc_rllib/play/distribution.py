"""The masked distribution over an agent's simultaneous choices."""

import math
from functools import cache, cached_property
from itertools import accumulate, groupby
from typing import Any

import torch
from gymnasium import spaces
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic
from torch import Tensor

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
        return joined(self._totals).log()

    def logp(self, value: Tensor, **_: Any) -> Tensor:
        """Log-probability `[...]` of the joint choice."""
        if len(self.head_sizes) == 1:
            value = value.unsqueeze(-1)
        index = (value.long() + _offsets(self.head_sizes, value.device)).movedim(-1, 0)
        largest = joined(self._largest).squeeze(1)
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
        return joined([(weights * block).sum(1) / totals for block, weights, totals in parts])

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
        values = joined(choices).movedim(0, -1).to(compact)
        return values.squeeze(-1) if len(self.head_sizes) == 1 else values


def joined(blocks: list[Tensor]) -> Tensor:
    """One after the other; a single one is not copied."""
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


@cache
def _offsets(head_sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Index of each head's first option; made once."""
    return torch.tensor([0, *accumulate(head_sizes[:-1])], device=device)
