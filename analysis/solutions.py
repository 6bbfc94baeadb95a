"""What different ways to learn end in: how often economies live, how well, and how far from an equilibrium.

    python -m analysis.solutions results/equilibrium_study
    python -m analysis.solutions results/curriculum_ablation --out docs/curriculum

Reads the finished trials of one or more experiment folders, and the best responses to them that lie beside; of several
trials of a seed one counts. Prints, and writes into the first FOLDER or DIR, a row for each treatment: `solutions.md`,
`solutions.json` and `solutions.png`. An earlier table there is replaced.
"""

import argparse
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import COLORS, colors, legend_below, new_figure, save, tidy
from analysis.followers import FOLLOWERS, follower_gains, how_asked
from analysis.gains import Gain
from analysis.intervals import CONFIDENCE, Interval, bounded, proportion_interval, t_interval
from analysis.metrics import indicator, living
from analysis.quantities import BY_NAME
from analysis.results import Trial, by_treatment, load_trials, one_a_seed
from analysis.writing import markdown, plain
from rbc_rllib.economy.indicators import TRIVIAL_FROM
from rbc_rllib.files import write_json
from rbc_rllib.settings import ConfigError, refused

REWARDS = ("consumer_reward", "firm_reward")


@dataclass(frozen=True)
class Solutions:
    """The finished trials of one treatment, a seed each."""

    name: str
    trials: tuple[Trial, ...]

    @property
    def living(self) -> tuple[Trial, ...]:
        """Those whose economy is not trivial."""
        return tuple(living(self.trials))

    @property
    def dead_share(self) -> Interval:
        """The share of trivial trials with its Wilson interval."""
        return proportion_interval(len(self.trials) - len(self.living), len(self.trials))

    def reward(self, name: str) -> Interval:
        """A reward a quarter, mean over the living with its Student t interval."""
        return t_interval([indicator(trial, name) for trial in self.living])

    def gain(self, deviator: str) -> Interval | None:
        """What a follower gains at least, in percent of its group's mean absolute reward; over the living."""
        return self._percent(deviator, lambda gain: gain.gain)

    @cached_property
    def answers(self) -> list[tuple[Trial, dict[str, Gain]]]:
        """The living, each with its followers' gains by deviator, which are read once."""
        return [(trial, follower_gains(trial)) for trial in self.living]

    def asked(self, deviators: Collection[str] = FOLLOWERS) -> tuple[Trial, ...]:
        """Of the living, those of whom the gain of any of these followers is known."""
        return tuple(trial for trial, gains in self.answers if {*deviators} & {*gains})

    @property
    def ways(self) -> list[str]:
        """How their followers were asked, in words."""
        return sorted({str(how_asked(trial)) for trial in self.asked()})

    def temperature(self, deviator: str) -> Interval | None:
        """What the frozen policies themselves gain with less noise."""
        return self._percent(deviator, lambda gain: gain.temperature)

    def largest(self, deviator: str) -> Interval | None:
        """What the agent gains that gains most alone by validation episodes."""
        return self._percent(deviator, lambda gain: gain.most if gain.alone else None)

    def _percent(self, deviator: str, part: Callable[[Gain], Interval | None]) -> Interval | None:
        gains = [own[deviator] for _, own in self.answers if deviator in own]
        percents = [percent.mean for gain in gains if (own := part(gain)) and (percent := gain.percent(own))]
        return t_interval(percents) if percents else None

    @property
    def alive_after(self) -> Interval:
        """The env steps after which the economies of the living were never trivial again, with the part of its Student
        t interval that lies within their training."""
        after = t_interval([alive_after(trial) for trial in self.living])
        longest = max((trial.env_steps for trial in self.living), default=0)
        return replace(after, low=np.clip(after.low, 0, longest), high=np.clip(after.high, 0, longest))

    def record(self) -> dict[str, Any]:
        """For JSON; of each gain with the number of seeds that were asked."""
        parts = {"gains": self.gain, "temperature": self.temperature, "largest": self.largest}
        gains = {
            f"{part}_percent": {name: own.record() | {"seeds": own.count} for name in FOLLOWERS if (own := of(name))}
            for part, of in parts.items()
        }
        return plain(
            {
                "trials": len(self.trials),
                "dead_share": self.dead_share.record(),
                "alive_after": self.alive_after.record(),
                **{name: self.reward(name).record() for name in REWARDS},
                **gains,
                "asked": self.ways,
            }
        )


def alive_after(trial: Trial) -> float:
    """The env steps after which a trial's economies were never trivial again; NaN where nobody knows."""
    steps, shares = trial.progress["env_steps"], trial.progress.get("economy/trivial_share")
    if shares is None or steps.empty:
        return math.nan
    dead = steps[shares >= TRIVIAL_FROM]
    return float(dead.max()) if len(dead) else 0.0


def solutions_of(trials: Sequence[Trial]) -> list[Solutions]:
    """What finished trials end in, by treatment."""
    finished = [trial for trial in trials if trial.finished]
    return [Solutions(name, tuple(one_a_seed(members))) for name, members in by_treatment(finished).items()]


def living_table(solutions: Sequence[Solutions]) -> str:
    """One row a treatment: how many seeds died, what the living earn, and when they came alive."""
    lines = [["treatment", "seeds", "dead", *(BY_NAME[name].title for name in REWARDS), "alive after (env steps)"]]
    for each in solutions:
        rewards = [each.reward(name) for name in REWARDS]
        texts = [BY_NAME[name].of(own) if own.count else "-" for name, own in zip(REWARDS, rewards, strict=True)]
        after = bounded(each.alive_after, "{:,.0f}".format) if each.living else "-"
        lines.append(
            [each.name, str(len(each.trials)), bounded(each.dead_share, "{:.0%}".format), *texts, after],
        )
    return markdown(lines)


