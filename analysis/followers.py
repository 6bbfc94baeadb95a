"""What consumers and firms would gain by leaving the policies of a trial: best responses, read from beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.gains import Gain, Solution, check_written
from analysis.intervals import Interval, bounded
from analysis.metrics import verdict
from analysis.results import Trial, read_json
from analysis.writing import count, listed, markdown
from rbc_rllib.leaving import FROZEN
from rbc_rllib.settings import ConfigError

FOLLOWERS = {
    "each_firm": "a single firm",
    "firm": "all firms together",
    "each_consumer": "a single consumer",
    "consumer": "all consumers together",
}
"""Deviators who follow the planner, and what they are called."""

GAINS_HEAD = "gains at least, % of the group's mean absolute reward"
"""Heads tables of gains."""

RECORDED = ("run", "held_out_episodes", "iterations", "epochs", "seeds", "starts", "set", "solutions")
"""What a `best_response.json` says, of itself and of each solution."""


def follower_gains(trial: Trial) -> dict[str, Gain]:
    """Each follower's gain, by deviator, at the last checkpoint that `best_response` asked about.

    Empty where it has not been run with results beside the trial's experiment, or about other policies than those that
    are evaluated.
    """
    answers = answers_to(trial)
    gains = answers[1][-1].gains if answers else ()
    return {gain.deviator: gain for gain in gains if gain.deviator in FOLLOWERS}


def how_asked(trial: Trial) -> str | None:
    """How deviators trained and on how much they were judged, in words; None where nobody was asked."""
    answers = answers_to(trial)
    if answers is None:
        return None
    record, _ = answers
    epochs = " or ".join(map(str, sorted({*record["epochs"].values()})))
    words = [f"{record['iterations']} iterations", f"{epochs} epochs", count(len(record["seeds"]), "seed")]
    if record["starts"] != [FROZEN]:
        words.append(f"starts {listed(record['starts'])}")
    words += [f"{key}={value}" for key, value in record["set"].items()]
    return ", ".join([*words, f"{record['held_out_episodes']} held-out episodes"])


def answers_to(trial: Trial) -> tuple[dict[str, Any], tuple[Solution, ...]] | None:
    """What `best_response` wrote of the policies that a trial ended with, as in `read_answers`; None where nobody was
    asked, or about others, such as those of a shorter training."""
    if trial.answers is None:
        return None
    record, solutions = read_answers(trial.answers)
    asked = solutions[-1].policies
    evaluated = (trial.evaluation or {}).get("policies", asked)
    return (record, solutions) if asked == evaluated else None


def read_answers(path: Path) -> tuple[dict[str, Any], tuple[Solution, ...]]:
    """What a `best_response.json` holds, and the solutions in it, the oldest first.

    Raises `ConfigError` where an earlier version wrote it.
    """
    record = read_json(path)
    try:
        check_written(record, RECORDED, "a best_response.json")
        return record, tuple(Solution.read(solution) for solution in record["solutions"])
    except ConfigError as error:
        raise ConfigError(str(path), error.value, error.rule, error.fix) from None


def percent_gain(trial: Trial, deviator: str) -> Interval | None:
    """The gain in percent of the group's mean absolute reward, over seeds and episodes; None if unknown."""
    gain = follower_gains(trial).get(deviator)
    return gain.percent_of_reward if gain else None


def followers_table(trials: Sequence[Trial]) -> str:
    """One row a trial, one column a follower who was asked in any of them; Markdown."""
    asked = [name for name in FOLLOWERS if any(name in follower_gains(trial) for trial in trials)]
    lines = [[GAINS_HEAD, *(FOLLOWERS[name] for name in asked)]]
    for trial in trials:
        lines.append([trial.label, *(bounded(percent_gain(trial, name), "{:.1f}".format) for name in asked)])
    return markdown(lines)


def followers_words(trials: Sequence[Trial]) -> str:
    """How to read the table, for somebody who sees it for the first time."""
    asked = [trial for trial in trials if follower_gains(trial)]
    if not asked:
        return "Nobody was asked what leaving the learned policies would gain."
    words = (
        "Is anybody better off by leaving? In an equilibrium nobody is. Here single agents (or a group) went on"
        " learning while all others kept their policies: what they found is a lower bound of what there is to gain, so"
        " a small number is a good sign and no proof."
    )
    dead = [trial.label for trial in asked if verdict(trial) == "trivial"]
    return words + (f" Gains say nothing where the economy is trivial: {listed(dead)}." if dead else "")
