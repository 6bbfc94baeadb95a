"""The tax map: who is trained, how cells are played and judged, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.tax_map import MAPPED
from rbc_rllib.economy import Planner
from rbc_rllib.evaluate import evaluate
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.leaving import Deviation
from rbc_rllib.play.held_out import play_held_out
from rbc_rllib.play.modules import untrained_modules
from rbc_rllib.tax_map import DRAWN, judge, main, play_cell, trainings
from rbc_rllib.training.checkpoints import (
    TrainingState,
    describe,
    load_networks,
    newest_checkpoint,
)
from tests.runs.commands import finish, interrupt, joined, start
from tests.runs.trials import trained
from tests.small import SMALL

MENU = (0.0, 0.4, 0.8)
CELLS = [(income, corporate) for income in MENU for corporate in MENU]
EXPERIMENT = SMALL.with_values({"economy.tax_choices": MENU, "curriculum.total_env_steps": 128})
FILES = ("tax_map.json", "tax_map.csv", "tax_map.md", "tax_map.png", "tax_map_laffer.png")
QUARTERS = EXPERIMENT.economy.episode_length


def run_of(experiment: ExperimentConfig, folder: Path) -> Path:
    """A trial's folder: of the run itself a map needs no more than the config."""
    folder.mkdir(parents=True)
    experiment.to_json(folder / "config.json")
    return folder


def finished_trial(experiment: ExperimentConfig, folder: Path, number: int) -> Path:
    """A trial's folder whose networks are far from uniform and no other trial's."""
    checkpoint, modules = run_of(experiment, folder) / "checkpoint_000000", untrained_modules(experiment, seed=number)
    for module in modules.values():
        with torch.no_grad():
            module.policy_head.weight.mul_(200)
    describe(checkpoint, TrainingState(128, 0.0), {policy: module.get_state() for policy, module in modules.items()})
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    return run_of(EXPERIMENT, tmp_path / "runs" / "small")


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> tuple[Path, list[Path]]:
    """The folder of a map with two seeds and one retrained cell, and its trainings."""
    folder = tmp_path_factory.mktemp("tax_map")
    run = run_of(EXPERIMENT, folder / "run")
    experiments = trainings(run, seeds=2, retrained=["0.4/0.8"], episodes=6).experiments
    finished = [finished_trial(each, folder / f"{each.name}_seed{each.seed}", k) for k, each in enumerate(experiments)]
    assert judge(folder, finished[::-1]) in (folder / "tax_map.md").read_text()
    return folder, finished


def given(experiment: ExperimentConfig, rates: tuple[float, float]) -> ExperimentConfig:
    return experiment.replace(planner=Planner(mode="fixed", rates=(rates,)))


# Who is trained


@pytest.mark.parametrize("planner", [Planner(), Planner(mode="schedule"), Planner(mode="fixed", rates=((0.4, 0.0),))])
def test_followers_of_drawn_rates_and_of_each_cell_are_trained_as_the_run_was(planner, tmp_path):
    run = run_of(EXPERIMENT.replace(planner=planner, seed=5, evaluation_episodes=3), tmp_path / "run")
    experiments = trainings(run, 2, ["0/0.8", "0.4/0.4"], 8, {"curriculum.total_env_steps": 640}).experiments
    planners = {
        "drawn": DRAWN,
        **{f"fixed_{i:g}_{c:g}": given(SMALL, (i, c)).planner for i, c in [(0, 0.8), (0.4, 0.4)]},
    }
    expected = [(name, seed, each) for name, each in planners.items() for seed in (0, 1)]
    assert [(each.name, each.seed, each.planner) for each in experiments] == expected
    for each in experiments:
        own = {"name": "small", "seed": 0, "planner": Planner(), "evaluation_episodes": 64}
        assert each.evaluation_episodes == 8
        assert each.replace(**own) == EXPERIMENT.with_values({"curriculum.total_env_steps": 640})


def test_by_default_cells_on_the_menu_are_retrained(tmp_path):
    names = {each.name for each in trainings(run_of(EXPERIMENT, tmp_path / "small")).experiments}
    assert names == {"drawn", "fixed_0_0.8"}
    names = {each.name for each in trainings(run_of(SMALL, tmp_path / "whole")).experiments}
    assert names == {"drawn", "fixed_0_0.8", "fixed_0.2_0.2", "fixed_0_1"}
    none = trainings(tmp_path / "whole", retrained=[]).experiments
    assert {each.name for each in none} == {"drawn"}
    assert [each.seed for each in none] == [0, 1, 2]