def gains_table(solutions: Sequence[Solutions], group: str) -> str:
    """One row a treatment of which followers in the group were asked: what single ones gain in the mean, what the one
    gains that gains most, and what all together; beside means what policies gain by less noise. In parentheses of how
    many seeds a gain is, where others were asked about others. Empty where none were."""
    single, together = f"each_{group}", group
    head = ["seeds", FOLLOWERS[single], "temperature", "the largest", FOLLOWERS[together], "temperature"]
    lines = [
        [
            each.name,
            str(len(asked)),
            *(
                _text(gain, len(asked))
                for gain in (
                    each.gain(single),
                    each.temperature(single),
                    each.largest(single),
                    each.gain(together),
                    each.temperature(together),
                )
            ),
        ]
        for each in solutions
        if (asked := each.asked((single, together)))
    ]
    return markdown([["gains at least, %", *head], *lines]) if lines else ""


def _text(gain: Interval | None, seeds: int) -> str:
    return bounded(gain, "{:.1f}".format) + (f" ({gain.count})" if gain and gain.count < seeds else "")


def solutions_text(solutions: Sequence[Solutions]) -> str:
    """Tables and words, in Markdown."""
    parts = [
        living_table(solutions),
        f"Dead: trivial on held-out episodes, with the {CONFIDENCE:.0%} Wilson interval. Rewards are means over the"
        f" living seeds with their {CONFIDENCE:.0%} Student t interval; alive after: the env steps of training"
        " after which they were never trivial again.",
    ]
    ways = sorted({way for each in solutions for way in each.ways})
    if ways:
        parts += [
            *filter(None, (gains_table(solutions, group) for group in ("firm", "consumer"))),
            "Gains are lower bounds, of deviators who went on learning while all others stayed, in percent of the mean"
            " absolute reward of the group's agents; means over the living seeds that were asked, with their"
            f" {CONFIDENCE:.0%} Student t interval. The largest: of the agents asked alone, chosen on other episodes,"
            " so that it may lie below the mean. Temperature: what the policies themselves gain in the mean by acting"
            " with less noise; chosen by itself, so that it may exceed the gain."
            f" Deviators had {'; others '.join(ways)}.",
        ]
    return "\n\n".join(parts)


def draw_rewards(solutions: Sequence[Solutions], ax: Axes) -> None:
    """Consumer reward of every seed, a cross where its economy is dead."""
    tidy(ax, "Consumer reward", "", BY_NAME["consumer_reward"].unit)
    for place, each in enumerate(solutions):
        for trial in each.trials:
            dead = trial not in each.living
            at = indicator(trial, "consumer_reward")
            ax.plot(at, place, "x" if dead else "o", color=COLORS[1] if dead else COLORS[0], alpha=0.7, markersize=6)


def draw_gains(solutions: Sequence[Solutions], ax: Axes) -> None:
    """The gain of each kind of follower, mean over seeds and interval."""
    tidy(ax, "What leaving gains", "", "% of the group's mean absolute reward")
    palette = colors(list(FOLLOWERS))
    for number, (deviator, words) in enumerate(FOLLOWERS.items()):
        places, shift = [], 0.16 * (number - 1.5)
        for place, each in enumerate(solutions):
            if gain := each.gain(deviator):
                places.append(place)
                ax.plot(gain.mean, place + shift, "o", color=palette[deviator], markersize=5)
                if gain.known:
                    ax.plot([gain.low, gain.high], [place + shift] * 2, color=palette[deviator], linewidth=1.5)
        if places:
            ax.plot([], [], "o", color=palette[deviator], label=words)


def solutions_figure(solutions: Sequence[Solutions]) -> Figure:
    """Rewards, and where followers were asked gains beside them; a line a treatment."""
    asked = any(each.asked() for each in solutions)
    panels = [draw_rewards, draw_gains] if asked else [draw_rewards]
    figure = new_figure(12 if asked else 8, 1.6 + 0.4 * len(solutions))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for draw, ax in zip(panels, axes, strict=True):
        draw(solutions, ax)
        ax.grid(axis="x", color="0.92", linewidth=0.8)
        ax.tick_params(labelleft=ax is axes[0])
    axes[0].set_yticks(range(len(solutions)), [each.name for each in solutions])
    axes[0].set_ylim(len(solutions) - 0.5, -0.5)
    if asked:
        legend_below(figure, axes[-1].get_legend_handles_labels()[0], fontsize=9)
    return figure


def write_solutions(trials: Sequence[Trial], out: Path) -> str:
    """Writes the tables into `out` and returns them; raises `ConfigError` where there is nothing to tell."""
    solutions = solutions_of(trials)
    if not solutions:
        rule = "none of the trials there is finished and evaluated"
        raise ConfigError("FOLDER", [trial.label for trial in trials], rule, "finish the sweep with --resume")
    text = solutions_text(solutions)
    out.mkdir(parents=True, exist_ok=True)
    write_json({each.name: each.record() for each in solutions}, out / "solutions.json")
    (out / "solutions.md").write_text(f"# Solutions\n\n{text}\n\n![Rewards and gains](solutions.png)\n")
    save(solutions_figure(solutions), out / "solutions.png")
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.solutions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="results/<experiment>, several pooled")
    parser.add_argument("--out", type=Path, help="where to write the tables (default: into the first FOLDER)")
    chosen = parser.parse_args(arguments)
    with refused(parser):
        trials = {trial.path.resolve(): trial for folder in chosen.folders for trial in load_trials(folder)}
        print(write_solutions(list(trials.values()), chosen.out or chosen.folders[0]))


if __name__ == "__main__":
    main()
