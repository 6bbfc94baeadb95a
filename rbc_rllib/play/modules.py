"""RLModules: one network for a whole group of agents."""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rbc_rllib.curriculum import SETTLED
from rbc_rllib.economy.planner import Rates
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
        return self.masked(logits, observation)

    @staticmethod
    def masked(logits: Tensor, observation: dict[str, Tensor]) -> Tensor:
        """`logits`, `FORBIDDEN` where an `action_mask` says so."""
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


class PlanModule(GroupModule):
    """A planner who learns a tax plan: a table of logits for each page of its calendar, and the plan's value.

    The logit of an income and a corporate rate is the sum of one of each, times the entry of the calendar's page, its
    sharpness. A plan has one value, whatever the page.
    """

    def setup(self) -> None:
        """Build the table; every plan is as likely as any other."""
        self.head_sizes = head_sizes_of(self.action_space)
        self.action_dist_cls = MultiHeadCategorical.get_partial_dist_cls(head_sizes=self.head_sizes)
        pages, rates = self.observation_space["private"].shape[0], math.isqrt(self.head_sizes[0])
        self.income = nn.Parameter(torch.zeros(pages, rates))
        self.corporate = nn.Parameter(torch.zeros(pages, rates))
        self.value = nn.Parameter(torch.zeros(1))

    def trunk(self, observation: dict[str, Tensor]) -> Tensor:
        """The calendar itself, `[N, pages]` or `[N, K, pages]`."""
        return observation["private"]

    def logits(self, observation: dict[str, Tensor], embeddings: Tensor) -> Tensor:
        """Logits `[..., rates * rates]`, income-major; those that `action_mask` forbids are `FORBIDDEN`.

        Those of a settled page have no gradient: with no chance left, it would be one of rounding errors.
        """
        income, corporate = embeddings @ self.income, embeddings @ self.corporate
        logits = (income.unsqueeze(-1) + corporate.unsqueeze(-2)).flatten(-2)
        settled = embeddings.amax(-1, keepdim=True) >= SETTLED
        return self.masked(torch.where(settled, logits.detach(), logits), observation)

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """The value of a plan, `[N]` or `[N, K]`."""
        seen = batch[Columns.OBS]["private"] if embeddings is None else embeddings
        return self.value.expand(seen.shape[:-1])


def cooled(module: GroupModule, temperature: float) -> GroupModule:
    """A copy of a network whose choices have the probabilities softmax(logits / temperature).

    Near temperature 0 it takes what is most likely.
    """
    copy = deepcopy(module)
    for parameter in copy.policy_head.parameters():
        parameter.data /= temperature
    return copy


def settled_plan(experiment: ExperimentConfig, modules: Mapping[str, GroupModule]) -> tuple[Rates, ...] | None:
    """The rates that the planner announces when training is over: the given ones, or the most likely ones of its table.

    One pair for all quarters after the first, or one for each. None with discretion, and where rates are drawn, as by a
    planner who has not begun to learn: several are the most likely ones.
    """
    planner = experiment.planner
    if not planner.learns or not planner.announces:
        return planner.rates if isinstance(planner.rates, tuple) else None
    table = modules["planner"]
    assert isinstance(table, PlanModule)
    rates, tables = experiment.economy.tax_choices, (table.income, table.corporate)
    if any((part == part.amax(-1, keepdim=True)).sum(-1).max() > 1 for part in tables):
        return None
    income, corporate = (part.argmax(-1).tolist() for part in tables)
    return tuple((rates[i], rates[c]) for i, c in zip(income, corporate, strict=True))


def module_class(experiment: ExperimentConfig, group: str) -> type[GroupModule]:
    """The kind of network that acts for `group`."""
    return PlanModule if group == "planner" and experiment.planner.announces else GroupModule


def module_arguments(experiment: ExperimentConfig, group: str) -> dict[str, Any]:
    """What a `GroupModule` of `group` is built from."""
    learning = experiment.learning
    spaces = group_spaces(experiment.economy, learning.observation_encodings, experiment.planner)
    observation_space, action_space = spaces[group]
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
            policy: module_class(experiment, group)(**module_arguments(experiment, group))
            for policy, group in experiment.policies.items()
        }
