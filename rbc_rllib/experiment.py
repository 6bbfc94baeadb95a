"""An experiment: the economy, its curriculum, how agents learn, and on which machines; and sweeps of them. Validated,
frozen, complete."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rbc_rllib.arrays import Library
from rbc_rllib.curriculum import Curriculum
from rbc_rllib.economy import GROUPS, EconomyParameters, Planner
from rbc_rllib.economy.observations import ENCODINGS, Encoding
from rbc_rllib.files import read_object, write_text
from rbc_rllib.leaving import Deviation, Leaving, PoolMember
from rbc_rllib.search import AT_ONCE, Search
from rbc_rllib.settings import ConfigError, Folder, NonNegativePerGroup, PerGroup, PositivePerGroup, Settings

FIXED_BY_A_MEMBER = (
    "learning.algorithm",
    "learning.hidden_sizes",
    "learning.observation_encodings",
    "learning.economies_per_update",
    "curriculum.total_env_steps",
)
"""What a member of a population cannot change while it learns, beside the economy."""


class Learning(Settings):
    """How policies are updated. The defaults learned well at full size (100 consumers, 10 firms)."""

    algorithm: Literal["ppo", "policy_gradient"] = "ppo"  # policy_gradient: one unclipped pass over each batch
    economies_per_update: PositiveInt = 32  # whole episodes in a batch, over all runners
    updates_per_iteration: PositiveInt = 5  # between two reports, before batches grow
    num_epochs: PositiveInt = 2
    num_minibatches: PositiveInt = 2
    clip_param: PositiveFloat = 0.1
    learning_rate: NonNegativePerGroup = PerGroup(consumer=2e-3, firm=2e-3, planner=1e-3)
    plan_learning_rate: PositiveFloat = 8e-3  # of a planner who learns a plan: a table takes larger steps
    final_learning_rate_share: float = Field(0.05, ge=0, le=1)  # reached linearly at the end of training
    grad_clip: PositiveFloat = 2.0  # global norm, each group by itself
    discount: float = Field(0.9999, ge=0, le=1)
    gae_lambda: float = Field(1.0, ge=0, le=1)
    value_loss_coeff: NonNegativeFloat = 0.5
    reward_scale: PositivePerGroup = PerGroup(consumer=50.0, firm=1e5, planner=2e3)  # rewards are divided by it
    trained_consumers: PositiveInt | None = 25  # drawn per economy for each batch; None trains on all
    hidden_sizes: tuple[PositiveInt, PositiveInt] = (128, 128)
    observation_encodings: tuple[Encoding, ...] = Field(ENCODINGS, min_length=1)

    @property
    def passes(self) -> int:
        """Over each batch."""
        return 1 if self.algorithm == "policy_gradient" else self.num_epochs


class Resources(Settings):
    """Ray's resources for one trial, named as in RLlib. With 0 runners or learners the trial's process does it."""

    num_env_runners: NonNegativeInt = 0
    num_gpus_per_env_runner: NonNegativeFloat = 0
    num_cpus_per_env_runner: PositiveFloat = 1
    num_learners: NonNegativeInt = 0
    num_gpus_per_learner: NonNegativeFloat = 0
    num_cpus_per_learner: PositiveFloat = 1
    array_library: Library = "auto"  # auto: CuPy on runners that own a GPU
    torch_threads: PositiveInt = 1  # in every process; more than its cores cuts throughput many times

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.num_gpus_per_env_runner and not self.num_env_runners:
            rule, fix = "there are no runners to own a GPU", "set num_env_runners, or num_gpus_per_learner instead"
            raise ConfigError("num_gpus_per_env_runner", self.num_gpus_per_env_runner, rule, fix)
        return self


class Refinement(Settings):
    """What may bring learned policies closer to an equilibrium, beside the cooling of the curriculum; off by default.

    An update is one batch. `EconomyPPO` heeds them; RLlib's own PPO does not.
    """

    # The policies that checkpoints keep are averages of all their weights, average += (1 - weight_average) * (weights -
    # average) in each update; those that learn are not. 0: there is no average.
    weight_average: float = Field(0.0, ge=0, lt=1)
    # Of KL(policy || magnet) in the loss, the magnet a copy of the policy that goes `magnet_rate` of the way to it in
    # each update: magnetic mirror descent (Sokota et al., 2023). Not for a planner who announces.
    magnet_coeff: NonNegativeFloat = 0.0
    magnet_rate: float = Field(0.05, gt=0, le=1)
    # Share of training from which advantages are standardised for each firm by itself, so that firms of little capital
    # weigh as much as the others; None: never.
    own_advantages_from: float | None = Field(None, ge=0, le=1)
    # From that share of training on, batches and minibatches are so many times as large, and as many times rarer.
    batch_growth: PositiveInt = 1
    batch_growth_from: float = Field(0.6, ge=0, le=1)
    # Deviators, one of which acts for its agents in this share of a batch's economies from that share of training on,
    # while all others there act by, and learn, the policies of their groups: best responses (policy-space response
    # oracles: Lanctot et al., 2017), or agents who act at random (trembling hands: Selten, 1975).
    pool: tuple[PoolMember, ...] = ()
    pool_share: float = Field(0.25, gt=0, le=0.5)
    pool_from: float = Field(0.0, ge=0, le=1)

    def own_advantages(self, progress: float) -> bool:
        """Whether each firm's advantages are standardised by themselves at this share of training."""
        return self.own_advantages_from is not None and progress >= self.own_advantages_from

    def meets_pool(self, progress: float) -> bool:
        """Whether there is a pool that is met at this share of training."""
        return bool(self.pool) and progress >= self.pool_from

    def batches(self, progress: float) -> int:
        """How many times as large as at the start batches are."""
        return self.batch_growth if progress >= self.batch_growth_from else 1


