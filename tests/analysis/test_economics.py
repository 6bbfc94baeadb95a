"""Macroeconomic words against hand-made roll-outs, and accounts that add up or do not."""

import numpy
import pytest

from analysis.economics import (
    MACRO,
    consumption_equivalent_variation,
    incidence_panel,
    largest_residual,
    lorenz,
    lorenz_panel,
    macro,
)
from analysis.equivalents import consumption_equivalent
from analysis.figures import new_figure
from analysis.page import Table
from analysis.rollout import load_rollout
from analysis.sections.economics import EQUIVALENT, section
from analysis.sections.rollouts import by_firm, firm_names, heat_map, sales_words
from analysis.study import load_study
from rbc_rllib.economy.indicators import gini
from tests.analysis.samples import DEAD, FIXED, LIVING, SMALL, played, write_trial


@pytest.fixture(scope="module")
def data() -> dict[str, numpy.ndarray]:
    return played(SMALL, 3, numpy.random.default_rng(0))


def test_ratios_of_a_roll_out_are_those_of_its_totals(data):
    told = macro(data, SMALL)
    assert {*told} == {quantity.name for quantity in MACRO}
    sales = units = wages = hours = 0.0
    for t in range(10):
        for e in range(3):
            for f in range(SMALL.num_firms):
                sold = data["outcome/exports"][t, e, f] + sum(data["outcome/consumption"][t, e, :, f])
                units += sold
                sales += sold * data["state/prices"][t, e, f]
            wages += sum(data["outcome/wage_income"][t, e])
            hours += sum(data["outcome/hours_worked"][t, e])
    assert told["labor_share"] == pytest.approx(wages / sales, rel=1e-4)
    assert told["real_wage"] == pytest.approx(wages / hours / (sales / units), rel=1e-4)
    longest = SMALL.hours_choices[-1]
    assert told["unemployed"] == pytest.approx(1 - hours / (10 * 3 * SMALL.num_consumers * longest), rel=1e-4)
    first, last = data["state/prices"][0].mean(), data["state/prices"][-1].mean()
    assert told["inflation"] == pytest.approx(last / first - 1)
    wealth = numpy.maximum(data["state/consumer_budget"][-1], 0)
    assert told["gini_wealth"] == pytest.approx(gini(wealth).mean())


def test_a_dead_economy_has_no_ratios(data):
    dead = {name: 0 * values for name, values in data.items()}
    told = macro(dead, SMALL)
    assert (told["output"], told["unemployed"], told["gini_consumption"]) == (0, 1, 0)
    assert all(numpy.isnan(told[name]) for name in ("real_wage", "labor_share", "inflation"))


def test_accounts_of_a_played_economy_add_up_and_a_stolen_good_is_found(data):
    assert largest_residual(data, SMALL) < 1e-5
    stolen = data["state/inventories"].copy()
    stolen[5, 1, 2] += 50
    assert largest_residual(data | {"state/inventories": stolen}, SMALL) > 0.01


def test_a_variation_is_worth_the_difference_of_utilities(data):
    assert consumption_equivalent_variation(data, data, SMALL) == 0
    more = {"outcome/consumption": 3 * data["outcome/consumption"]}
    richer = data | more | {"outcome/consumer_reward": data["outcome/consumer_reward"] + 0.1}
    variation = consumption_equivalent_variation(richer, data, SMALL)
    assert variation > 0
    assert variation == pytest.approx(consumption_equivalent(SMALL, data["outcome/consumption"], 0.1), rel=1e-3)


def test_lorenz_curves_by_hand():
    numpy.testing.assert_allclose(lorenz(numpy.array([[1.0, 1.0, 2.0]])), [0, 0.25, 0.5, 1])
    numpy.testing.assert_allclose(lorenz(numpy.array([[3.0, 0.0], [1.0, 1.0]])), [0, 0.25, 1])
    numpy.testing.assert_allclose(lorenz(numpy.zeros((2, 2))), [0, 0, 0])


def test_panels_show_their_data(data):
    figure = new_figure(9, 3)
    left, middle, right = figure.subplots(1, 3)
    lorenz_panel({"a": [data, data]}, left, "consumption")
    amounts = data["outcome/consumption"].sum((0, 3))
    numpy.testing.assert_allclose(left.lines[-1].get_ydata(), lorenz(amounts))
    incidence_panel({"a": [data]}, middle)
    net = (data["outcome/transfer"][..., None] - data["outcome/income_tax"]).mean((0, 1))
    numpy.testing.assert_allclose(middle.lines[0].get_ydata(), net)
    heat_map(data, right, "outcome/labor", 10.0)
    (image,) = right.images
    numpy.testing.assert_allclose(image.get_array(), data["outcome/labor"].mean(1).T)
    assert image.get_clim() == (0, 10)
    assert [label.get_text() for label in right.get_yticklabels()] == firm_names(data)
    numpy.testing.assert_allclose(
        by_firm(data, "outcome/consumption")[2, 3], data["outcome/consumption"][3, :, :, 2].sum(1).mean()
    )


