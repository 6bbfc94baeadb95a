"""Plans compared: their neighbours, paired differences, records that can be read again, and honest words."""

import json
from dataclasses import replace
from itertools import product

import pytest
from scipy import stats

from analysis.figures import save
from analysis.intervals import Interval, t_interval
from analysis.plans import (
    Judged,
    Neighbour,
    PlanSearch,
    Retrained,
    neighbours,
    on_menu,
    paired,
    search_figure,
    search_table,
    search_words,
)
from analysis.temptation import Credibility, Temptation, temptation_figure
from analysis.writing import plan_words
from rbc_rllib.files import write_json
from rbc_rllib.settings import ConfigError

MENU = (0.0, 0.2, 0.7)
LEARNED = ((0.0, 0.7), (0.2, 0.0))


def interval(mean: float, half: float = 0.1) -> Interval:
    return Interval(mean, mean - half, mean + half, 16)


def search(beside: float = -0.5, found: float = -0.3, trivial: float = 0.0, **changes) -> PlanSearch:
    """A learned plan of welfare 10, with two plans that were found and two neighbours."""
    plans = {"learned": LEARNED, "found_1": ((0.2, 0.7), (0.2, 0.2)), "found_2": ((0.0, 0.0),) * 2}
    judged = [
        Judged(name, plan, interval(10 + difference), interval(difference), trivial)
        for (name, plan), difference in zip(plans.items(), (0.0, found, found - 1), strict=True)
    ]
    near = [Neighbour(plan, interval(beside - k)) for k, plan in enumerate(neighbours(LEARNED, MENU)[:2])]
    settings = {"checkpoint": "checkpoint_000003", "trials": 40, "episodes": 16, "keep": 2}
    whole = PlanSearch("taxes/schedule_seed0", settings, 3, 37, False, 4, tuple(near), tuple(judged))
    return replace(whole, **changes)


def retrained(*welfare: dict[int, float]) -> dict[str, Retrained]:
    return {name: Retrained(w, 0.0) for name, w in zip(("learned", "found_1", "found_2"), welfare, strict=False)}


@pytest.mark.parametrize("plan", [((0.0, 0.7),), LEARNED, ((0.2, 0.2), (0.7, 0.0), (0.0, 0.0))])
def test_neighbours_are_exactly_the_plans_one_step_away(plan):
    def steps(other) -> int:
        pairs = zip(sum(plan, ()), sum(other, ()), strict=True)
        return sum(abs(MENU.index(a) - MENU.index(b)) for a, b in pairs)

    pairs = list(product(MENU, repeat=2))
    expected = {other for other in product(pairs, repeat=len(plan)) if steps(other) == 1}
    found = neighbours(plan, MENU)
    assert len(found) == len(expected)
    assert {*found} == expected


def test_rates_are_taken_as_they_stand_on_the_menu():
    assert on_menu(((0.2 + 1e-9, 0.7 - 1e-9),), MENU) == ((0.2, 0.7),)


def test_plans_in_words():
    assert plan_words(((0.0, 1.0),) * 8 + ((1.0, 0.0),)) == "0% / 100% x8, 100% / 0%"
    assert plan_words(((0.125, 0.8),)) == "12.5% / 80%"
    assert plan_words(((0.125, 1.0),)) == "12.5% / 100%"
    assert plan_words(((0.0, 0.2), (0.2, 0.0), (0.0, 0.2))) == "0% / 20%, 20% / 0%, 0% / 20%"


def test_differences_are_paired_and_hold_for_all_comparisons_at_once(rng):
    base = rng.normal(100, 50, 40)
    values = base + rng.normal(1, 0.5, 40)
    alone, many = paired(values, base), paired(values, base, comparisons=20)
    test = stats.ttest_rel(values, base)
    for each, confidence in ((alone, 0.95), (many, 1 - 0.05 / 20)):
        bounds = test.confidence_interval(confidence)
        assert (each.low, each.high) == pytest.approx((bounds.low, bounds.high))
    assert many.high - many.low > 1.3 * (alone.high - alone.low)
    same = paired(base, base, 20)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_a_record_is_read_again(tmp_path):
    once = search(retrained=retrained({0: 9.0, 1: 9.5}, {0: 8.0, 1: 8.4}))
    one_episode = replace(once, learned_rank=1, neighbours=(Neighbour(LEARNED, t_interval([1.0])),), retrained={})
    for each in (once, one_episode):
        write_json(each.record(), tmp_path / "plan_search.json")
        read = PlanSearch.read(tmp_path / "plan_search.json")
        write_json(read.record(), tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / "plan_search.json").read_bytes()
        assert read.retrained == each.retrained
    assert {path.name for path in tmp_path.iterdir()} == {"plan_search.json", "again.json"}
    assert read.judged == once.judged
    (tmp_path / "plan_search.json").write_text('{"run": ')
    with pytest.raises(ConfigError, match="complete JSON"):
        PlanSearch.read(tmp_path / "plan_search.json")


def test_words_say_whether_the_plan_is_locally_best():
    assert "the learned plan is locally best as far as can be told" in search_words(search())
    better = search_words(search(beside=0.5))
    assert "is not locally best: 1 of 2 neighbours is significantly better" in better
    assert plan_words(neighbours(LEARNED, MENU)[0]) in better
    unknown = search(neighbours=(Neighbour(LEARNED, t_interval([3.0])),))
    assert "locally best is unknown" in search_words(unknown)


