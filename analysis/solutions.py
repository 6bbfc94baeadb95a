"""What different ways to learn end in: how often economies live, how well, and how far from an equilibrium.

    python -m analysis.solutions results/equilibrium_study
    python -m analysis.solutions results/curriculum_ablation --out docs/curriculum --against schedule_full
    python -m analysis.solutions kept/solutions.json results/more_seeds --out kept

Reads the finished trials of one or more experiment folders, and the best responses to them that lie beside, or tables
written earlier, which hold every seed's numbers; of several trials of a seed one counts. Prints, and writes into the
first FOLDER or DIR, a row for each treatment: `solutions.md`, `solutions.json` and `solutions.png`. An earlier table
there is replaced.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import COLORS, colors, legend_below, new_figure, save, tidy
from analysis.followers import FOLLOWERS
from analysis.intervals import CONFIDENCE, Interval, bounded
from analysis.outcomes import REWARDS, Solutions, solutions_in
from analysis.quantities import BY_NAME
from analysis.writing import markdown
from rbc_rllib.files import write_json
from rbc_rllib.settings import ConfigError, command_parser, refused


def living_table(solutions: Sequence[Solutions]) -> str:
    """One row a treatment: how many seeds died, what the living earn, and when they came alive."""
    lines = [["treatment", "seeds", "dead", *(BY_NAME[name].title for name in REWARDS), "alive after (env steps)"]]
    for each in solutions:
        rewards = [each.reward(name) for name in REWARDS]
        texts = [_known(own, BY_NAME[name].of) for name, own in zip(REWARDS, rewards, strict=True)]
        after = bounded(each.alive_after, "{:,.0f}".format) if each.living else "-"
        lines.append(
            [each.name, str(len(each.outcomes)), bounded(each.dead_share, "{:.0%}".format), *texts, after],
        )
    return markdown(lines)


def gains_table(solutions: Sequence[Solutions], group: str) -> str:
    """One row a treatment of which followers in the group were asked: what single ones gain in the mean, what the one
    gains that gains most, and what all together; beside means what policies gain by less noise, and what gains are
    worth to consumers. In parentheses of how many seeds a gain is, where others were asked about others. Empty where
    none were."""
    single, together = f"each_{group}", group
    beside = ["temperature"] if group == "firm" else ["temperature", "worth, % of consumption"]
    head = ["seeds", FOLLOWERS[single], *beside, "the largest", FOLLOWERS[together], *beside]

    def means(each: Solutions, deviator: str) -> list[Interval | None]:
        worth = [] if group == "firm" else [each.equivalent(deviator)]
        return [each.gain(deviator), each.temperature(deviator), *worth]

    lines = [
        [
            each.name,
            str(len(asked)),
            *(_text(gain, len(asked)) for gain in (*means(each, single), each.largest(single), *means(each, together))),
        ]
        for each in solutions
        if (asked := each.asked((single, together)))
    ]
    return markdown([["gains at least, %", *head], *lines]) if lines else ""


def _text(gain: Interval | None, seeds: int) -> str:
    return bounded(gain, "{:.1f}".format) + (f" ({gain.count})" if gain and gain.count < seeds else "")


def differences_table(solutions: Sequence[Solutions], base: Solutions) -> str:
    """One row a treatment but `base`: by how much its seeds end above the same seeds of `base`, in rewards and, where
    followers of both were asked, in gains; and how likely death differs by chance alone (Fisher's exact test)."""
    others = [each for each in solutions if each is not base]
    asked = [name for name in FOLLOWERS if any(each.minus(base, name).count for each in others)]
    head = [f"minus {base.name}", "pairs", "dead, p", *(BY_NAME[name].title for name in REWARDS)]
    lines = [[*head, *(f"gain of {FOLLOWERS[name]}, points" for name in asked)]]
    for each in others:
        counts = [[own.dead, len(own.living)] for own in (each, base)]
        pairs = each.minus(base, REWARDS[0]).count
        rewards = [_known(each.minus(base, name), BY_NAME[name].of) for name in REWARDS]
        gains = [_known(each.minus(base, name), _points) for name in asked]
        lines.append([each.name, str(pairs), f"{scipy.stats.fisher_exact(counts).pvalue:.2g}", *rewards, *gains])
    return markdown(lines)


def _points(difference: Interval) -> str:
    return f"{bounded(difference, '{:+.1f}'.format)} ({difference.count})"


def _known(interval: Interval, text: Callable[[Interval], str]) -> str:
    return text(interval) if interval.count else "-"


def solutions_text(solutions: Sequence[Solutions], against: str | None = None) -> str:
    """Tables and words, in Markdown; `against` names the treatment that others are compared with.

    Raises `ConfigError` where there is none of that name.
    """
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
    if against is not None:
        named = {each.name: each for each in solutions}
        if against not in named:
            rule = "it must be one of the treatments there"
            raise ConfigError("--against", against, rule, f"name one of {', '.join(named)}")
        parts += [
            differences_table(solutions, named[against]),
            "Differences are means over the seeds that live in both, paired by seed, with the"
            f" {CONFIDENCE:.0%} interval of the paired t test. Dead, p: Fisher's exact test of the numbers of dead"
            " seeds. In parentheses the pairs of gains. Each comparison is by itself: of twenty that only chance makes,"
            " one is expected to seem different.",
        ]
    return "\n\n".join(parts)


def draw_rewards(solutions: Sequence[Solutions], ax: Axes) -> None:
    """Consumer reward of every seed, a cross where its economy is dead."""
    tidy(ax, "Consumer reward (cross: dead)", "", BY_NAME["consumer_reward"].unit)
    for place, each in enumerate(solutions):
        for outcome in each.outcomes:
            marker, color = ("x", COLORS[1]) if outcome.dead else ("o", COLORS[0])
            ax.plot(outcome.number("consumer_reward"), place, marker, color=color, alpha=0.7, markersize=6)


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


def write_solutions(places: Sequence[Path], out: Path, against: str | None = None) -> str:
    """Writes the tables of experiment folders and earlier tables into `out` and returns them; raises `ConfigError`
    where there is nothing to tell."""
    solutions = solutions_in(places)
    if not solutions:
        rule = "none of the trials there is finished and evaluated"
        raise ConfigError("FOLDER", [*map(str, places)], rule, "finish the sweep with --resume")
    text = solutions_text(solutions, against)
    out.mkdir(parents=True, exist_ok=True)
    write_json({each.name: each.record() for each in solutions}, out / "solutions.json")
    (out / "solutions.md").write_text(f"# Solutions\n\n{text}\n\n![Rewards and gains](solutions.png)\n")
    save(solutions_figure(solutions), out / "solutions.png")
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command_parser("analysis.solutions", __doc__)
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="results/<experiment> or solutions.json, several pooled"
    )
    parser.add_argument("--out", type=Path, help="where to write the tables (default: into the first FOLDER)")
    parser.add_argument("--against", metavar="TREATMENT", help="compare all others with this one, paired by seed")
    chosen = parser.parse_args(arguments)
    with refused(parser):
        first = chosen.folders[0]
        out = chosen.out or (first.parent if first.is_file() else first)
        print(write_solutions(chosen.folders, out, chosen.against))


if __name__ == "__main__":
    main()