# How cells are played and judged


@pytest.mark.parametrize("rates", CELLS)
def test_a_cells_rates_are_in_force_in_all_quarters_after_the_first(rates, judged):
    experiment = ExperimentConfig.from_json(judged[1][0] / "config.json").replace(evaluation_episodes=3)
    followers = load_networks(newest_checkpoint(judged[1][0]), experiment)
    played = play_cell(experiment, followers, rates)
    for tax, rate in zip(("income", "corporate"), rates, strict=True):
        in_force = played.rollout[f"state/{tax}_tax_rate"]
        np.testing.assert_allclose(in_force, np.array([0.0] + [rate] * (QUARTERS - 1))[:, None].repeat(3, 1))


def test_all_cells_have_the_same_random_numbers_and_seeds_others():
    """Networks whose weights are 0 answer all rates in the same way, but for chance."""
    experiment = EXPERIMENT.replace(planner=DRAWN, evaluation_episodes=3)
    followers = untrained_modules(experiment, seed=0)
    with torch.no_grad():
        for parameter in (p for module in followers.values() for p in module.parameters()):
            parameter.zero_()
    first, second = (play_cell(experiment, followers, rates).rollout for rates in (CELLS[0], CELLS[5]))
    other = play_cell(experiment.replace(seed=1), followers, CELLS[0]).rollout
    for name in ("outcome/hours_worked", "state/prices"):
        np.testing.assert_array_equal(first[name], second[name])
        assert not np.array_equal(first[name], other[name])
    assert not np.array_equal(first["outcome/income_tax"], second["outcome/income_tax"])


def test_every_cell_is_what_the_followers_of_each_seed_do_under_that_fixed_plan(judged):
    """By another route: the planner's own reward in economies of either goal."""
    folder, finished = judged
    record = json.loads((folder / "tax_map.json").read_text())
    assert (record["seeds"], record["held_out_episodes"]) == ([0, 1], 6)
    assert [(cell["income_tax_rate"], cell["corporate_tax_rate"]) for cell in record["cells"]] == CELLS
    for seed, path in enumerate(finished[:2]):
        experiment = ExperimentConfig.from_json(path / "config.json")
        followers = load_networks(newest_checkpoint(path), experiment)
        for rates, cell in zip(CELLS, record["cells"], strict=True):
            expected = {}
            for goal in ("consumer", "total"):
                economy = experiment.economy.replace(planner_welfare=goal)
                own = given(experiment.replace(economy=economy), rates)
                played = play_held_out(own, followers, episodes=6, seed=seed).indicators
                expected[f"{goal}_welfare"] = played.pop("social_welfare").mean()
            expected |= {name: values.mean() for name, values in played.items()}
            for quantity in MAPPED:
                assert cell[quantity.name]["by_seed"][seed] == pytest.approx(
                    expected[quantity.name], rel=1e-4, abs=1e-4
                )


def test_retrained_cells_are_judged_as_evaluation_does(judged):
    folder, finished = judged
    checks = {each["quantity"]: each for each in json.loads((folder / "tax_map.json").read_text())["retrained"]}
    assert list(checks) == [quantity.name for quantity in MAPPED]
    both = [evaluate(path) for path in finished[2:]]
    for name in ("firm_reward", "tax_revenue", "hours", "output"):
        assert checks[name]["rates"] == [0.4, 0.8]
        means = [float(each.indicators[name].mean()) for each in both]
        assert checks[name]["retrained"]["mean"] == pytest.approx(np.mean(means), rel=1e-5)
        mapped = json.loads((folder / "tax_map.json").read_text())["cells"][5][name]["by_seed"]
        assert checks[name]["difference"]["mean"] == pytest.approx(np.mean(mapped) - np.mean(means), rel=1e-4, abs=1e-4)


def test_a_map_of_what_is_finished(judged, tmp_path):
    _, finished = judged
    assert "there is no map yet" in judge(tmp_path, finished[2:])
    assert not list(tmp_path.iterdir())
    text = judge(tmp_path, [finished[0], finished[3]])
    assert "No cell was retrained on a seed of the map" in text
    assert json.loads((tmp_path / "tax_map.json").read_text())["seeds"] == [0]


