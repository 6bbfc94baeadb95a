"""Which trials are drawn together."""

from analysis.facets import MOST, facets
from analysis.report import write_report
from analysis.results import by_treatment, load_trials
from analysis.sections.spectrum import SHAPES, looks
from tests.analysis.samples import FIXED, LIVING, write_trial


def experiment(folder, fixed: int, learned: int):
    """A folder with two seeds of each treatment; letters come in the order of numbers."""
    for number in range(fixed):
        for seed in range(2):
            write_trial(folder, f"fixed_{number:03d}", seed, LIVING, iterations=2, planner=FIXED, rollout=seed == 0)
    for number in range(learned):
        for seed in range(2):
            write_trial(folder, f"learned_{number:03d}", seed, LIVING, iterations=2)
    return folder


def test_few_treatments_are_drawn_together_wherever_they_lie(tmp_path):
    folders = [experiment(tmp_path / "a", 3, 1), experiment(tmp_path / "b", 2, 1)]
    trials = [trial for folder in folders for trial in load_trials(folder)]
    (one,) = facets("training", trials)
    assert (one.file, one.where, list(one.trials)) == ("training", "", trials)


def test_many_are_divided_by_experiment_and_learned_ones_come_first(tmp_path):
    folders = [experiment(tmp_path / "b", 0, 2), experiment(tmp_path / "a", 8, 2)]
    trials = [trial for folder in folders for trial in load_trials(folder)]
    figures = facets("training", trials)
    assert [(each.file, each.where) for each in figures] == [
        ("training_0", ", b"),
        ("training_1", ", a, 1 of 2"),
        ("training_2", ", a, 2 of 2"),
    ]
    names = [list(by_treatment(each.trials)) for each in figures]
    assert names[0] == ["learned_000", "learned_001"]
    assert names[1] == [*(f"fixed_{number:03d}" for number in range(MOST - 2)), "learned_000", "learned_001"]
    assert names[2] == ["fixed_005", "fixed_006", "fixed_007"]
    assert sorted(t.path for each in figures for t in each.trials) == sorted(trial.path for trial in trials)


def test_a_search_is_drawn_as_a_whole(tmp_path):
    trials = load_trials(experiment(tmp_path / "search", 0, 3 * MOST + 1))
    assert [len(facet.trials) for facet in facets("training", trials)] == [len(trials)]


def test_the_points_of_up_to_21_treatments_look_different():
    for number in (1, MOST, len(SHAPES) * MOST, len(SHAPES) * MOST + 1, 100):
        each = looks([str(name) for name in range(number)])
        assert len({(look["color"], look["marker"]) for look in each.values()}) == len(each) == number


def test_a_report_draws_a_figure_for_each_and_takes_away_those_of_an_earlier_one(tmp_path):
    folder, out = experiment(tmp_path / "many", MOST, 1), tmp_path / "out"
    write_report(folder, out)
    figures = {path.name for path in (out / "report").glob("training*.png")}
    assert figures == {"training_0.png", "training_1.png"}
    page = (out / "report.html").read_text()
    assert page.count("<figcaption>Training of 14 trials, many, 1 of 2: ") == 1
    assert page.count("<figcaption>Tax rates and what") == 1  # seven treatments have roll-outs
    (out / "report" / "mine.txt").touch()
    write_report(experiment(tmp_path / "few", 1, 1), out)
    left = {path.name for path in (out / "report").iterdir()}
    assert {name for name in left if name.startswith("training")} == {"training.png", "training.pdf"}
    assert "mine.txt" in left
