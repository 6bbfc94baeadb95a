"""Rounds against best responses: what they bring down in a game that is solved exactly, and the command."""

import importlib
import shutil
from pathlib import Path

import pytest

from rbc_rllib.best_response import find_checkpoints
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.psro import next_policies, pool_of, responses_to
from rbc_rllib.training.checkpoints import load_networks, newest_checkpoint
from rbc_rllib.training.deviations import final_game
from tests.exact import exact_values
from tests.runs.commands import finish, joined, rows, start
from tests.runs.test_best_response import TINY
from tests.runs.trials import trained, untrained
from tests.small import SMALL


@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_round_brings_exact_gains_down(tmp_path):
    game = TINY.with_values({"learning.updates_per_iteration": 5, "curriculum.total_env_steps": 960})

    def gains(trial):
        networks = load_networks(newest_checkpoint(trial), game)
        values = {who: exact_values(game, networks, who) for who in ("consumer", "firm")}
        return {who: best - value for who, (value, best) in values.items()}

    run = trained(game, tmp_path / "run")
    before = gains(run)
    asked = responses_to(run, game, ["consumer", "firm"], iterations=4, episodes=8).experiments
    pool = pool_of([trained(experiment, tmp_path / experiment.name) for experiment in asked])
    after = gains(trained(next_policies(run, run, pool, iterations=8, share=0.5), tmp_path / "policies"))
    assert all(0 <= after[who] < 0.5 * before[who] for who in before), (before, after)


def test_policies_go_on_in_the_game_in_which_training_ended(small_run, tmp_path):
    (checkpoint,) = find_checkpoints(small_run)
    original = ExperimentConfig.of_trial(small_run)
    (asked,) = responses_to(small_run, original, ["each_firm"], iterations=2, episodes=8).experiments
    pool = [{"checkpoint": "somewhere", "deviator": "each_firm"}]
    going_on = next_policies(small_run, small_run, pool, iterations=3, share=0.5)
    assert going_on.start == str(checkpoint)
    assert [member.deviator for member in going_on.refinement.pool] == ["each_firm"]
    assert going_on.economy == asked.economy
    assert going_on.learning == asked.learning.replace(num_epochs=original.learning.num_epochs)
    assert going_on.num_iterations == 3
    first, last = going_on.curriculum.at(0), original.curriculum.final()
    assert first.entropy_coeff == going_on.curriculum.final().entropy_coeff == last.entropy_coeff
    assert first.trainable_groups == last.trainable_groups
    # What refines policies late in the run does so in all of a round.
    trembling = {"pool": [{"deviator": "each_consumer"}], "pool_from": 0.5, "pool_share": 0.5}
    late = {"refinement": {"own_advantages_from": 0.6, "batch_growth": 4, **trembling}}
    refined = untrained(original.with_values(late), tmp_path / "refined")
    refinement = next_policies(refined, refined, pool, iterations=3).refinement
    assert refinement.own_advantages(0.0)
    assert refinement.batches(0.0) == 4
    assert [member.deviator for member in refinement.pool] == ["each_consumer", "each_firm"]
    assert (refinement.pool_from, refinement.pool_share) == (0.0, 0.5)
    assert not going_on.refinement.own_advantages(1.0)
    # Whoever leaves these policies meets them alone.
    again = final_game(going_on, checkpoint)
    assert again.refinement.pool == ()
    assert again.start is None
    # And whoever learns in a later round does so as fast as in the first.
    later = untrained(going_on, tmp_path / "later")
    (asked_later,) = responses_to(later, original, ["each_firm"], iterations=2, episodes=8).experiments
    assert asked_later.learning == asked.learning


def test_rounds_go_on_from_the_newest_policies_and_the_pool_grows(tmp_path, monkeypatch):
    command, asked = importlib.import_module("rbc_rllib.psro"), []

    def trained(sweep, folder, *_):
        asked.append((folder.name, sweep.experiments))
        return [untrained(each, folder / each.name) for each in sweep.experiments]

    monkeypatch.setattr(command, "trained", trained)
    monkeypatch.setattr(command, "rounds_table", lambda answers: "table")
    run = untrained(SMALL, tmp_path / "runs" / "run")
    command.main([str(run), "--rounds", "2", "--iterations", "1", "--deviators", "each_firm", "firm"])
    policies = [own[0] for name, own in asked if name.endswith("policies")]
    assert [Path(each.start).parents[1].name for each in policies] == ["runs", "round_1-policies"]
    pools = [[Path(member.checkpoint).parents[1].name for member in each.refinement.pool] for each in policies]
    first, second = ["round_0-responses"] * 2, ["round_1-responses"] * 2
    assert pools == [first, first + second]
    left = [{Path(each.deviation.checkpoint).parents[1].name for each in own} for name, own in asked[::2]]
    assert left == [{"runs"}, {"round_1-policies"}, {"round_2-policies"}]


@pytest.mark.slow
def test_the_command_ends_with_a_table_of_gains_also_where_it_was_ended_between(ray_on_this_machine, tmp_path):
    run = untrained(SMALL, tmp_path / "runs" / "run")
    arguments = ["rbc_rllib.psro", str(run), "--rounds", "1", "--iterations", "2", "--deviators", "each_firm"]
    arguments += ["--episodes", "8", "--results", str(tmp_path)]
    process = start(*arguments, **joined())
    output = finish(process, seconds=400)
    assert process.returncode == 0, output
    folder = tmp_path / "psro-runs-run"
    table = (folder / "psro.md").read_text()
    assert table in output
    head, _, mean, largest = table.splitlines()
    assert "round 0" in head
    assert "round 1" in head
    assert mean.startswith("| each_firm ")
    assert largest.startswith("| each_firm: the largest ")
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "round_0-responses",
        "round_1-policies",
        "round_1-responses",
    }
    (policies,) = (folder / "round_1-policies").glob("small_*")
    (member,) = ExperimentConfig.of_trial(policies).refinement.pool
    assert member.checkpoint.startswith(str(folder / "round_0-responses"))
    (first,) = (folder / "round_0-responses").glob("each_firm*")
    (last,) = (folder / "round_1-responses").glob("each_firm*")
    assert Path(ExperimentConfig.of_trial(last).deviation.checkpoint).parent == policies
    assert [row["training_iteration"] for row in rows(first)] == ["1", "2"]

    shutil.rmtree(folder / "round_1-responses")
    (folder / "psro.md").unlink()
    before = {path: path.read_bytes() for path in folder.rglob("progress.csv")}
    process = start(*arguments, "--resume", **joined())
    output = finish(process, seconds=400)
    assert process.returncode == 0, output
    assert len(before) == 2
    assert {path: path.read_bytes() for path in before} == before
    assert (folder / "psro.md").read_text() == table
