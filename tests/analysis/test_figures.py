"""Figures show the data they are given."""

from pathlib import Path

import numpy
import pandas
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from analysis import rollout
from analysis.figures import COLORS, colors, new_figure, save
from analysis.intervals import t_interval
from analysis.results import load_trials
from analysis.training import (
    interval_curve,
    stage_lines,
    stage_starts,
    training_curve,
    training_figure,
    trial_curve,
)
from rbc_rllib.economy import EconomyParameters
from tests.analysis.samples import DEAD, LIVING, SMALL, STAGES, played, write_trial

Data = dict[str, numpy.ndarray]


@pytest.fixture
def ax() -> Axes:
    return new_figure(4, 3).subplots()


@pytest.fixture(scope="module")
def data() -> Data:
    return played(SMALL, 3, numpy.random.default_rng(0))


@pytest.mark.parametrize("field", rollout.PER_FIRM)
def test_a_panel_has_a_line_a_firm_with_its_mean_over_the_economies(field: str, data: Data, ax: Axes) -> None:
    assert rollout.firm_panel(data, ax, field) is ax
    values = numpy.einsum("tecf->tef", data[field]) if field == "outcome/consumption" else data[field]
    assert values.any()
    assert len(ax.get_lines()) == SMALL.num_firms
    for firm, line in enumerate(ax.get_lines()):
        numpy.testing.assert_array_equal(line.get_xdata(), numpy.arange(1, 11))
        mean = [sum(values[quarter, env, firm] for env in range(3)) / 3 for quarter in range(10)]
        numpy.testing.assert_allclose(line.get_ydata(), mean, rtol=1e-5)
    assert ax.get_ylabel()
    assert ax.get_xlabel() == "quarter"


def test_firms_are_told_apart_by_labor_elasticity_and_capital(ax: Axes) -> None:
    params = EconomyParameters(num_consumers=5)
    rollout.firm_panel(played(params, 1, numpy.random.default_rng(0)), ax, "state/prices")
    lines = ax.get_lines()
    looks = [(line.get_color(), line.get_linestyle()) for line in lines]
    assert len(set(looks)) == params.num_firms
    for one, other in zip(range(5), range(5, 10), strict=True):
        assert lines[one].get_color() == lines[other].get_color()
        assert (lines[one].get_linestyle(), lines[other].get_linestyle()) == ("--", "-")


def test_tax_rates(data: Data, ax: Axes) -> None:
    income, corporate = rollout.tax_rates(data, ax).get_lines()
    numpy.testing.assert_allclose(income.get_ydata(), data["state/income_tax_rate"].mean(axis=1))
    numpy.testing.assert_allclose(corporate.get_ydata(), data["state/corporate_tax_rate"].mean(axis=1))
    assert [line.get_label() for line in (income, corporate)] == ["income", "corporate"]
    assert max(corporate.get_ydata()) > 0.5


def test_the_rollout_figure_says_what_it_shows(data: Data) -> None:
    figure = rollout.rollout_figure(data, SMALL)
    assert figure.get_suptitle() == "Roll-out, open economy, mean of 3 economies"
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["Prices", "Wages", "Tax rates", "", "Inventories", "Consumption", "Hours worked", "Exports"]


def test_a_closed_and_trivial_rollout_says_so() -> None:
    params = EconomyParameters(num_consumers=3, num_firms=1, export_market=False, labor_floor=1e6)
    figure = rollout.rollout_figure(played(params, 1, numpy.random.default_rng(0)), params)
    assert figure.get_suptitle() == "Roll-out, closed economy, one economy (1 of 1 trivial)"
    assert "no export market" in figure.axes[-1].texts[0].get_text()


def test_a_saved_rollout_is_a_picture_that_is_wide_enough(tmp_path: Path, data: Data) -> None:
    path = save(rollout.rollout_figure(data, SMALL), tmp_path / "deep" / "rollout.png")
    picture = imread(path)
    assert picture.shape[1] >= 1400
    assert picture.std() > 0.05


def test_training_curves_are_the_progress_and_its_mean(tmp_path: Path, ax: Axes) -> None:
    for seed in (0, 1):
        write_trial(tmp_path, "full", seed, LIVING, iterations=20)
    trials = load_trials(tmp_path)
    assert training_curve(trials, ax, "price") is ax
    *thin, thick = ax.get_lines()
    for trial, line in zip(trials, thin, strict=True):
        numpy.testing.assert_array_equal(line.get_xdata(), trial.progress["env_steps"])
        numpy.testing.assert_array_equal(line.get_ydata(), trial.progress["economy/price"])
        assert line.get_linewidth() < thick.get_linewidth()
    both = numpy.mean([trial.progress["economy/price"] for trial in trials], axis=0)
    numpy.testing.assert_allclose(thick.get_ydata(), both)  # 20 iterations are too few to be smoothed
    assert thick.get_label() == "full"