# The command


@pytest.mark.usefixtures("ray_on_this_machine")
@pytest.mark.slow
def test_an_interrupted_command_resumes_to_the_files_of_an_undisturbed_one(run, tmp_path):
    settings = {"curriculum.total_env_steps": 32 * 40, "learning.updates_per_iteration": 1}
    arguments = ["rbc_rllib.tax_map", str(run), "--seeds", "1", "--cells", "--episodes", "4"]
    arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    arguments += ["--results", str(tmp_path / "results")]
    interrupt(*arguments, after="welfare", **joined())
    process = start(*arguments, "--resume", **joined())
    output = finish(process)
    assert process.returncode == 0, output
    folder = tmp_path / "results" / "tax_map-runs-small"
    straight = tmp_path / "straight"
    experiments = trainings(run, 1, [], 4, settings).experiments
    text = judge(straight, [trained(each, straight / each.name) for each in experiments])
    assert text in output
    for name in FILES:
        assert (folder / name).read_bytes() == (straight / name).read_bytes(), name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cells", "0/0.5"], ["--cells = '0/0.5'", "0.5 must be on the menu economy.tax_choices"]),
        (["--cells", "0/0.4", "0/1.5"], ["--cells = '0/1.5'", "1.5 must be on the menu"]),
        (["--cells", "0/nan"], ["--cells = '0/nan'", "must be on the menu"]),
        (["--cells", "0.8"], ["--cells = '0.8'", "INCOME/CORPORATE", "write e.g. 0/0.8"]),
        (["--cells", "0/0.4/0.8"], ["--cells = '0/0.4/0.8'", "INCOME/CORPORATE"]),
        (["--cells", "none/all"], ["--cells = 'none/all'", "INCOME/CORPORATE"]),
        (["--cells", "0/0.4", "0.0/0.40"], ["--cells = '0.0/0.40'", "name it once"]),
        (["--seeds", "0"], ["--seeds = 0", "at least 1"]),
        (["--episodes", "-1"], ["--episodes = -1", "at least 1"]),
        (["--set", "seed=3"], ["seed = 3", "take --seeds"]),
        (["--set", "planner.mode=constant"], ["planner.mode = 'constant'", "a tax map decides that itself"]),
        (["--set", "start=somewhere"], ["start = 'somewhere'", "a tax map decides that itself"]),
        (["--set", "evaluation_episodes=3"], ["evaluation_episodes = 3", "take --episodes"]),
        (["--set", "economy.num_frims=3"], ["economy.num_frims", "num_firms"]),
        (["--set", "seed"], ["--set = 'seed'", "key=value"]),
        (["--set", "economy.episode_length=1"], ["economy.episode_length = 1", "one quarter, which is untaxed"]),
        (["--set", "economy.tax_choices=[0]"], ["economy.tax_choices = (0.0,)", "has one cell"]),
        (["--resume"], ["--resume", "no run to resume"]),
    ],
)
def test_a_map_that_cannot_be_is_refused_in_one_sentence(arguments, words, run, tmp_path, monkeypatch, capsys):
    sentence = refusal([str(run), *arguments], tmp_path, monkeypatch, capsys)
    for word in words:
        assert word in sentence, sentence


def test_a_map_of_no_run_and_of_one_that_went_on_from_another_is_refused(run, tmp_path, monkeypatch, capsys):
    assert "no trial's folder" in refusal(["nowhere"], tmp_path, monkeypatch, capsys)
    assert "name one of the trials in it: small" in refusal([str(run.parent)], tmp_path, monkeypatch, capsys)
    deviation = Deviation(checkpoint="somewhere", deviator="firm")
    for name, values in (("response", {"deviation": deviation}), ("round", {"start": "somewhere"})):
        trial = run_of(EXPERIMENT.replace(**values), tmp_path / name)
        assert "went on from the policies of another run" in refusal([str(trial)], tmp_path, monkeypatch, capsys)


def refusal(arguments, folder, monkeypatch, capsys) -> str:
    """The one sentence that the command says; it leaves with status 2 and writes nothing."""
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (sentence,) = printed.err.strip().splitlines()
    assert "is refused" in sentence
    assert sorted(folder.rglob("*")) == before
    return sentence
