"""What breaking a plan gains: against a hand-made play, hand-computed gains, and with nothing seen of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from rbc_rllib.economy import Actions, Planner, initial_state, step
from rbc_rllib.economy.observations import observe
from rbc_rllib.play.held_out import play_held_out
from rbc_rllib.play.randomness import VALIDATION
from rbc_rllib.play.rollout import play
from rbc_rllib.play.seats import Certain, Seat
from rbc_rllib.policies import Policies, load_policies
from rbc_rllib.temptation import BrokenPlan, main, measure, tempt
from tests.play.networks import build_modules
from tests.runs.trials import untrained
from tests.small import SMALL

PLANNED = SMALL.with_values(
    {
        "planner.mode": "schedule",
        "evaluation_episodes": 12,
        "economy.tax_choices": (0.0, 0.4, 0.8),
        "economy.initial_inventory": 400.0,
        "economy.initial_wage": 11.0,
        "economy.planner_welfare": "total",
    }
)
SHORT_MENU = {"economy.tax_choices": (0.0, 0.8)}
PLAN = ((0.0, 0.8), (0.4, 0.4), (0.4, 0.8))


def policies(experiment) -> Policies:
    encodings = experiment.learning.observation_encodings
    return Policies(experiment, build_modules(experiment.economy, encodings, (128, 128), experiment.planner))


def fixed(plan=PLAN, **values) -> Policies:
    experiment = PLANNED.with_values({"planner.mode": "fixed", "planner.rates": plan, **values})
    return policies(experiment)


class Same:
    """An actor who always does the same, and remembers the shared observations."""

    def __init__(self, *choice: int):
        self.choice, self.seen = choice, []

    def act(self, seen, uniforms):
        self.seen.append(seen.observations["shared"].numpy().copy())
        agents = torch.tensor(self.choice).expand(*uniforms.shape[1:], -1)
        return Certain(agents if len(self.choice) > 1 else agents[..., 0])


@pytest.mark.parametrize("first", [2, 3])
def test_other_rates_are_levied_and_those_announced_are_seen(first):
    """The same actions, quarter by quarter through `step`, with other rates put into the state by hand."""
    params, levied, plan = PLANNED.economy, (0.8, 0.0), (0.0, 0.8)
    choice, firm = (1, 0, 2, 3, 1), 4 * len(params.wage_choices) + 1
    consumers, firms = Same(*choice), Same(firm)
    economy = BrokenPlan(params, 2, planner=Planner(mode="fixed", rates=plan), broken_from=first, levied=levied)
    seats = [Seat("consumer", "consumer", consumers), Seat("firm", "firm", firms)]
    played = play(economy, seats, torch.Generator().manual_seed(0))

    actions = Actions(
        consumption=np.broadcast_to(np.array(params.demand_choices)[[1, 0, 2]], (2, 6, 3)),
        hours_index=np.full((2, 6), 3),
        employer=np.full((2, 6), 1),
        firm=np.full((2, 3), firm),
        planner=np.zeros(2, int),
    )
    tax_plan = np.array([[(0.0, 0.0), plan, plan, plan]] * 2, params.dtype)
    state = initial_state(params, 2, tax_plan=tax_plan)
    for quarter in range(params.episode_length):
        for actor in (consumers, firms):
            np.testing.assert_array_equal(actor.seen[quarter], observe(params, state)["shared"])
        announced = (0.0, 0.0) if quarter == 0 else plan
        assert [float(state.income_tax_rate[0]), float(state.corporate_tax_rate[0])] == pytest.approx(announced)
        broken = quarter + 1 >= first
        rates = [np.full(2, rate, params.dtype) for rate in (levied if broken else announced)]
        state, outcome = step(params, replace(state, income_tax_rate=rates[0], corporate_tax_rate=rates[1]), actions)
        for name in ("consumer_reward", "firm_reward", "income_tax", "corporate_tax", "transfer"):
            np.testing.assert_array_equal(getattr(played.outcomes[quarter], name), getattr(outcome, name), name)
        if quarter:
            assert outcome.income_tax.any() == broken


@pytest.mark.parametrize("quarter", [2, 3, 4])
def test_levying_what_was_announced_changes_nothing(quarter):
    told = fixed((0.4, 0.8))
    announced = play_held_out(told.experiment, told.networks, 8, told.experiment.seed)
    same, other = (tempt(told, quarter, rates, 8) for rates in ((0.4, 0.8), (0.0, 0.0)))
    for name, values in announced.indicators.items():
        np.testing.assert_array_equal(same.indicators[name], values, name)
    assert not np.array_equal(other.indicators["firm_reward"], announced.indicators["firm_reward"])


def test_in_the_last_quarter_the_best_break_and_its_gain_are_known():
    """Nobody acts after it: what is not taxed away is the firms', at their weight in welfare."""
    told = fixed()
    params = told.experiment.economy
    profits = []

    class Watched(BrokenPlan):
        def step(self, actions):
            outcome = super().step(actions)
            if self.done:
                profits.append(np.maximum(outcome.profit, 0).sum(1))
            return outcome

    def watched(*arguments, **settings):
        return Watched(*arguments, broken_from=9, levied=(0.0, 0.0), **settings)

    announced = play_held_out(told.experiment, told.networks, 12, told.experiment.seed, economy_class=watched)
    kept = params.firm_welfare_weight * 0.8 * profits[0] / params.episode_length
    assert kept.mean() > 0
    gain = tempt(told, 4, (0.4, 0.0), 12).welfare - announced.welfare
    np.testing.assert_allclose(gain, kept, rtol=1e-3, atol=1e-4)