def test_words_say_what_the_search_found():
    none = search_words(search(found=0.05))
    assert "scored 37 plans" in none
    assert "ranks the learned plan 4" in none
    assert "found no plan that is significantly better" in none
    some = search_words(search(found=0.5))
    assert "found a plan that is significantly better for these followers: found_1" in some
    assert "0.5 [0.4, 0.6] (of 2 plans judged, all at once)" in some
    assert "beginning with the learned one and its neighbours" in none
    best = search_words(search(learned_rank=1, exhaustive=True))
    assert "all 37 plans on validation episodes and" in best
    assert "found no plan better than the learned one" in best


def test_a_dead_economy_is_no_praise_of_its_plan():
    dead = search(trivial=0.9)
    words = search_words(dead)
    assert dead.trivial
    assert "Under the learned plan the economy is trivial" in words
    assert "is locally best" not in words
    assert "says nothing in a trivial economy" in words
    assert "found_1: with the run's followers the economy is trivial" in words
    alive = search(retrained={"found_1": Retrained({0: 0.0}, 1.0)})
    assert "found_1: with retrained followers the economy is trivial in 100%" in search_words(alive)


def test_retrained_followers_are_compared_by_the_seeds_that_both_plans_have():
    own, other = Retrained({0: 10.0, 1: 20.0, 2: 30.0}, 0.0), Retrained({0: 11.0, 2: 33.0, 5: -100.0}, 0.0)
    difference, expected = other.minus(own), t_interval([1.0, 3.0])
    assert (difference.mean, difference.low, difference.high) == (expected.mean, expected.low, expected.high)


def test_how_far_frozen_followers_are_from_retrained_ones():
    """Frozen: 10, 9.7 and 8.7."""
    three = search(retrained=retrained({0: 9.0, 1: 9.4}, {0: 9.9, 1: 10.5}, {0: 8.0, 1: 8.2}))
    assert three.errors == pytest.approx({"learned": -0.8, "found_1": 0.5, "found_2": -0.6})
    assert three.rank_correlation == pytest.approx(0.5)
    summary = three.record()["summary"]
    expected = t_interval([-0.8, 0.5, -0.6])
    assert summary["retrained_minus_frozen"]["low"] == pytest.approx(expected.low)
    words = search_words(three)
    assert "With retrained followers found_1 is better than the learned plan" not in words  # 1 [-0.27, 2.27]
    assert "no plan is significantly better than the learned one" in words
    assert "rank correlation of the two over 3 plans is 0.50" in words
    assert search(retrained=retrained({0: 9.0}, {0: 8.0})).rank_correlation is None
    assert search(retrained=retrained({0: 9.0}, {0: 9.0}, {0: 9.0})).rank_correlation is None
    sure = search(retrained=retrained({0: 9.0, 1: 9.4}, {0: 11.0, 1: 11.5}))
    assert "With retrained followers found_1 is better than the learned plan" in search_words(sure)
    assert "gives no intervals" in search_words(search(retrained=retrained({0: 9.0}, {0: 8.0})))
    assert "nothing to be compared with yet" in search_words(search(retrained={"found_1": Retrained({0: 9.0}, 0.0)}))


def test_a_table_has_a_line_for_each_plan_and_room_for_what_is_unfinished():
    for found in ({}, retrained({0: 9.0, 1: 9.4}, {0: 9.9, 1: 10.5})):
        lines = search_table(search(retrained=found)).splitlines()
        assert len(lines) == 2 + 3
        assert len({line.count("|") for line in lines}) == 1
    assert lines[4].replace(" ", "").endswith("|-|-|0|")


def test_figures_show_every_plan_and_every_quarter(tmp_path):
    whole = search(retrained=retrained({0: 9.0, 1: 9.4}, {0: 9.9, 1: 10.5}))
    figure = search_figure(whole)
    labels = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    assert labels == [each.label for each in whole.judged]
    assert len(figure.legends[0].get_texts()) == 2
    assert save(figure, tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"


def test_the_figure_of_temptations_shows_every_quarter(tmp_path):
    gains = (
        Temptation(2, ((0.0, 0.0)), 0.5, interval(1.0)),
        Temptation(3, ((0.4, 1.0)), -0.5, t_interval([2.0])),
    )
    found = Credibility("a/b", "checkpoint_000001", 8, 0, ((0.0, 0.8),), interval(9.0), 0.0, gains)
    figure = temptation_figure(found)
    (line,) = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert json.loads(json.dumps([line.get_xdata().tolist(), line.get_ydata().tolist()])) == [[2, 3], [1.0, 2.0]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0% / 0%", "as announced"]
    save(figure, tmp_path / "temptation.png")


@pytest.mark.parametrize(
    ("gain", "words"),
    [(1.0, "it would gain 1 "), (0.05, "not distinguishable from 0"), (-1.0, "Nothing tempts: what did best on")],
)
def test_a_temptation_is_told_from_a_loss(gain, words):
    asked = (Temptation(2, ((0.0, 0.0)), 0.5, interval(gain)),)
    assert words in Credibility("a/b", "checkpoint_000001", 8, 0, ((0.0, 0.8),), interval(9.0), 0.0, asked).words()