class ExperimentConfig(Settings):
    """One trial, complete: the same config and seed give the same metrics on a CPU."""

    name: str = Field("full_curriculum", pattern=r"^[A-Za-z0-9_.+-]+$")
    seed: int = Field(0, ge=0, lt=2**31)
    economy: EconomyParameters = EconomyParameters()
    planner: Planner = Planner()
    curriculum: Curriculum = Curriculum()
    learning: Learning = Learning()
    refinement: Refinement = Refinement()
    resources: Resources = Resources()
    deviation: Deviation | None = None  # None: everybody learns, as the curriculum says
    start: Folder | None = None  # of a checkpoint, with whose policies training starts; None: they are untrained
    evaluation_episodes: PositiveInt = 64  # held-out episodes after training
    iterations_per_checkpoint: PositiveInt = 50

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        pool = self.refinement.pool
        leaving: dict[str, Leaving] = {f"refinement.pool.{number}": member for number, member in enumerate(pool)}
        leaving |= {"deviation": self.deviation} if self.deviation else {}
        checks = {
            "planner": partial(self.planner.fits, self.economy),
            "curriculum": partial(self.curriculum.fits, self.economy),
            **{key: partial(self.check_leaving, who) for key, who in leaving.items()},
        }
        for key, check in checks.items():
            try:
                check()
            except ConfigError as error:
                raise error.below(key) from None
        if self.deviation and (pool or self.start):
            rule = "everybody else plays the policies of deviation.checkpoint alone, and the deviator starts there"
            raise ConfigError("deviation", self.deviation.deviator, rule, "leave out refinement.pool and start")
        economies = self.learning.economies_per_update
        runners = max(1, self.resources.num_env_runners)
        shares = {
            "num_env_runners": runners,
            "num_learners * num_minibatches": max(1, self.resources.num_learners) * self.learning.num_minibatches,
        }
        for what, count in shares.items():
            if economies % count:
                rule = f"it must be a multiple of {what} = {count}, so that all get the same number of economies"
                raise ConfigError("learning.economies_per_update", economies, rule, f"take {count * 16}, for example")
        share, own = self.refinement.pool_share, economies // runners
        if self.planner.announces and self.planner.learns and economies < 2:
            rule = "a plan that is learned is compared with those of other economies, and there is none"
            raise ConfigError("learning.economies_per_update", economies, rule, "take 32, for example")
        if pool and economies < 2 * shares["num_learners * num_minibatches"]:
            rule = "a minibatch is one economy, in which a member of the pool may act for all who learn"
            raise ConfigError("learning.num_minibatches", self.learning.num_minibatches, rule, "take half, for example")
        if pool and share * own < 1:
            rule = f"of the {own} economies of each runner, that is none, and nobody would meet the pool"
            raise ConfigError("refinement.pool_share", share, rule, f"take at least {math.ceil(1000 / own) / 1000}")
        return self

    def check_from_scratch(self, name: str) -> None:
        """Raise `ConfigError` where the run of this name went on from another one."""
        if self.deviation or self.start:
            rule = "it went on from the policies of another run"
            raise ConfigError("RUN", name, rule, "name a run that learned everything from scratch")

    def check_leaving(self, who: Leaving) -> None:
        """Raise `ConfigError` where nobody who learns here has that name."""
        who.fits(self.economy)
        if who.deviator == "planner" and not self.planner.learns:
            rule = "the planner of this experiment follows fixed tax rates and chooses nothing"
            raise ConfigError("deviator", "planner", rule, "take consumer or firm")

    @property
    def policies(self) -> dict[str, str]:
        """The group for which each network acts: every group's own, and that of agents that deviate by themselves.

        Where taxes are fixed, the planner has none.
        """
        own = {group: group for group in GROUPS if group != "planner" or self.planner.learns}
        leaving = self.deviation.parts if self.deviation else {}
        return own | {policy: part.group for policy, part in leaving.items()}

    @property
    def frozen_policies(self) -> tuple[str, ...]:
        """The policies that stay as they are whatever the curriculum says: in a deviation, all but the deviator's."""
        return tuple(name for name in self.policies if self.deviation and name not in self.deviation.parts)

    def start_of(self, policy: str) -> str | None:
        """The checkpoint with whose weights `policy` starts; None: untrained."""
        return self.deviation.start_of(policy) if self.deviation else self.start

    def learning_rate(self, group: str) -> float:
        """With which the policies of `group` start to learn."""
        if group == "planner" and self.planner.announces:
            return self.learning.plan_learning_rate
        return getattr(self.learning.learning_rate, group)

    @property
    def env_steps_per_update(self) -> int:
        """Rows of a batch: quarters of all its economies."""
        return self.learning.economies_per_update * self.economy.episode_length

    @property
    def env_steps_per_iteration(self) -> int:
        """Between two reports, before `refinement.batch_growth` sets in."""
        return self.env_steps_per_update * self.learning.updates_per_iteration

    @property
    def num_iterations(self) -> int:
        """Training iterations until `curriculum.total_env_steps`; fewer where `refinement.batch_growth` sets in."""
        return -(-self.curriculum.total_env_steps // self.env_steps_per_iteration)

    @classmethod
    def of_trial(cls, trial: Path) -> Self:
        """The experiment of a trial's folder; raises `ConfigError` where it is none."""
        if not (trial / "config.json").is_file():
            inside = sorted(path.parent.name for path in trial.glob("*/config.json"))
            fix = f"name one of the trials in it: {', '.join(inside)}" if inside else "give results/<sweep>/<trial>"
            rule = f"{trial} is no trial's folder, that is one with a config.json"
            raise ConfigError("RUN", trial.name, rule, fix)
        return cls.from_json(trial / "config.json")

    @classmethod
    def from_json(cls, path: Path) -> Self:
        """The config saved in a trial's folder; raises `ConfigError` where it is incomplete or of another version."""
        saved = read_object(path, "take another trial")
        try:
            found = cls(**saved)
            return found.replace(economy=found.economy.with_defaults_unset())
        except ConfigError as error:
            rule = f"{error.rule} ({path} has it, perhaps written by another version)"
            raise ConfigError(error.key, error.value, rule, error.fix) from None

    def to_json(self, path: Path) -> None:
        """Save the complete config, defaults included."""
        write_text(self.model_dump_json(indent=2) + "\n", path)

    def with_values(self, values: dict[str, Any]) -> Self:
        """A validated copy with dotted keys changed: `{"curriculum.firm_range_end": 0.3}`.

        Raises `ConfigError` for a key that does not exist or a value that is refused.
        """
        nested = self.model_dump(exclude_unset=True)
        for key, value in sorted(values.items(), key=lambda item: item[0].count(".")):
            self.check_key(key, value)
            *path, last = key.split(".")
            inner, held = nested, self
            for part in path:
                held = getattr(held, part)
                inner = inner.setdefault(part, held.model_dump(exclude_unset=True))
                if not isinstance(inner, dict):
                    rule = f"{part} is set to {inner!r} beside it, which holds no keys"
                    raise ConfigError(key, value, rule, "set one of the two")
            inner[last] = dict(value) if isinstance(value, dict) else value
        return type(self)(**nested)

    def check_key(self, key: str, value: Any) -> None:
        """Raise `ConfigError` where there is no such dotted key, which is to get this value."""
        *path, last = key.split(".")
        held: Any = self
        for depth, part in enumerate(path):
            _check_key(held, part, ".".join(path[: depth + 1]), value)
            held = getattr(held, part)
            if not isinstance(held, Settings):
                raise ConfigError(
                    key,
                    value,
                    f"{part} is a value and holds no keys",
                    f"write {'.'.join(path[: depth + 1])}=... instead",
                )
        _check_key(held, last, key, value)


@dataclass(frozen=True)
class Sweep:
    """What to train: every experiment, at `num_samples` draws of the search space (dotted keys, `tune.*` values).

    All experiments of a sweep get the same draws, so that those that differ in the seed alone repeat each of them.
    """

    experiments: tuple[ExperimentConfig, ...]
    search_space: dict[str, Any] = field(default_factory=dict)
    num_samples: int = 1
    search: Search | None = None  # None: as `tune_config` says, by default every draw to its end
    tune_config: dict[str, Any] = field(default_factory=dict)  # of `tune.TuneConfig`: metric, scheduler, ...
    # Who is asked, when all is trained, what leaving the learned policies would gain; see `Deviation.deviator`.
    deviators: tuple[str, ...] = ()
    deviation_iterations: int = 40  # a short training: what it finds is a lower bound

    def __post_init__(self) -> None:
        """Raise `ConfigError` without an experiment, where two have one name and seed, draws would all be the same, or
        a deviator is nobody."""
        if not self.experiments:
            raise ConfigError("experiments", (), "a sweep needs at least one experiment", "give it one")
        names = [(experiment.name, experiment.seed) for experiment in self.experiments]
        doubles = sorted(name for name, times in Counter(names).items() if times > 1)
        if doubles:
            rule = "each experiment of a sweep has its own name and seed"
            raise ConfigError("experiments", doubles, rule, "give them different names or seeds")
        if "seed" in self.search_space:
            rule = "a seed repeats a configuration and is no dimension of a search"
            raise ConfigError("search_space", "seed", rule, "give one experiment for each seed")
        for experiment, (key, domain) in product(self.experiments, self.search_space.items()):
            try:
                experiment.check_key(key, domain)
            except ConfigError as error:
                raise ConfigError("search_space", key, error.rule, error.fix) from None
        if self.num_samples < 1 or (self.num_samples > 1 and not self.search_space):
            rule = "it must be 1 or more, and 1 where no setting is searched, as all draws would be the same"
            raise ConfigError("num_samples", self.num_samples, rule, "leave it out, or name a search_space")
        for experiment, deviator in product(self.experiments, self.deviators):
            experiment.check_leaving(Leaving(deviator=deviator))
        if self.deviation_iterations < 1:
            rule, fix = "it must be at least 1", "leave it out to get the default"
            raise ConfigError("deviation_iterations", self.deviation_iterations, rule, fix)
        if self.search:
            self._check_search(self.search)

    def _check_search(self, search: Search) -> None:
        if not self.search_space:
            raise ConfigError("search_space", {}, f"there is nothing to search by {search.kind}", "name some settings")
        if taken := sorted({"search_alg", "scheduler", "metric", "mode", "num_samples"} & self.tune_config.keys()):
            rule = f"search.kind = {search.kind} says that already"
            raise ConfigError("tune_config", taken, rule, "leave it out, or search")
        if search.kind in ("asha", "population") and self.tune_config.get(AT_ONCE):
            rule = f"with search.kind = {search.kind} trials wait for others or go by them, so none may be held back"
            fix = "leave it out: trials take turns where the machine is too small for all of them"
            raise ConfigError("tune_config", [AT_ONCE], rule, fix)
        different = {experiment.replace(seed=0).model_dump_json() for experiment in self.experiments}
        if len(different) > 1:
            rule = "experiments of a search repeat one configuration, so they differ in the seed alone"
            names = [experiment.name for experiment in self.experiments]
            raise ConfigError("experiments", names, rule, "search each of them in a sweep of its own")
        if search.kind == "asha" and "curriculum.total_env_steps" in self.search_space:
            rule, fix = "shares of the training are compared, so all are equally long", "search another setting"
            raise ConfigError("search_space", "curriculum.total_env_steps", rule, fix)
        if search.kind == "population":
            for key in self.search_space:
                if not key.startswith(("learning.", "curriculum.")) or key in FIXED_BY_A_MEMBER:
                    rule = "a member cannot change it while it learns"
                    fix = "search learning rates, entropy or clipping, or take another search.kind"
                    raise ConfigError("search_space", key, rule, fix)

    def with_values(self, values: dict[str, Any]) -> "Sweep":
        """The same sweep with dotted keys set in every experiment; a key that is set, or lies in one that is, is no
        longer searched. Raises `ConfigError` for one in a group that is searched as a whole."""
        for key, searched in product(values, self.search_space):
            if key.startswith(f"{searched}."):
                raise ConfigError(key, values[key], f"{searched} is searched as a whole", f"set all of {searched}")
        experiments = tuple(experiment.with_values(values) for experiment in self.experiments)
        fixed = tuple(f"{key}." for key in values)
        space = {key: domain for key, domain in self.search_space.items() if not f"{key}.".startswith(fixed)}
        samples = self.num_samples if space else 1
        return replace(self, experiments=experiments, search_space=space, num_samples=samples)

    def only(self, names: Sequence[str]) -> "Sweep":
        """The same sweep with the experiments of these names alone; raises `ConfigError` for an unknown one."""
        known = list(dict.fromkeys(experiment.name for experiment in self.experiments))
        for name in names:
            if name not in known:
                raise ConfigError("--only", name, "there is no such experiment", f"take some of {', '.join(known)}")
        return replace(self, experiments=tuple(each for each in self.experiments if each.name in names))


def _check_key(settings: Settings, part: str, key: str, value: Any) -> None:
    if part not in type(settings).model_fields:
        keys = ", ".join(type(settings).model_fields)
        raise ConfigError(key, value, "there is no such key", f"the keys there are {keys}")
