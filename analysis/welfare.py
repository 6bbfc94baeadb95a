"""Welfare with learned taxes against no taxes and fixed rates, under both definitions of social welfare.

    python -m analysis.welfare results/tax_baselines
    python -m analysis.welfare results/tax_baselines results/more_seeds --out docs/welfare

Reads the finished trials of one or more experiment folders, all of one economy. Prints, and writes into the first
FOLDER or DIR, a table by treatment, the difference of learned taxes to the best fixed rate (chosen on other seeds than
those it is judged on) and to each fixed rate, and whether they are significant: `welfare.md`, `welfare.json` and
`welfare.png`. An earlier comparison there is replaced.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import COLORS, GREY, legend_below, new_figure, save, tidy
from analysis.followers import FOLLOWERS
from analysis.intervals import CONFIDENCE
from analysis.metrics import seeds, verdict
from analysis.quantities import BY_NAME, Quantity
from analysis.results import Trial, load_trials
from analysis.taxes import DEFINITIONS, Comparison, Definition, Difference, Treatment, compare_taxes
from analysis.writing import count, listed, markdown, numbered
from rbc_rllib.files import write_json
from rbc_rllib.settings import command_parser, refused

WELFARE = BY_NAME["social_welfare"]
FIRM_REWARD = BY_NAME["firm_reward"]
PERCENT = Quantity("gain", "gain", "%", "z,.1f")
DIFFERENCE = Quantity("difference", "difference", WELFARE.unit, "+z,.1f")
PAPER_PERCENT = 15  # by which learned taxes beat the baselines in Curry et al. (arXiv 2201.01163)


def write_welfare(trials: Sequence[Trial], out: Path) -> str:
    """Writes the comparison into `out` and returns its text; raises `ConfigError` where there is none to make."""
    comparison = compare_taxes(trials)
    text = welfare_text(comparison)
    out.mkdir(parents=True, exist_ok=True)
    write_json(comparison.record(), out / "welfare.json")
    save(welfare_figure(comparison), out / "welfare.png")
    (out / "welfare.md").write_text(f"# Welfare\n\n{text}\n\n![Welfare by treatment](welfare.png)\n")
    return text


def welfare_text(comparison: Comparison) -> str:
    """Tables and words, in Markdown."""
    parts = [treatment_table(comparison), _note(comparison)]
    if gains := gains_table(comparison):
        parts += [gains, _note_on_gains()]
    for learned in comparison.learned:
        parts += [best_fixed_words(comparison, learned), *commitment_words(comparison, learned)]
        if comparison.each_fixed(learned, "consumer"):
            parts += [difference_table(comparison, learned), _note_on_each(comparison, learned)]
    return "\n\n".join(parts)


def treatment_table(comparison: Comparison) -> str:
    """One row a treatment: seeds, trivial runs, welfare under both definitions, firm reward and mean tax rates."""
    head = ["treatment", "taxes", "seeds", "trivial runs", "consumer welfare", "total welfare", "firm reward"]
    lines = [[*head, "income tax", "corporate tax"]]
    for each in comparison.treatments:
        lines.append(
            [
                each.name,
                each.taxes,
                str(len(seeds(each.trials))),
                f"{len(each.trivial) / len(each.trials):.0%}",
                *(WELFARE.of(each.mean_welfare(definition)) for definition in DEFINITIONS),
                FIRM_REWARD.of(each.firm_reward),
                *(BY_NAME[name].text(each.mean_rate(name)) for name in ("income_tax_rate", "corporate_tax_rate")),
            ]
        )
    return markdown(lines)


def gains_table(comparison: Comparison) -> str:
    """One row a treatment whose followers were asked what leaving would gain them, and of how many of its seeds; empty
    where none were."""
    lines = []
    for each in comparison.treatments:
        gains = [each.follower_gain(deviator) for deviator in FOLLOWERS]
        if known := [gain for gain in gains if gain]:
            asked = str(max(gain.count for gain in known))
            lines.append([each.name, asked, *(PERCENT.of(gain) if gain else "-" for gain in gains)])
    return (
        markdown([["gains at least, % of mean absolute reward", "seeds", *FOLLOWERS.values()], *lines]) if lines else ""
    )


def commitment_words(comparison: Comparison, learned: Treatment) -> list[str]:
    """What announcing a plan is worth to a planner with discretion, where both were trained."""
    differences = [comparison.worth_of_commitment(learned, definition) for definition in DEFINITIONS]
    known = [difference for difference in differences if difference]
    if not known:
        return []
    other = known[0].fixed[min(known[0].fixed)].name
    sentences = [f"{d.definition.capitalize()} welfare: {_difference(d)}, {_significance(d)}." for d in known]
    sentences += _trivial(learned, known)
    return [f"**What it is worth to commit: {learned.name} against {other}.** {' '.join(sentences)}"]


def difference_table(comparison: Comparison, learned: Treatment) -> str:
    """One row a fixed treatment: how much more welfare `learned` has, and whether that is significant."""
    rows: dict[str, list[str]] = {}
    for definition in DEFINITIONS:
        for difference in comparison.each_fixed(learned, definition):
            row = rows.setdefault(difference.fixed[min(difference.fixed)].name, [str(len(difference.fixed))])
            row += [_difference(difference), difference.verdict]
    head = [f"{learned.name} minus", "seeds", "consumer welfare", "is", "total welfare", "is"]
    return markdown([head, *([name, *row] for name, row in rows.items())])


def best_fixed_words(comparison: Comparison, learned: Treatment) -> str:
    """Whether `learned` differs from the best fixed rate, a sentence for each definition of welfare."""
    shared = comparison.shared_seeds(learned)
    if len(shared) < 2:
        have = f"share only {numbered(shared)}" if shared else "share no seed"
        return (
            f"**{learned.name} against the best fixed rate.** No difference is given: it and the fixed rates {have},"
            " and the best rate has to be chosen on other seeds than those it is judged on. Finish more seeds."
        )
    differences = [comparison.best_fixed(learned, definition) for definition in DEFINITIONS]
    sentences = [_best_fixed(difference) for difference in differences if difference]
    sentences += _trivial(learned, [difference for difference in differences if difference])
    rivals = comparison.rivals(learned)
    partly = sorted({trial.seed for each in (learned, *rivals) for trial in each.trials} - {*shared})
    if partly:
        sentences.append(f"Not all of them have finished {numbered(partly)}, left out of these differences.")
    if absent := [each.name for each in comparison.fixed if each not in rivals]:
        sentences.append(f"Without all of its seeds, and so not among those to choose from: {listed(absent)}.")
    return f"**{learned.name} against the best fixed rate.** {' '.join(sentences)}"


def _best_fixed(difference: Difference) -> str:
    definition = difference.definition
    goal = ", the planner's goal" if difference.learned.goal == definition else ""
    chosen: dict[str, list[int]] = {}
    for seed, fixed in difference.fixed.items():
        chosen.setdefault(fixed.name, []).append(seed)
    by_number = sorted(chosen.items(), key=lambda item: -len(item[1]))
    choice = f"chosen on the other seeds: {'; '.join(f'{name} for {numbered(judged)}' for name, judged in by_number)}"
    subject = f"{definition.capitalize()} welfare{goal}"
    if difference.verdict == "trivial":
        return f"{subject}: every run is trivial ({choice}), so there is nothing to win."
    return f"{subject}: the difference is {_difference(difference)}, {_significance(difference)} ({choice})."


def _significance(difference: Difference) -> str:
    seeds_behind = f"{CONFIDENCE:.0%} interval over n = {len(difference.fixed)} seeds"
    verdicts = {
        "not significant": f"not significant, since its {seeds_behind} holds 0",
        "significant": f"significant, since its {seeds_behind} leaves out 0",
        "unknown": "of unknown significance",
        "trivial": "every run being trivial",
    }
    return verdicts[difference.verdict]


def _trivial(learned: Treatment, differences: Sequence[Difference]) -> list[str]:
    """A warning for each side that holds dead economies."""
    sides = {each.name: each for difference in differences for each in (learned, *difference.fixed.values())}
    dead = [f"{len(each.trivial)} of {count(len(each.trials), 'run')} of {name}" for name, each in sides.items()]
    dead = [text for text, each in zip(dead, sides.values(), strict=True) if each.trivial]
    return [f"Trivial: {listed(dead)}; a dead economy is no success, whatever its welfare."] if dead else []


def _difference(difference: Difference) -> str:
    text, percent = DIFFERENCE.of(difference.interval), difference.percent
    return text if percent is None else f"{text}, {percent:+.1f}%"


def _note(comparison: Comparison) -> str:
    params = comparison.treatments[0].trials[0].economy_parameters
    sentences = [
        "Welfare is a quarter's, of the whole economy, in held-out episodes with frozen policies: the sum of consumer"
        f" rewards, and for total welfare also {params.firm_welfare_weight:g} times the sum of firm rewards. Means over"
        f" seeds, trivial runs included; [low, high] is the {CONFIDENCE:.0%} Student t interval over seeds, which takes"
        " them for draws from a normal distribution. Tax rates are means over the quarters after the first.",
        "No taxes count as a fixed rate of 0. For each seed, the best fixed rate is the one with the highest mean"
        " over the other seeds; where two tie, that choice goes against the seed that is judged, in favour of learned"
        " taxes, and what holds is the comparison with each rate. Percentages are of |the mean welfare of the fixed"
        f" rate|; the paper reports about {PAPER_PERCENT:+d}%.",
    ]
    if comparison.also_differ:
        sentences.append(f"Beware: treatments also differ in {listed(comparison.also_differ)}.")
    if comparison.not_compared:
        names = listed(comparison.not_compared)
        sentences.append(f"Not compared, since their taxes are neither learned nor one fixed pair of rates: {names}.")
    if comparison.left_out:
        names = listed([trial.label for trial in comparison.left_out])
        sentences.append(f"Left out, without rewards from a finished held-out evaluation: {names}.")
    return " ".join(sentences)


def _note_on_gains() -> str:
    return (
        "Gains are what followers found who went on learning while all others kept their policies: lower bounds, in"
        f" percent of their group's mean absolute reward, means over living seeds with their {CONFIDENCE:.0%}"
        " Student t interval. In an equilibrium nobody gains."
    )


def _note_on_each(comparison: Comparison, learned: Treatment) -> str:
    differences = comparison.each_fixed(learned, "consumer")
    if len(differences) == 1:
        return "A difference whose interval holds 0 is not significant."
    return (
        f"These are {len(differences)} comparisons at once for each definition of welfare, so each interval is one of"
        f" {differences[0].confidence:.1%} (Bonferroni): they hold together with {CONFIDENCE:.0%}. A difference"
        " whose interval holds 0 is not significant."
    )


def welfare_panel(treatments: Sequence[Treatment], ax: Axes, definition: Definition) -> Axes:
    """A line a treatment: a dot for each run, a cross where it is trivial, and mean and interval over seeds."""
    for place, each in enumerate(treatments):
        color = COLORS[1] if each.planner.learns else COLORS[0]
        mean = each.mean_welfare(definition)
        if mean.known:
            ax.plot([mean.low, mean.high], [place, place], color=color, linewidth=2, solid_capstyle="butt", zorder=2)
        ax.plot(mean.mean, place, marker="|", markersize=12, markeredgewidth=2.5, color=color, zorder=3)
        for trial in each.trials:
            value = Treatment(each.name, (trial,)).welfare(definition)[trial.seed]
            marker = "x" if verdict(trial) == "trivial" else "o"
            ax.plot(value, place + 0.28, marker=marker, markersize=5, color=color, alpha=0.7, linestyle="none")
    tidy(ax, f"{definition.capitalize()} welfare", "", WELFARE.unit)
    ax.set_yticks(range(len(treatments)), [f"{each.name}\n({each.taxes})" for each in treatments])
    ax.set_ylim(len(treatments) - 0.5, -0.5)
    ax.grid(axis="x", color="0.92", linewidth=0.8)
    return ax


def welfare_figure(comparison: Comparison) -> Figure:
    """Welfare by treatment, a panel for each definition."""
    figure = new_figure(12, 1.6 + 0.6 * len(comparison.treatments))
    left, right = figure.subplots(1, 2, sharey=True)
    for ax, definition in zip((left, right), DEFINITIONS, strict=True):
        welfare_panel(comparison.treatments, ax, definition)
    right.tick_params(labelleft=False)
    looks = {"run": "o", "trivial run": "x", "mean over seeds": "|"}
    handles = [
        *(Line2D([], [], color=GREY, marker=marker, linestyle="none", label=text) for text, marker in looks.items()),
        Line2D([], [], color=GREY, linewidth=2, label=f"{CONFIDENCE:.0%} Student t interval"),
    ]
    handles[2].set(markersize=12, markeredgewidth=2.5)
    legend_below(figure, handles, fontsize=9.5)
    figure.suptitle("Social welfare with learned and with fixed taxes", fontsize=13, x=0.01, ha="left")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command_parser("analysis.welfare", __doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="results/<experiment>, several pooled")
    parser.add_argument("--out", type=Path, help="where to write the comparison (default: into the first FOLDER)")
    chosen = parser.parse_args(arguments)
    with refused(parser):
        trials = {trial.path.resolve(): trial for folder in chosen.folders for trial in load_trials(folder)}
        print(write_welfare(list(trials.values()), chosen.out or chosen.folders[0]))


if __name__ == "__main__":
    main()
