"""What happened, in words that hold whatever happened.

A trivial economy, in which nobody works, is called neither an equilibrium nor worth comparing; a difference between
treatments is reported with its seeds and intervals, never as proven; unfinished trials are named.
"""

import math
from collections.abc import Sequence

from analysis.intervals import Interval
from analysis.metrics import indicator, measured, over_seeds, seeds, source, verdict
from analysis.quantities import BY_NAME
from analysis.results import Trial, by_treatment
from analysis.writing import count, listed, numbered, plan_words
from rbc_rllib.economy.indicators import TRIVIAL_SHARE, potential_output

COMPARED = ("consumer_reward", "firm_reward")


def narrative(trials: Sequence[Trial]) -> str:
    """A paragraph for each treatment and one that compares them, separated by empty lines."""
    groups = by_treatment(trials)
    return "\n\n".join([*(describe(name, members) for name, members in groups.items()), compare(groups)])


def describe(name: str, trials: Sequence[Trial]) -> str:
    """What became of one treatment."""
    chosen = measured(trials)
    judged: dict[str, list[Trial]] = {"trivial": [], "alive": [], "unknown": []}
    for trial in chosen:
        judged[verdict(trial)].append(trial)
    sentences = [
        *_trivial_sentences(judged["trivial"], chosen),
        *_unknown_sentences(judged["unknown"]),
        *_living_sentences(judged["alive"], chosen),
        *_unfinished_sentences(trials),
    ]
    return " ".join(
        [f"**{name}** ({_basis(chosen)}).", *(sentence[0].upper() + sentence[1:] for sentence in sentences)]
    )


def compare(groups: dict[str, list[Trial]]) -> str:
    """What can be said about the treatments side by side: only finished trials that are not trivial."""
    finished = {name: [trial for trial in trials if trial.finished] for name, trials in groups.items()}
    finished = {name: trials for name, trials in finished.items() if trials}
    alive = {name: [t for t in trials if verdict(t) == "alive"] for name, trials in finished.items()}
    alive = {name: trials for name, trials in alive.items() if trials}
    trivial = [name for name, trials in finished.items() if all(verdict(trial) == "trivial" for trial in trials)]
    mixed = [name for name in alive if any(verdict(trial) == "trivial" for trial in finished[name])]

    if not finished:
        return "No trial is finished yet: there is nothing to compare."
    if len(trivial) == len(finished):
        subject = "Every finished treatment is" if len(trivial) > 1 else "The only finished treatment is"
        return f"{subject} trivial: there is no equilibrium and nothing to compare."

    sentences = []
    if trivial:
        sentences.append(f"Trivial, and so left out of any comparison: {listed(trivial)}.")
    if alive:
        sentences.append(f"Not trivial: {listed(list(alive))}.")
    unfinished = [name for name in groups if name not in finished]
    if unfinished:
        sentences.append(f"Unfinished, and so left out: {listed(unfinished)}.")
    if mixed:
        sentences.append(f"Of {listed(mixed)} only the seeds that are not trivial are compared.")
    if len(alive) > 1:
        sentences += [_ranking(name, alive) for name in COMPARED]
        sentences.append(_caution(alive))
        sentences.append(_welfare_note(alive))
    elif not alive:
        sentences.append("No finished treatment has numbers that can be compared.")
    else:
        sentences.append("There is nothing to compare it with.")
    if alive:
        sentences.append("Not being trivial does not make a solution an equilibrium: that takes a best-response test.")
    return " ".join(sentence for sentence in sentences if sentence)


def _basis(chosen: Sequence[Trial]) -> str:
    if not chosen:
        return "no numbers yet"
    origin = {"evaluation": "held-out evaluation", "training": "unfinished, last 5% of the training so far"}
    return f"{count(len(seeds(chosen)), 'seed')}, {origin[source(chosen[0])]}"


def _trivial_sentences(trivial: Sequence[Trial], chosen: Sequence[Trial]) -> list[str]:
    causes: dict[str, list[Trial]] = {}
    for trial in trivial:
        causes.setdefault(_cause(trial), []).append(trial)
    return [
        f"{_where(trials, chosen)}{cause}: {_state(trials)} trivial, not an equilibrium."
        for cause, trials in causes.items()
    ]


def _unknown_sentences(unknown: Sequence[Trial]) -> list[str]:
    return [f"whether {numbered(seeds(unknown))} ended trivial is unknown."] if unknown else []


def _state(trials: Sequence[Trial]) -> str:
    return "the solution is" if trials[0].finished else "so far this is"


def _where(trials: Sequence[Trial], chosen: Sequence[Trial]) -> str:
    """`with seeds 1 and 2 `, or nothing where that is all of them."""
    return "" if len(trials) == len(chosen) else f"with {numbered(seeds(trials))} "