def test_the_mean_curve_is_smoothed_and_ends_with_the_shortest_finished_trial(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING, iterations=100)
    write_trial(tmp_path, "full", 1, LIVING, iterations=60)
    write_trial(tmp_path, "full", 2, LIVING, iterations=10, evaluated=False)
    trials = load_trials(tmp_path)
    first, second = (trial_curve(trial, "wage").to_numpy() for trial in trials[:2])
    mean = (first[:60] + second) / 2
    curve = interval_curve(trials, "wage")["mean"]
    assert len(curve) == 60
    assert curve.iloc[30] == pytest.approx(mean[29:32].mean())
    assert interval_curve(trials, "no_such_indicator").empty


def test_each_treatment_has_its_colour(tmp_path: Path, ax: Axes) -> None:
    write_trial(tmp_path, "a", 0, LIVING, iterations=5)
    write_trial(tmp_path, "b", 0, DEAD, iterations=5)
    training_curve(load_trials(tmp_path), ax, "hours")
    assert [line.get_color() for line in ax.get_lines()] == [COLORS[0], COLORS[0], COLORS[1], COLORS[1], COLORS[1]]
    (cross,) = [line for line in ax.get_lines() if line.get_marker() == "x"]
    assert cross.get_label() == "_dead"


def test_a_band_is_the_interval_over_seeds(tmp_path: Path, ax: Axes) -> None:
    for seed in range(3):
        write_trial(tmp_path, "a", seed, LIVING, iterations=40)
    trials = load_trials(tmp_path)
    curve = interval_curve(trials, "hours")
    values = numpy.array([trial_curve(trial, "hours") for trial in trials])
    window = max(1, round(0.05 * 40))
    smooth = pandas.DataFrame(values.T).rolling(window, min_periods=1, center=True).mean().to_numpy()
    for place in (0, 17, 39):
        expected = t_interval(smooth[place])
        row = curve.iloc[place]
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((expected.mean, expected.low, expected.high))
    training_curve(trials, ax, "hours")
    assert len(ax.collections) == 1
    assert interval_curve(trials[:1], "hours")["low"].isna().all()
    assert len(set(colors([str(number) for number in range(30)]).values())) == 30


def test_stage_boundaries_are_marked_where_the_stage_changes(tmp_path: Path, ax: Axes) -> None:
    write_trial(tmp_path, "full", 0, LIVING)
    write_trial(tmp_path, "no_curriculum", 0, LIVING, stages=((0.0, "everyone learns"),))
    trials = load_trials(tmp_path)
    expected = [(1_600.0, STAGES[0][1]), (32_000.0, STAGES[1][1]), (64_000.0, STAGES[2][1])]
    assert stage_starts(trials[0]) == expected
    stage_lines(trials, ax, {stage: stage.upper() for _, stage in expected})
    assert [line.get_xdata()[0] for line in ax.get_lines()] == [steps for steps, _ in expected]
    assert [text.get_text().strip() for text in ax.texts] == [stage.upper() for _, stage in expected]


def test_treatments_that_enter_other_stages_at_the_same_time_share_a_line(tmp_path: Path, ax: Axes) -> None:
    write_trial(tmp_path, "full", 0, LIVING)
    others = (*STAGES[:2], (0.4, "firms learn"))
    write_trial(tmp_path, "taxed", 0, LIVING, stages=others)
    stage_lines(load_trials(tmp_path), ax, {stage: stage for _, stage in (*STAGES, *others)})
    assert len(ax.get_lines()) == 3
    assert ax.texts[-1].get_text().strip() == "everyone learns / firms learn"


def test_the_training_figure_has_six_panels_and_one_legend(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING, iterations=30)
    write_trial(tmp_path, "queued", 0, LIVING, iterations=0, evaluated=False)
    figure = training_figure(load_trials(tmp_path))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["Consumer reward", "Firm reward", "Hours", "Price", "Wage", "Tax rates"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["full", "queued"]
    assert "1 prices and wages widen,  2 taxes widen" in legend.get_title().get_text()
