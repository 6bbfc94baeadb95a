"""Bad input gets one sentence and exit status 2 from every command, which starts and writes nothing."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

from rbc_rllib.evaluate import evaluate_trial
from rbc_rllib.training.checkpoints import STATE_FILE
from tests.runs.trials import untrained
from tests.small import SMALL

FIXED_TAXES = {"planner.mode": "fixed", "planner.rates": (0.0, 0.4)}


@pytest.fixture
def refusal(capsys, monkeypatch, tmp_path):
    """What a command says to arguments that it refuses."""

    def of(command: str, arguments: list[str]) -> str:
        place = tmp_path / "here"
        place.mkdir(exist_ok=True)
        monkeypatch.chdir(place)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as ending:
            importlib.import_module(command).main(arguments)
        assert ending.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (sentence,) = printed.err.strip().splitlines()
        assert sentence.endswith(".")
        assert sorted(tmp_path.rglob("*")) == before
        return sentence

    return of


@pytest.fixture
def run(tmp_path) -> Path:
    """A trial's folder that nothing is wrong with."""
    return untrained(SMALL, tmp_path / "runs" / "small")


@pytest.fixture
def run_with_a_plan(tmp_path) -> Path:
    """The same, evaluated, with a plan that was announced."""
    trial = untrained(
        SMALL.with_values({"planner.mode": "schedule", "evaluation_episodes": 4}), tmp_path / "runs" / "plan"
    )
    evaluate_trial(trial)
    return trial


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("rbc_rllib.sweep", ["nonsense"], ["config = 'nonsense'", "quickstart"]),
        ("rbc_rllib.sweep", ["smoke", "--set", "economy.num_frims=3"], ["economy.num_frims", "3", "num_firms"]),
        ("rbc_rllib.sweep", ["smoke", "--set", "learning.clip_param=-1"], ["learning.clip_param", "-1", "greater"]),
        ("rbc_rllib.sweep", ["smoke", "--set", "planner.mode=fixed"], ["planner.rates", "need", "[0, 0.8]"]),
        ("rbc_rllib.train", ["--set", "planner.mode=plan"], ["planner.mode", "plan", "'schedule' or 'fixed'"]),
        (
            "rbc_rllib.train",
            ["--set", "planner.mode=fixed", "--set", "planner.rates=[0, 0.5]"],
            ["planner.rates", "0.5 must be on the menu economy.tax_choices"],
        ),
        ("rbc_rllib.sweep", ["closed_economy", "--set", "seed=3"], ["experiments", "own name and seed"]),
        ("rbc_rllib.sweep", ["tax_baselines", "--only", "none"], ["--only = 'none'", "no such", "fixed_0_80"]),
        ("rbc_rllib.sweep", ["smoke", "--resume"], ["--resume", "no run to resume"]),
        ("rbc_rllib.sweep", ["smoke", "--results", ""], ["--results = ''", "must name a folder", "leave it out"]),
        (
            "rbc_rllib.sweep",
            ["smoke", "--set", "curriculum.cooled_entropy_coeff.firm.x=1"],
            ["is a value and holds no keys", "write curriculum.cooled_entropy_coeff.firm=... instead"],
        ),
        ("rbc_rllib.sweep", ["smoke", "--at-once", "0"], ["--at-once = 0", "1 or more", "leave it out"]),
        ("rbc_rllib.train", ["--config", "nonsense"], ["config = 'nonsense'", "quickstart"]),
        ("rbc_rllib.train", ["--config", "smoke", "--set", "seed"], ["seed", "key=value"]),
        ("rbc_rllib.train", ["--config", "smoke", "--set", "name=a b"], ["name", "a b"]),
        ("rbc_rllib.train", ["--config", "smoke", "--resume"], ["--resume", "no run to resume"]),
        ("rbc_rllib.evaluate", ["nowhere"], ["nowhere", "no trial"]),
        ("rbc_rllib.best_response", ["nowhere"], ["nowhere", "no trial's folder"]),
        ("rbc_rllib.psro", ["nowhere", "--rounds", "0"], ["--rounds", "at least 1"]),
        ("analysis.report", ["nowhere"], ["nowhere", "no trial"]),
        ("analysis.welfare", ["nowhere"], ["nowhere", "no trial"]),
        ("benchmarks.throughput", ["--economies", "0"], ["learning.economies_per_update = 0", "greater than 0"]),
        ("benchmarks.throughput", ["--economies", "3"], ["learning.economies_per_update = 3", "multiple"]),
        ("benchmarks.throughput", ["--repeats", "0"], ["--repeats = 0", "at least 1"]),
        ("benchmarks.scaling", ["--repeats", "0"], ["--repeats = 0", "at least 1"]),
        ("benchmarks.launches", ["--economies", "-2"], ["learning.economies_per_update = -2", "greater than 0"]),
    ],
)
def test_one_sentence_names_what_is_wrong(refusal, command, arguments, words):
    sentence = refusal(command, arguments)
    assert "is refused" in sentence
    for word in words:
        assert word in sentence, sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--groups", "bakers"], ["--groups = 'bakers'", "take consumer, firm, planner"]),
        (["--individual", "firm_3"], ["firm_3", "no such group or agent", "firm_2"]),
        (["--individual", "planner_0"], ["planner_0", "no such group or agent"]),
        (["--individual", "firm"], ["--individual = 'firm'", "write e.g. firm_3"]),
        (["--individual", "each_firm"], ["--individual = 'each_firm'", "it must be one consumer or firm"]),
        (["--results", ""], ["--results = ''", "must name a folder"]),
        (["--individual", "firm_0+firm_1"], ["--individual = 'firm_0+firm_1'", "take --together"]),
        (["--together", "firm_0", "planner"], ["firm_0+planner", "no such group or agent"]),
        (["--together", "firm_0", "firm_0"], ["firm_0+firm_0", "different ones"]),
        (["--together", "firm_0"], ["--together = 'firm_0'", "name two or more"]),
        (["--starts", "scratch", "scratch"], ["--starts = 'scratch'", "name it once"]),
        (["--starts", "cold"], ["--starts = 'cold'", "frozen, scratch or the folder of another run"]),
        (["--set", "economy.crra=0.2"], ["economy.crra = 0.2", "set how it learns"]),
        (["--checkpoint", "checkpoint_000009"], ["--checkpoint = 'checkpoint_000009'", "take checkpoint_000000"]),
        (["--seeds", "0"], ["--seeds = 0", "at least 1"]),
        (["--iterations", "0"], ["--iterations = 0", "at least 1"]),
        (["--episodes", "-1"], ["--episodes = -1", "at least 1"]),
        (["--resume"], ["--resume", "no run to resume"]),
    ],
)
def test_best_responses_that_cannot_be_are_refused(refusal, run, arguments, words):
    sentence = refusal("rbc_rllib.best_response", [str(run), *arguments])
    for word in words:
        assert word in sentence, sentence