def test_who_exports_and_who_sells_at_home_is_counted():
    shape = (3, 1, 4)
    exports, bought = numpy.zeros(shape), numpy.zeros((3, 1, 2, 4))
    exports[:, 0, 0], exports[:, 0, 1], exports[:, 0, 2] = 9, 1, 5
    bought[:, 0, :, 0], bought[:, 0, :, 1], bought[:, 0, :, 2] = 0.5, 4.5, 2.5
    data = {"outcome/exports": exports, "outcome/consumption": bought}
    assert sales_words(data) == (
        "firm 0 sells mostly abroad, firm 1 sells mostly at home, firm 2 sells at home and abroad and firm 3 sells"
        " nothing; of all units sold 50% are exported."
    )
    assert sales_words(data | {"outcome/exports": 0 * exports}).startswith("nothing is exported")
    assert sales_words({name: 0 * values for name, values in data.items()}) == "no firm sells anything."


def test_what_taxes_are_worth_is_told_where_somebody_is_untaxed_in_the_same_economy(tmp_path):
    untaxed = {"mode": "fixed", "rates": [[0.0, 0.0]]}
    closed = SMALL.replace(export_market=False)
    for name, planner, economy in (("taxed", FIXED, SMALL), ("closed", FIXED, closed)):
        write_trial(tmp_path, name, 0, LIVING, rollout=True, planner=planner, economy=economy)
    for seed in (0, 1):  # the same as that of the taxes' seed, and another one
        write_trial(tmp_path, "free", seed, LIVING, rollout=True, planner=untaxed)
    table = section(load_study([tmp_path])).parts[0]
    assert isinstance(table, Table)
    assert table.frame.loc["free", EQUIVALENT] == pytest.approx(0, abs=1e-6)
    assert table.frame.loc["taxed", EQUIVALENT] == pytest.approx(0, abs=1e-6)  # the roll-outs are those of the seed
    assert numpy.isnan(table.frame.loc["closed", EQUIVALENT])
    assert table.texts.loc["closed", EQUIVALENT] == "-"


def test_dead_seeds_and_seeds_that_nobody_untaxed_shares_leave_ratios_and_variations_as_they_are(tmp_path):
    for seed, indicators in ((0, LIVING), (1, DEAD), (2, LIVING)):
        trial = write_trial(tmp_path, "taxed", seed, indicators, rollout=True, planner=FIXED)
        if indicators is DEAD:
            arrays = dict(numpy.load(trial / "rollout.npz"))
            sold = {name: 0 * arrays[name] for name in ("outcome/consumption", "outcome/exports")}
            numpy.savez_compressed(trial / "rollout.npz", **arrays | sold)
    for seed, indicators in ((0, LIVING), (2, DEAD)):
        planner = {"mode": "fixed", "rates": [[0.0, 0.0]]}
        write_trial(tmp_path, "free", seed, indicators, rollout=True, planner=planner)
    table = section(load_study([tmp_path])).parts[0]
    assert isinstance(table, Table)
    living = [macro(load_rollout(tmp_path / f"taxed_{seed}" / "rollout.npz"), SMALL)["labor_share"] for seed in (0, 2)]
    (title,) = (quantity.title for quantity in MACRO if quantity.name == "labor_share")
    assert table.frame.loc["taxed", title] == pytest.approx(numpy.mean(living))
    assert table.frame.loc["taxed", EQUIVALENT] == pytest.approx(0, abs=1e-6)  # of seed 0 alone


def test_what_the_evaluation_knows_is_of_all_its_episodes(tmp_path):
    write_trial(tmp_path, "taxed", 0, LIVING | {"inflation": 0.125}, rollout=True, planner=FIXED)
    table = section(load_study([tmp_path])).parts[0]
    assert isinstance(table, Table)
    titles = {quantity.name: quantity.title for quantity in MACRO}
    assert table.frame.loc["taxed", titles["inflation"]] == 0.125
    assert table.frame.loc["taxed", titles["output"]] == LIVING["output"]


def test_accounts_that_are_not_numbers_do_not_add_up(data):
    broken = {name: values.copy() for name, values in data.items()}
    broken["state/consumer_budget"][4] = numpy.nan
    assert numpy.isnan(largest_residual(broken, SMALL))
