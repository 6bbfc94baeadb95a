"""Quarter by quarter: means over economies, agents and seeds; and money that is neither made nor lost."""

from pathlib import Path

import numpy
import pytest

from analysis.quarters import FLOWS, SERIES, main, money_flows, quarters_figure, quarters_frame, quarters_of
from analysis.results import load_trials
from analysis.rollout import load_rollout
from rbc_rllib.settings import ConfigError
from tests.analysis.samples import DEAD, LIVING, SMALL, played, write_trial


def written(folder: Path) -> Path:
    for name, seeds in (("schedule", (0, 1, 2)), ("discretion", (0,))):
        for seed in seeds:
            write_trial(folder, name, seed, LIVING, iterations=2, rollout=True)
    write_trial(folder, "unfinished", 0, LIVING, iterations=2, evaluated=False)
    return folder


def test_consumers_spend_what_they_earn_get_and_take_from_their_first_budgets(tmp_path: Path) -> None:
    trial = write_trial(tmp_path, "any", 0, LIVING, rollout=True)
    data = load_rollout(trial / "rollout.npz")
    flows = money_flows(data)
    assert flows.keys() == FLOWS.keys()
    first = data["state/consumer_budget"][0].sum(-1).mean()
    last = data["state/consumer_budget"][-1] + SMALL.budget_guard - data["outcome/spending"][-1]
    last = last + data["outcome/wage_income"][-1] - data["outcome/income_tax"][-1]
    last = (last + data["outcome/transfer"][-1][:, None]).sum(-1).mean()
    guard = SMALL.budget_guard * SMALL.num_consumers
    assert flows["savings"] * SMALL.episode_length == pytest.approx(first - last + guard * 10, rel=1e-4)
    # What firms keep, invest and pay in wages and taxes is what they sell at home and abroad.
    taxes = flows["transfers"] - data["outcome/income_tax"].sum(-1).mean()
    sales = flows["exports"] + flows["spending"]
    assert flows["after_tax"] + flows["investment"] + flows["wages"] + taxes == pytest.approx(sales, rel=1e-4)
    # At the mean price their money buys that many units.
    bought = flows["affordable"] * SMALL.num_consumers * data["state/prices"].mean()
    assert bought == pytest.approx(data["state/consumer_budget"].sum(-1).mean(), rel=1e-4)


def test_what_firms_have_built_by_the_end_is_told_in_shares_and_quarters() -> None:
    data = played(SMALL, 3, numpy.random.default_rng(0))
    names = ("outcome/firm_reward", "state/capital", "outcome/output", "state/inventories")
    made = {name: numpy.ones_like(data[name]) for name in names}
    made["outcome/firm_reward"][-1], made["state/capital"][-1], made["state/inventories"][-1] = 11, 1.5, 0.5
    flows = money_flows(data | made)
    assert [flows[name] for name in ("last_quarter", "capital_growth", "stocked")] == pytest.approx([0.55, 0.5, 0.5])


def test_a_series_is_the_mean_of_each_quarter_by_seed(tmp_path: Path) -> None:
    treatments = quarters_of(load_trials(written(tmp_path)))
    assert [each.name for each in treatments] == ["discretion", "schedule"]
    schedule = treatments[1]
    data = load_rollout(tmp_path / "schedule_2" / "rollout.npz")
    for field in SERIES:
        series = schedule.series(field)
        assert series.shape == (3, SMALL.episode_length)
        assert series[2, 4] == pytest.approx(data[field][4].mean(), rel=1e-5)
    frame = quarters_frame(treatments)
    chosen = frame[(frame.treatment == "schedule") & (frame.seed == 2) & (frame.quantity == "output")]
    assert chosen.quarter.tolist() == list(range(1, 11))
    numpy.testing.assert_allclose(chosen.value, schedule.series("outcome/output")[2])


def test_dead_seeds_leave_the_share_of_the_last_quarter_as_it_is(tmp_path: Path) -> None:
    for seed, indicators in ((1, LIVING), (4, DEAD)):
        trial = write_trial(tmp_path, "any", seed, indicators, rollout=True)
        if indicators is DEAD:
            arrays = dict(numpy.load(trial / "rollout.npz"))
            nothing = {name: 0 * arrays[name] for name in ("outcome/firm_reward", "outcome/output")}
            numpy.savez_compressed(trial / "rollout.npz", **arrays | nothing)
    (treatment,) = quarters_of(load_trials(tmp_path))
    flows = treatment.flows()
    assert [len(flows[name]) for name in ("last_quarter", "stocked", "capital_growth")] == [1, 1, 2]
    assert sorted(set(quarters_frame([treatment]).seed)) == [1, 4]


def test_the_figure_has_a_panel_for_each_series_and_a_line_for_each_treatment(tmp_path: Path) -> None:
    treatments = quarters_of(load_trials(written(tmp_path)), ["schedule", "discretion"])
    figure = quarters_figure(treatments)
    assert len(figure.axes) == len(SERIES)
    for ax, field in zip(figure.axes, SERIES, strict=True):
        for line, each in zip(ax.get_lines(), treatments, strict=True):
            assert line.get_label() == each.name
            numpy.testing.assert_allclose(line.get_ydata(), each.series(field).mean(0))


def test_the_command_writes_text_table_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = written(tmp_path / "runs"), tmp_path / "out"
    main([str(folder), "--only", "schedule", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "schedule (3)" in printed
    assert "discretion" not in printed
    assert printed.strip() in (out / "quarters.md").read_text()
    assert {path.name for path in out.iterdir()} == {"quarters.md", "quarters.csv", "quarters.png"}


@pytest.mark.parametrize("only", [["nobody"], ["unfinished"]])
def test_a_treatment_without_a_rollout_is_refused(tmp_path: Path, only: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"treatment = .*take discretion, schedule"):
        quarters_of(load_trials(written(tmp_path)), only)
