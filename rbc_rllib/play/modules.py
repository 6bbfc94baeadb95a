"""RLModules: one network for a whole group of agents."""

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.distribution import FORBIDDEN, MultiHeadCategorical, head_sizes_of
from rbc_rllib.play.spaces import group_spaces


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


def module_arguments(experiment: ExperimentConfig, group: str) -> dict[str, Any]:
    """What a `GroupModule` of `group` is built from."""
    learning = experiment.learning
    observation_space, action_space = group_spaces(experiment.economy, learning.observation_encodings)[group]
    return {
        "observation_space": observation_space,
        "action_space": action_space,
        "model_config": {"hidden_sizes": list(learning.hidden_sizes)},
    }


def untrained_modules(experiment: ExperimentConfig, seed: int | None = None) -> dict[str, GroupModule]:
    """A network for every policy of `experiment`, with random weights: those of `seed`, or torch's next ones."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return {
            policy: GroupModule(**module_arguments(experiment, group)) for policy, group in experiment.policies.items()
        }