def _cause(trial: Trial) -> str:
    """Why a trial is trivial: what stays near zero."""
    params = trial.economy_parameters
    hours, output = indicator(trial, "hours"), indicator(trial, "output")
    potential = potential_output(params)
    if hours < 0.5:
        return "nobody works"
    if hours < TRIVIAL_SHARE * params.hours_choices[-1]:
        return "hardly anybody works"
    if output < TRIVIAL_SHARE * potential:
        return "hardly anything is produced"
    if indicator(trial, "consumption") < TRIVIAL_SHARE * potential / params.num_consumers:
        return "consumers get hardly any goods"
    return f"{BY_NAME['trivial_share'].text(indicator(trial, 'trivial_share'))} of the episodes are dead"


def _living_sentences(alive: Sequence[Trial], chosen: Sequence[Trial]) -> list[str]:
    if not alive:
        return []

    def text(name: str) -> str:
        return BY_NAME[name].of(over_seeds(alive, name))

    share = over_seeds(alive, "trivial_share").mean
    partly = f", though {BY_NAME['trivial_share'].text(share)} of the episodes are" if share >= 0.005 else ""
    first = alive[0]
    income, corporate = (
        BY_NAME[name].text(over_seeds(alive, name).mean) for name in ("income_tax_rate", "corporate_tax_rate")
    )
    words = {"discretion": "the planner sets", "fixed": "taxes are fixed and announced:"}
    taxes = words.get(first.planner.mode, "the planner announces")
    if first.planner.rates == "drawn":
        taxes = "taxes are drawn at random, in the mean"
    return [
        f"{_where(alive, chosen)}{_state(alive)} not trivial{partly}.",
        f"mean rewards a quarter: consumer {text('consumer_reward')}, firm {text('firm_reward')};"
        f" a consumer works {text('hours')} hours and gets {text('consumption')} units.",
        f"prices average {text('price')} a unit, wages {text('wage')} an hour.",
        f"{taxes} an income tax of {income} and a corporate tax of {corporate}"
        " (means over the quarters after the first, which is untaxed).",
        *_plans(alive),
    ]


def _plans(trials: Sequence[Trial]) -> list[str]:
    """The plans that were learned for every quarter, and by which seeds."""
    plans: dict[str, list[Trial]] = {}
    for trial in trials:
        plan = trial.evaluation.get("tax_plan") if trial.finished and trial.evaluation else None
        if plan and len(plan) > 1:
            plans.setdefault(plan_words(plan), []).append(trial)
    return [f"income / corporate tax by quarter ({numbered(seeds(same))}): {words}." for words, same in plans.items()]


def _unfinished_sentences(trials: Sequence[Trial]) -> list[str]:
    unfinished = [trial for trial in trials if not trial.finished]
    if not unfinished:
        return []
    each = ", ".join(f"seed {trial.seed} {_progress(trial)}" for trial in unfinished)
    return [f"unfinished, without a held-out evaluation: {each}."]


def _progress(trial: Trial) -> str:
    total = trial.total_env_steps
    return f"after {trial.env_steps:,} " + (f"of {total:,} env steps" if total else "env steps")


def _ranking(name: str, alive: dict[str, list[Trial]]) -> str:
    """The treatments by one quantity, highest first, each against the first."""
    quantity = BY_NAME[name]
    intervals = {treatment: over_seeds(trials, name) for treatment, trials in alive.items()}
    ranked = sorted((t for t in intervals if not math.isnan(intervals[t].mean)), key=lambda t: -intervals[t].mean)
    if not ranked:
        return ""
    best = ranked[0]
    parts = [f"{best} {quantity.of(intervals[best])} ({count(intervals[best].count, 'seed')})"]
    for treatment in ranked[1:]:
        interval = intervals[treatment]
        overlap = _overlap(interval, intervals[best], best)
        parts.append(f"{treatment} {quantity.of(interval)} ({count(interval.count, 'seed')}; {overlap})")
    return f"{quantity.label.capitalize()} ({quantity.unit}), highest mean first: {'; '.join(parts)}."


def _overlap(interval: Interval, best: Interval, name: str) -> str:
    if not interval.known:
        return "no interval"
    if not best.known:
        return f"{name} has no interval to hold against"
    return f"interval overlaps that of {name}" if interval.overlaps(best) else f"interval apart from that of {name}"


def _caution(alive: dict[str, list[Trial]]) -> str:
    fewest = min(len(seeds(trials)) for trials in alive.values())
    alone = ", and a single seed says nothing about chance" if fewest < 2 else ""
    return f"Intervals are 95% Student t intervals over seeds{alone}."


def _welfare_note(alive: dict[str, list[Trial]]) -> str:
    goals = {
        (params.planner_welfare, params.firm_welfare_weight, params.num_consumers, params.num_firms)
        for params in (trial.economy_parameters for trials in alive.values() for trial in trials)
    }
    return (
        "" if len(goals) == 1 else "Social welfare is not compared, as it is measured differently between treatments."
    )