def test_the_best_break_is_chosen_on_validation_episodes(tmp_path):
    run = untrained(PLANNED.with_values({"planner.mode": "fixed", "planner.rates": PLAN}), tmp_path / "fixed")
    told = load_policies(run)
    found = measure(run, told, 12)
    assert [each.quarter for each in found.temptations] == [2, 3, 4]
    last = found.temptations[-1]
    assert last.levied[1] == 0.0
    assert not last.kept
    announced = play_held_out(told.experiment, told.networks, 12, told.experiment.seed)
    gain = tempt(told, 4, last.levied, 12).welfare - announced.welfare
    assert last.gain.mean == pytest.approx(gain.mean())
    before = play_held_out(told.experiment, told.networks, 12, told.experiment.seed, VALIDATION)
    on_validation = tempt(told, 4, last.levied, 12, VALIDATION).welfare.mean() - before.welfare.mean()
    assert last.validation_gain == pytest.approx(on_validation)
    assert last.validation_gain != pytest.approx(last.gain.mean)
    assert found.announced.mean == pytest.approx(float(announced.indicators["social_welfare"].mean()))
    assert found.percent(last).mean == pytest.approx(100 * gain.mean() / abs(found.announced.mean))


def test_consumers_gain_nothing_by_the_last_quarters_taxes(tmp_path):
    consumer = PLANNED.with_values({"economy.planner_welfare": "consumer"} | SHORT_MENU)
    run = untrained(consumer, tmp_path / "run")
    (*_, last) = measure(run, load_policies(run), 6).temptations
    assert last.kept
    assert (last.gain.mean, last.gain.low, last.gain.high) == (0, 0, 0)


# The command


def test_the_command_prints_and_writes_the_same_again(tmp_path, capsys):
    run = untrained(PLANNED.with_values(SHORT_MENU), tmp_path / "taxes" / "schedule_seed0")
    main([str(run), "--episodes", "6"])
    printed, folder = capsys.readouterr().out, run / "temptation-episodes6"
    assert {path.name for path in folder.iterdir()} == {"temptation.json", "temptation.png"}
    assert not (run / "temptation.json").exists()
    record = json.loads((folder / "temptation.json").read_text())
    assert record["run"] == "taxes/schedule_seed0"
    assert [each["quarter"] for each in record["temptations"]] == [2, 3, 4]
    assert str(tmp_path) not in (folder / "temptation.json").read_text()
    assert "Breaking the plan of taxes/schedule_seed0" in printed
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    main([str(run), "--episodes", "6"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_dead_economy_is_called_trivial(tmp_path):
    run = untrained(PLANNED.with_values({"economy.labor_floor": 1e6} | SHORT_MENU), tmp_path / "dead")
    assert "does not make it credible" in measure(run, load_policies(run), 2).words()


@pytest.mark.parametrize(
    ("values", "arguments", "words"),
    [
        ({"planner.mode": "discretion"}, [], ["announces no plan of its own", "planner.mode=constant"]),
        ({"planner.mode": "fixed", "planner.rates": "drawn"}, [], ["announces no plan of its own"]),
        ({"economy.episode_length": 1}, [], ["one quarter, which is untaxed"]),
        ({}, ["--episodes", "0"], ["--episodes = 0", "at least 1"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path, capsys, values, arguments, words):
    run = untrained(PLANNED.with_values(values), tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ending:
        main([str(run), *arguments])
    assert ending.value.code == 2
    printed = capsys.readouterr()
    (sentence,) = printed.err.strip().splitlines()
    assert printed.out == ""
    for word in words:
        assert word in sentence, sentence
    assert sorted(tmp_path.rglob("*")) == before
