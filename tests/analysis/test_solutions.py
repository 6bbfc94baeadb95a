"""Dead and living seeds, and what leaving them gains, by treatment."""

import json
from dataclasses import replace

import numpy as np
import pandas
import pytest

from analysis.intervals import Interval, proportion_interval
from analysis.outcomes import Outcome, Solutions, alive_after, solutions_in, solutions_of
from analysis.results import folder_beside, load_trials
from analysis.solutions import differences_table, gains_table, main, write_solutions
from rbc_rllib.settings import ConfigError
from tests.analysis.samples import DEAD, LIVING, gain, write_answers, write_trial


@pytest.fixture
def study(tmp_path):
    """Two treatments: one of two living seeds, one of a living and a dead one; two trials were asked."""
    folder = tmp_path / "study"
    for name, seed, own in (("plain", 0, LIVING), ("plain", 1, DEAD), ("cooled", 0, LIVING), ("cooled", 1, LIVING)):
        richer = own | {"consumer_reward": own["consumer_reward"] + seed} if own is LIVING else own
        trial = write_trial(folder, name, seed, richer)
        if name == "cooled":
            all_firms = gain("firm", 8.0 + seed, size=200.0, temperature=2.0)
            each_firm = gain("each_firm", 4.0, size=200.0, temperature=1.0, agents={"firm_0": 2.0, "firm_1": 6.0})
            write_answers(trial, [all_firms, each_firm])
    return folder


def test_dead_seeds_are_counted_and_left_out_of_the_rewards_of_the_living(study):
    cooled, plain = solutions_of(load_trials(study))
    assert (plain.name, len(plain.living), plain.dead_share.mean) == ("plain", 1, 0.5)
    assert plain.reward("consumer_reward").mean == 2.5
    assert not plain.reward("consumer_reward").known
    assert cooled.reward("consumer_reward").mean == pytest.approx(3.0)
    assert (cooled.dead_share.mean, cooled.dead_share.low) == (0.0, 0.0)
    assert cooled.dead_share.high > 0.5


def test_gains_are_in_percent_with_the_largest_and_what_of_them_is_temperature(study):
    cooled, plain = solutions_of(load_trials(study))
    assert cooled.gain("firm").mean == pytest.approx(4.25)
    assert cooled.temperature("firm").mean == pytest.approx(1.0)
    assert cooled.largest("each_firm").mean == pytest.approx(3.0)
    assert cooled.gain("consumer") is None
    assert plain.gain("firm") is None


def test_a_seed_that_was_trained_twice_counts_once(study, tmp_path):
    again = write_trial(tmp_path / "again", "cooled", 1, LIVING)
    trials = [*load_trials(study), *load_trials(again.parent)]
    cooled, plain = solutions_of(trials)
    assert ([outcome.seed for outcome in cooled.outcomes], len(plain.outcomes), len(trials)) == ([0, 1], 2, 5)


def test_of_a_seed_in_two_folders_the_one_that_was_asked_counts(tmp_path):
    for folder in ("first", "second"):
        trial = write_trial(tmp_path / folder / "cooled", "cooled", 0, LIVING)
        if folder == "second":
            write_answers(trial, [gain("firm", 3.0)])
    (cooled,) = solutions_in([tmp_path / folder / "cooled" for folder in ("first", "second")])
    assert cooled.gain("firm").mean == 3.0


def test_what_was_asked_of_a_dead_seed_by_an_earlier_version_does_not_keep_a_table_from_being_made(study):
    answers = folder_beside("best_response", study / "plain_1") / "best_response.json"
    answers.parent.mkdir()
    answers.write_text("{}")
    _, plain = solutions_in([study])
    assert [(outcome.dead, outcome.gains, outcome.asked) for outcome in plain.outcomes][1] == (True, {}, None)


