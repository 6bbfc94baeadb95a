"""Coalitions, of firms or of consumers and firms: against exact solutions of small games, and who learns and acts."""

import numpy as np
import pytest
import torch

from rbc_rllib.best_response import best_responses, find_checkpoints
from rbc_rllib.training.deviations import TEMPERATURES, Asked, FrozenGame
from tests.runs.answers import answer_of
from tests.runs.test_best_response import GAMES
from tests.small import SMALL

MIXED = "consumer_1+firm_0+firm_2"
COALITIONS = {"firm_0+firm_1": GAMES["firm_1"], "consumer_0+firm_1": GAMES["firm_1"]}


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.parametrize("deviator", COALITIONS)
def test_a_coalition_finds_what_it_can_gain_together(deviator, tmp_path):
    answer = answer_of(deviator, COALITIONS[deviator], tmp_path, episodes=1024)
    gain, (reward, reached, best) = answer.gain, answer.exact(deviator)
    assert best > reward
    assert reached - reward >= 0.95 * (best - reward)
    assert gain["gain"]["low"] <= 1.05 * (reached - reward)
    assert gain["gain"]["high"] >= 0.95 * (reached - reward)
    assert gain["unit"] == ("utility" if "consumer" in deviator else "money")
    assert (gain["consumption_equivalent"], gain["alone"]) == (None, None)


def test_gains_of_consumers_with_firms_are_in_units_of_total_welfare(small_run):
    (checkpoint,) = find_checkpoints(small_run)
    (experiment,) = best_responses(small_run, [MIXED], [checkpoint], 1, 1, episodes=8).experiments
    asked = Asked(FrozenGame.of(checkpoint, experiment, seed=0), experiment)
    held_out = asked.frozen.held_out.rewards
    worth = SMALL.economy.firm_welfare_weight
    own = np.stack([held_out["consumer"][:, 1], *(worth * held_out["firm"][:, k] for k in (0, 2))], 1)
    np.testing.assert_allclose(asked.rewards(held_out), own, rtol=1e-6)
    sizes = [np.abs(held_out["consumer"]).mean(), *2 * [worth * np.abs(held_out["firm"]).mean()]]
    assert asked.size == pytest.approx(np.mean(sizes), rel=1e-6)
    for temperature, response in zip(TEMPERATURES, asked.cooled(), strict=True):
        for group in ("consumer", "firm"):
            weight = asked.frozen.networks[group].policy_head.weight
            torch.testing.assert_close(response.networks[f"deviator_{group}"].policy_head.weight, weight / temperature)