def test_a_planner_with_fixed_taxes_does_not_deviate(refusal, tmp_path):
    fixed = untrained(SMALL.with_values(FIXED_TAXES), tmp_path / "runs" / "fixed")
    sentence = refusal("rbc_rllib.best_response", [str(fixed), "--groups", "planner"])
    assert "deviation.deviator = 'planner'" in sentence
    assert "fixed tax rates" in sentence


READERS = ["rbc_rllib.evaluate", "rbc_rllib.best_response"]


@pytest.mark.parametrize("command", READERS)
def test_a_folder_without_checkpoints_is_refused(refusal, run, command):
    shutil.rmtree(run / "checkpoint_000000")
    assert "it holds no checkpoint; train it first" in refusal(command, [str(run)])


@pytest.mark.parametrize("command", READERS)
def test_a_checkpoint_that_was_cut_off_is_none(refusal, run, command):
    (run / "checkpoint_000000" / STATE_FILE).unlink()
    assert "it holds no checkpoint; train it first" in refusal(command, [str(run)])


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("text", ["not JSON", "[]", "{}"])
def test_a_checkpoint_whose_description_is_spoiled_is_refused(refusal, run, command, text):
    (run / "checkpoint_000000" / STATE_FILE).write_text(text)
    assert "checkpoint.json cannot be read" in refusal(command, [str(run)])


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"economy.num_firms": 2}, ["consumer network", "another economy", "2 firms"]),
        ({"learning.hidden_sizes": (64, 32)}, ["consumer network", "other layers", "layers of (64, 32)"]),
    ],
)
def test_a_checkpoint_of_another_experiment_is_refused(refusal, run, command, values, words):
    SMALL.with_values(values).to_json(run / "config.json")
    sentence = refusal(command, [str(run)])
    for word in [*words, "checkpoint_000000", "take a checkpoint that this very trial has written"]:
        assert word in sentence, sentence


@pytest.mark.parametrize("command", [*READERS, "analysis.report", "analysis.welfare"])
def test_a_config_that_was_cut_off_is_refused(refusal, run, command):
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text[: len(text) // 2])
    sentence = refusal(command, [str(run)])
    assert "config.json" in sentence
    assert "complete JSON" in sentence


@pytest.mark.parametrize("command", [*READERS, "analysis.report", "analysis.welfare"])
@pytest.mark.parametrize(("content", "words"), [(b"\xff\xfe", "complete JSON"), (b"[1, 2]", "a JSON object")])
def test_a_config_that_is_none_is_refused(refusal, run, command, content, words):
    (run / "config.json").write_bytes(content)
    sentence = refusal(command, [str(run)])
    assert "config.json" in sentence
    assert words in sentence


@pytest.mark.parametrize("command", READERS)
def test_a_config_of_another_version_is_named(refusal, run, command):
    saved = json.loads((run / "config.json").read_text())
    saved["curriculum"]["fixed_income_tax_rate"] = 0.2
    (run / "config.json").write_text(json.dumps(saved))
    sentence = refusal(command, [str(run)])
    assert f"{run / 'config.json'} has it" in sentence
    assert "curriculum.fixed_income_tax_rate = 0.2" in sentence


def test_a_folder_that_holds_nothing_is_not_left_out_of_a_report(refusal, run):
    for folders in ([run, run.parent / "misspelt"], [run.parent / "misspelt", run]):
        sentence = refusal("analysis.report", [*map(str, folders)])
        assert f"{run.parent / 'misspelt'} = None is refused: it holds no trial" in sentence


@pytest.mark.parametrize(("command", "option"), [("analysis.report", "--out"), ("rbc_rllib.plan_search", "--results")])
def test_a_file_in_place_of_a_folder_is_refused(refusal, run_with_a_plan, command, option):
    file = run_with_a_plan.parent / "file"
    file.write_text("")
    assert "file" in refusal(command, [str(run_with_a_plan), option, str(file)])
    assert file.read_text() == ""


@pytest.mark.parametrize("command", ["rbc_rllib.evaluate", "analysis.report", "analysis.welfare"])
def test_a_folder_of_experiments_is_told_from_one_of_trials(refusal, run, command):
    assert "name one of the experiments in it: runs" in refusal(command, [str(run.parent.parent)])


def test_a_folder_of_trials_is_told_from_a_trial(refusal, run):
    assert "name one of the trials in it: small" in refusal("rbc_rllib.best_response", [str(run.parent)])


def test_a_comparison_of_taxes_needs_learned_and_fixed_ones(refusal, run):
    assert "finished treatments" in refusal("analysis.welfare", [str(run)])