def test_the_table_of_gains_says_of_how_many_seeds_each_is(tmp_path):
    for seed in range(3):
        single, together = gain("each_firm", 2.0), gain("firm", 8.0)
        trial = write_trial(tmp_path, "cooled", seed, LIVING)
        write_answers(trial, [single, together] if seed else [single])
    lines = gains_table(solutions_of(load_trials(tmp_path)), "firm").splitlines()
    cells = [cell.strip() for cell in lines[-1].strip("| ").split("|")]
    assert cells == ["cooled", "3", "2.0 [2.0, 2.0]", "-", "-", "8.0 [8.0, 8.0] (2)", "-"]


def test_what_consumers_gain_is_worth_so_much_of_their_consumption(tmp_path):
    for seed, worth in enumerate((1.0, 2.0)):
        together = replace(gain("consumer", 3.0), consumption_equivalent=Interval(worth, worth - 0.5, worth + 0.5, 1))
        write_answers(write_trial(tmp_path, "cooled", seed, LIVING), [gain("each_consumer", 2.0), together])
    lines = gains_table(solutions_of(load_trials(tmp_path)), "consumer").splitlines()
    cells = [cell.strip() for cell in lines[-1].strip("| ").split("|")]
    assert cells == ["cooled", "2", "2.0 [2.0, 2.0]", "-", "-", "-", "3.0 [3.0, 3.0]", "-", "1.5 [-4.9, 7.9]"]


def test_the_command_prints_and_writes_and_says_what_is_missing(study, capsys, tmp_path):
    main([str(study), "--out", str(tmp_path / "out")])
    text = capsys.readouterr().out
    assert "50% [9%, 91%]" in text
    record = json.loads((tmp_path / "out" / "solutions.json").read_text())
    largest = record["cooled"]["largest_percent"]["each_firm"]
    assert (largest["mean"], largest["seeds"]) == (pytest.approx(3.0), 2)
    assert record["cooled"]["asked"] == ["75 iterations, 2 or 8 epochs, 1 seed, 64 held-out episodes"]
    assert (record["plain"]["gains_percent"], record["plain"]["asked"]) == ({}, [])
    assert "all consumers together" not in text
    assert (tmp_path / "out" / "solutions.png").stat().st_size > 10_000
    firms = next(line for line in text.splitlines() if line.startswith("| cooled") and "4.2" in line)
    assert [cell.split()[0] for cell in firms.strip("| ").split("|")] == [
        "cooled",
        "2",
        "2.0",
        "0.5",
        "3.0",
        "4.2",
        "1.0",
    ]
    assert "Deviators had 75 iterations, 2 or 8 epochs, 1 seed, 64 held-out episodes." in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in lines if "dead" in line or "plain" in line}) == 1
    unfinished = tmp_path / "unfinished"
    write_trial(unfinished, "plain", 0, LIVING, evaluated=False)
    with pytest.raises(ConfigError, match="none of the trials there is finished"):
        write_solutions([unfinished], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_table_that_was_written_is_extended_by_more_seeds_when_its_results_are_gone(study, tmp_path):
    first, more = tmp_path / "first", tmp_path / "more"
    write_solutions([study], first)
    before = solutions_in([study])
    assert solutions_in([first / "solutions.json"]) == before
    write_trial(more, "plain", 2, DEAD)
    write_answers(write_trial(more, "plain", 0, LIVING), [gain("firm", 3.0)])
    write_trial(more, "another", 0, LIVING)
    write_trial(more, "cooled", 0, LIVING)  # of which less is known
    write_solutions([first / "solutions.json", more], first)
    another, cooled, plain = solutions_in([first / "solutions.json"])
    assert (another.name, cooled) == ("another", before[0])
    assert [(outcome.seed, outcome.dead) for outcome in plain.outcomes] == [(0, False), (1, True), (2, True)]
    assert plain.gain("firm").mean == pytest.approx(3.0)


def test_what_differs_in_a_setting_is_not_pooled_and_old_tables_are_refused(study, tmp_path):
    write_solutions([study], tmp_path)
    table = tmp_path / "solutions.json"
    write_trial(tmp_path / "other", "plain", 2, LIVING, learning_rate=3e-4)
    with pytest.raises(ConfigError, match=r"learning.learning_rate.consumer = .*such as plain.*a table of each"):
        solutions_in([table, tmp_path / "other"])
    record = json.loads(table.read_text())
    del record["plain"]["outcomes"]
    table.write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"solutions.json.plain = .*has outcomes, which earlier versions.*anew"):
        solutions_in([table])


