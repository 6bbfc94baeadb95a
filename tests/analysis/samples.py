"""Result folders to read: as training writes them, with made-up curves and really played roll-outs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas

from analysis.gains import Alone, Gain, Solution
from analysis.intervals import Interval
from analysis.results import folder_beside
from rbc_rllib.arrays import stack
from rbc_rllib.economy import Actions, EconomyParameters, initial_state, step
from rbc_rllib.files import write_json

SMALL = EconomyParameters(num_consumers=12, num_firms=4)
STAGES = ((0.0, "prices and wages widen"), (0.2, "taxes widen"), (0.4, "everyone learns"))
ENV_STEPS_PER_ITERATION = 1600

LIVING = {
    "social_welfare": 250.0,
    "consumer_reward": 2.5,
    "firm_reward": 90_000.0,
    "hours": 480.0,
    "output": 260.0,
    "consumption": 1.9,
    "exports": 60.0,
    "price": 2000.0,
    "wage": 9.0,
    "income_tax_rate": 0.02,
    "corporate_tax_rate": 0.8,
    "trivial_share": 0.0,
}
FIXED = {"mode": "fixed", "rates": [[0.2, 0.2]]}
DEAD = dict.fromkeys(LIVING, 0.0) | {"price": 1200.0, "wage": 11.0, "trivial_share": 1.0}


def write_trial(
    experiment: Path,
    name: str,
    seed: int,
    indicators: dict[str, float],
    *,
    iterations: int = 100,
    evaluated: bool = True,
    rollout: bool = False,
    economy: EconomyParameters = SMALL,
    learning_rate: float = 1e-3,
    planner: dict[str, Any] | None = None,
    stages: tuple[tuple[float, str], ...] = STAGES,
    folder: str = "",
) -> Path:
    """A trial whose evaluation gives exactly `indicators`, and whose training came near them."""
    trial = experiment / (folder or f"{name}_{seed}")
    trial.mkdir(parents=True)
    total = min(160_000, iterations * ENV_STEPS_PER_ITERATION) if evaluated else 160_000
    config = {
        "name": name,
        "seed": seed,
        "economy": economy.model_dump(mode="json"),
        "planner": {"mode": "discretion", "rates": None} | (planner or {}),
        "curriculum": {"total_env_steps": total},
        "learning": {"learning_rate": {"consumer": learning_rate}},
        "resources": {"num_env_runners": seed},
    }
    (trial / "config.json").write_text(json.dumps(config))
    if iterations:
        progress(indicators, iterations, stages, numpy.random.default_rng(seed)).to_csv(
            trial / "progress.csv", index=False
        )
    if evaluated:
        measured = {
            key: {"mean": value, "low": value - 0.02 * abs(value), "high": value + 0.02 * abs(value)}
            for key, value in indicators.items()
        }
        record = {"episodes": 64, "seed": 1, "env_steps": 160_000, "policies": "their hash", "indicators": measured}
        text = json.dumps(record)
        (trial / "evaluation.json").write_text(text)
    if rollout:
        numpy.savez_compressed(trial / "rollout.npz", **played(economy, 4, numpy.random.default_rng(seed)))
    return trial


def fail(trial: Path, error: str, status: str = "ERROR") -> None:
    """As a trial that failed, and came to `status` in the end."""
    (trial / "error.txt").write_text(f"Traceback\n{error}\n")
    table = trial.parent / "trials.parquet"
    rows = pandas.read_parquet(table).to_dict("records") if table.exists() else []
    pandas.DataFrame([*rows, {"trial": trial.name, "status": status}]).to_parquet(table)


def gain(
    deviator: str,
    mean: float,
    size: float = 100.0,
    temperature: float | None = None,
    agents: dict[str, float] | None = None,
) -> Gain:
    """What a deviator gains, with an interval of 1 around it; of a `size` of 100 that is in percent."""

    def around(value: float) -> Interval:
        return Interval(value, value - 0.5, value + 0.5, 1)

    each = {name: around(value) for name, value in (agents or {}).items()}
    return Gain(
        deviator=deviator,
        reward=size,
        size=size,
        gain=around(mean),
        seeds=(0,),
        stayed=(),
        best_seed=0,
        best_gain=around(mean),
        improvement=size,
        consumption_equivalent=None,
        temperature=None if temperature is None else around(temperature),
        alone=Alone(each, max(each, key=lambda name: each[name].mean), None) if each else None,
    )


def write_answers(trial: Path, *checkpoints: list[Gain], policies: str = "their hash", **asked: Any) -> None:
    """`best_response.json` where the command leaves it: gains at one checkpoint after the other, and how they were
    `asked`."""
    solutions = [
        Solution(f"checkpoint_{number:06}", 100, policies, 0.0, tuple(gains)).record()
        for number, gains in enumerate(checkpoints)
    ]
    folder = folder_beside("best_response", trial)
    folder.mkdir()
    usual = {"iterations": 75, "held_out_episodes": 64, "seeds": [0], "starts": ["frozen"], "set": {}}
    deviators = {each.deviator for gains in checkpoints for each in gains}
    usual["epochs"] = {name: 8 if name.startswith("each_") else 2 for name in sorted(deviators)}
    write_json({"run": str(trial), **usual, **asked, "solutions": solutions}, folder / "best_response.json")


def progress(
    indicators: dict[str, float],
    iterations: int,
    stages: tuple[tuple[float, str], ...],
    rng: numpy.random.Generator,
) -> pandas.DataFrame:
    """Noisy curves that approach `indicators`, with columns that reports ignore."""
    done = numpy.arange(1, iterations + 1) / 100
    columns: dict[str, Any] = {
        "training_iteration": numpy.arange(1, iterations + 1),
        "env_steps": ENV_STEPS_PER_ITERATION * numpy.arange(1, iterations + 1),
        "curriculum_stage": [[name for start, name in stages if share >= start][-1] for share in done],
        "config/seed": 0,
        "timers/sample": rng.random(iterations),
        "learning/consumer/entropy": numpy.exp(-done),
    }
    for name, value in indicators.items():
        noise = rng.normal(0, 0.08 * abs(value), iterations)
        columns[f"economy/{name}"] = value * (1 - numpy.exp(-done / 0.15)) + noise
    return pandas.DataFrame(columns)


def played(
    params: EconomyParameters,
    num_envs: int,
    rng: numpy.random.Generator,
    policy: Callable[..., Actions] | None = None,
) -> dict[str, numpy.ndarray]:
    """The arrays of a roll-out file: one episode of `num_envs` economies."""
    state, states, outcomes = initial_state(params, num_envs), [], []
    for _ in range(params.episode_length):
        states.append(state)
        state, outcome = step(params, state, (policy or sensible_actions)(params, num_envs, rng))
        outcomes.append(outcome)
    return {f"state/{name}": values for name, values in stack(states).items()} | {
        f"outcome/{name}": values for name, values in stack(outcomes).items()
    }


def sensible_actions(params: EconomyParameters, num_envs: int, rng: numpy.random.Generator) -> Actions:
    """Consumers buy little and work half the time, firms charge much and pay little, the planner taxes firms."""
    consumers, goods = params.num_consumers, params.num_firms
    dearer = numpy.arange(goods) % 3  # firms differ
    price = 3 + (rng.random((num_envs, goods)) < 0.3 * dearer) + (rng.random((num_envs, goods)) < 0.4)
    wage = (rng.random((num_envs, goods)) < 0.5 + 0.2 * dearer).astype(int)
    planner = numpy.where(rng.random(num_envs) < 0.7, 4, 3)
    return Actions(
        consumption=rng.binomial(10, 0.05, size=(num_envs, consumers, goods)),
        hours_index=rng.binomial(4, 0.45, size=(num_envs, consumers)),
        employer=rng.choice(goods, size=(num_envs, consumers), p=(1 + dearer) / (1 + dearer).sum()),
        firm=price * len(params.wage_choices) + wage,
        planner=planner,
    )