def test_treatments_are_compared_seed_by_seed(study, capsys, tmp_path):
    write_answers(study / "plain_0", [gain("firm", 1.0, size=200.0, temperature=9.0)])
    write_trial(tmp_path / "more", "plain", 2, LIVING | {"consumer_reward": 5.0})
    write_trial(tmp_path / "more", "cooled", 2, LIVING | {"consumer_reward": 4.5})
    cooled, plain = solutions_in([study, tmp_path / "more"])
    assert [own.number("consumer_reward") for own in cooled.living] == [2.5, 3.5, 4.5]
    difference = cooled.minus(plain, "consumer_reward")
    assert (difference.mean, difference.count) == (pytest.approx(-0.25), 2)  # seed 1 is dead in one of them
    assert cooled.minus(plain, "firm").mean == pytest.approx(3.5)
    main([str(study), str(tmp_path / "more"), "--out", str(tmp_path / "out"), "--against", "plain"])
    row = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| cooled")][-1]
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    assert cells[:3] == ["cooled", "2", "1"]
    assert cells[3].startswith("-0.25 [")
    assert cells[-1] == "+3.5 (1)"
    with pytest.raises(SystemExit, match="2"):
        main([str(study), "--out", str(tmp_path / "out"), "--against", "plainer"])
    assert "--against = 'plainer' is refused" in capsys.readouterr().err


def test_deaths_are_compared_by_fishers_exact_test():
    known = {"consumer_reward": 1.0, "firm_reward": 1.0, "env_steps": 9, "alive_after": 0.0, "gains": {}, "asked": None}
    alive, dead = (
        Solutions(name, {}, tuple(Outcome(seed=seed, dead=name == "dead", **known) for seed in range(6)))
        for name in ("alive", "dead")
    )
    row = differences_table([alive, dead], dead).splitlines()[-1]
    assert [cell.strip() for cell in row.strip("| ").split("|")][:3] == ["alive", "0", "0.0022"]


def test_an_economy_is_alive_from_when_it_is_never_trivial_again(study):
    trial = load_trials(study)[0]
    shares = [1.0, 0.2, 0.9, 0.1, 0.0]
    curve = pandas.DataFrame({"env_steps": 100 * np.arange(1, 6), "economy/trivial_share": shares})
    object.__setattr__(trial, "progress", curve)
    assert alive_after(trial) == 300
    object.__setattr__(trial, "progress", curve.assign(**{"economy/trivial_share": 0.0}))
    assert alive_after(trial) == 0.0


def test_the_interval_of_when_economies_come_alive_keeps_within_training(study):
    trials = [trial for trial in load_trials(study) if trial.config["name"] == "cooled"]
    for trial, shares in zip(trials, ([0.0, 0.0], [1.0, 0.0]), strict=True):
        trial.config["curriculum"]["total_env_steps"] = 100
        curve = pandas.DataFrame({"env_steps": [10, 100], "economy/trivial_share": shares})
        object.__setattr__(trial, "progress", curve)
    (cooled,) = solutions_of(trials)
    after = cooled.alive_after
    assert (after.mean, after.low) == (5.0, 0.0)
    assert 50 < after.high <= 100


@pytest.mark.parametrize(("hits", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634)])
def test_wilson_intervals_of_known_shares(hits, count, low, high):
    interval = proportion_interval(hits, count)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((hits / count, low, high), abs=1e-4)
