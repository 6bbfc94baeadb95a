"""The report as a whole: from folders to one page, its files and printed text."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy
import pandas
import pytest
from matplotlib.image import imread

from analysis.figures import new_figure
from analysis.page import Picture
from analysis.report import main, write_report
from analysis.results import folder_beside
from analysis.study import load_study
from analysis.tax_map import NUMBERS, TaxMap
from rbc_rllib.files import write_json
from tests.analysis.samples import DEAD, FIXED, LIVING, SMALL, fail, gain, write_answers, write_trial
from tests.analysis.test_plans import retrained, search

ROOT = Path(__file__).parents[2]
SECTIONS = ["Overview", "Training", "Roll-out", "Taxes", "Equilibrium", "Spectrum of solutions", "Economics"]


class Page(HTMLParser):
    """What a page holds: text by kind of element, and everything that it would load."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.loads: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        found = dict(attrs)
        self.loads += [found[name] or "" for name in ("src", "srcset") if name in found]
        self.loads += [found["href"] or ""] if tag == "link" else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag: str) -> list[str]:
        return [text for kind, text in self.texts if kind == tag]


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return write_experiment(tmp_path / "paper")


def write_experiment(folder: Path) -> Path:
    write_trial(folder, "full", 0, DEAD, rollout=True)
    write_trial(folder, "full", 1, LIVING, rollout=True)
    write_trial(folder, "full", 2, LIVING, rollout=True)
    write_trial(folder, "low_entropy", 0, DEAD)
    write_trial(folder, "running", 0, LIVING, iterations=10, evaluated=False)
    return folder


@dataclass(frozen=True)
class Reported:
    """A report that was written elsewhere than its experiment's folder."""

    before: list[str]  # files of the experiment
    experiment: Path
    out: Path
    text: str
    page: Page


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    experiment, out = write_experiment(tmp_path_factory.mktemp("results") / "paper"), tmp_path_factory.mktemp("out")
    before = files(experiment)
    text = write_report(experiment, out)
    return Reported(before, experiment, out, text, Page(out / "report.html"))


def record_of_a_map() -> dict:
    rng, size = numpy.random.default_rng(0), len(SMALL.tax_choices)
    values = {name: rng.uniform(0, 0.4, (3, size, size)) for name in NUMBERS}
    return TaxMap(SMALL, (0, 1, 2), values, {}, episodes=8, env_steps=640).record()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_report_goes_where_it_is_told_and_leaves_the_results_alone(reported: Reported) -> None:
    assert files(reported.experiment) == reported.before
    there = files(reported.out)
    pictures = {path.removesuffix(".png") for path in there if path.endswith(".png")}
    assert {f"report/{name}" for name in ("training", "rollout", "quarters", "spectrum", "inequality")} == pictures
    assert {path.removesuffix(".pdf") for path in there if path.endswith(".pdf")} == pictures
    assert {"report.html", "report/overview.csv", "report/economics.csv"} <= {*there}
    for image in reported.out.rglob("*.png"):
        assert imread(image).std() > 0.02, image
    table = pandas.read_csv(reported.out / "report" / "overview.csv", index_col="treatment")
    assert table.loc["full", "consumer_reward"] == pytest.approx(5 / 3)
    assert "**low_entropy** (1 seed, held-out evaluation). Nobody works: the solution is trivial" in reported.text
    assert "Unfinished, without a held-out evaluation: seed 0 after 16,000 of 160,000 env steps." in reported.text


def test_the_page_holds_everything_and_loads_nothing(reported: Reported) -> None:
    page = reported.page
    assert page.open == []
    assert page.of("h1") == ["paper"]
    assert page.of("h2") == SECTIONS
    assert page.loads
    assert all(load.startswith("data:") for load in page.loads)
    style = "".join(page.of("style"))
    assert not re.search(r"@import|url\(|https?:", style)
    assert any("low_entropy (1 seed" in text for text in page.of("p"))
    links = re.findall(r'href="(report/[^"]+)"', (reported.out / "report.html").read_text())
    assert links
    assert all((reported.out / link).is_file() for link in links)


def test_what_is_missing_is_named_with_the_command_that_adds_it(reported: Reported) -> None:
    commands = reported.page.of("code")
    for name in ("best_response", "tax_map", "plan_search", "temptation", "sweep tax_baselines"):
        assert any(f"python -m rbc_rllib.{name}" in command for command in commands), name


def test_words_of_results_cannot_break_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "<b>bold & co"
    write_trial(folder, "full", 0, LIVING)
    write_report(folder)
    assert Page(folder / "report.html").of("h1") == ["<b>bold & co"]


def test_temptations_are_of_policies_that_are_evaluated_in_an_economy_that_lives(tmp_path: Path) -> None:
    for seed, changes in enumerate(({}, {"checkpoint": "checkpoint_000000"}, {"trivial": True})):
        trial = write_trial(tmp_path / "main", "schedule", seed, LIVING)
        record = json.loads((trial / "evaluation.json").read_text()) | {"checkpoint": "checkpoint_000001"}
        write_json(record, trial / "evaluation.json")
        asked = {"trivial": False, "checkpoint": "checkpoint_000001", "temptations": []}
        write_json(asked | changes, trial / "temptation.json")
    assert list(load_study([tmp_path / "main"]).temptations) == ["main/schedule_0"]


def test_a_damaged_trial_is_named_and_the_rest_reported(experiment: Path, tmp_path: Path) -> None:
    (experiment / "low_entropy_0" / "evaluation.json").write_text('{"indicators": {"hours"')
    (experiment / "running_0" / "progress.csv").write_text('"training_iteration,env_steps')
    for seed in (0, 1):
        write_answers(experiment / f"full_{seed}", [gain("each_firm", 2.0)])
        shutil.copytree(
            experiment / "full_1", folder_beside("best_response", experiment / f"full_{seed}") / "each_firm"
        )
    (experiment / "full_2" / "rollout.npz").write_bytes((experiment / "full_2" / "rollout.npz").read_bytes()[:100])
    spoiled = folder_beside("best_response", experiment / "full_0") / "best_response.json"
    spoiled.write_text("{")
    text = write_report(experiment, tmp_path / "out")
    page = Page(tmp_path / "out" / "report.html")
    assert page.of("td").count("2.0 [1.5,\N{NO-BREAK SPACE}2.5]") == 1  # of the run whose answers can be read
    page = " ".join(page.of("p"))
    for place in ("low_entropy_0/evaluation.json", "running_0", "full_2", str(spoiled)):
        assert place in text
        assert place in page
    assert "full" in text
    assert "**low_entropy**" not in text


def test_best_responses_maps_and_failures_that_lie_beside_are_part_of_it(experiment: Path, tmp_path: Path) -> None:
    beside = tmp_path / "tax_map-paper-full_1"
    shutil.copytree(experiment / "full_1", beside / "drawn_seed0")
    (beside / "tax_map.json").write_text(json.dumps(record_of_a_map()))
    write_trial(tmp_path / "tax_map-papers-full_1", "full", 0, LIVING)  # of another experiment
    (tmp_path / "plan_search-paper-full_1").mkdir()
    found = search(retrained=retrained({0: 9.0, 1: 9.5}, {0: 8.0, 1: 8.4}))
    write_json(found.record(), tmp_path / "plan_search-paper-full_1" / "plan_search.json")
    fail(experiment / "running_0", "NumericsError: firm, step 7: price is NaN")
    write_report(experiment, tmp_path / "out")
    page = Page(tmp_path / "out" / "report.html")
    assert page.of("h2") == [*SECTIONS, "Search"]
    assert "NumericsError: firm,\N{NO-BREAK SPACE}step 7: price is NaN" in page.of("td")
    assert {"report/tax_map_0.png", "report/laffer_0.pdf", "report/failures.csv"} <= {*files(tmp_path / "out")}
    assert not any("rbc_rllib.tax_map" in command for command in page.of("code"))
    plans = pandas.read_csv(tmp_path / "out" / "report" / "plan_search_0.csv")
    assert plans["welfare"].tolist() == pytest.approx([10.0, 9.7, 8.7])
    assert plans["retrained"].tolist() == pytest.approx([9.25, 8.2, float("nan")], nan_ok=True)
    assert "report/plan_search_0.png" in files(tmp_path / "out")


def test_trials_that_were_tried_again_to_their_end_are_listed_apart(experiment: Path, tmp_path: Path) -> None:
    for name in ("full_0", "running_0"):  # one is evaluated, the other was stopped by a search
        fail(experiment / name, "RayActorError: the node went away", status="TERMINATED")
    again = write_trial(experiment, "running", 1, LIVING, iterations=10, evaluated=False)
    (again / "error.txt").write_text("Traceback\nRayActorError: it is tried again\n")  # neither yet
    (experiment / "low_entropy_0" / "evaluation.json").unlink()
    fail(experiment / "low_entropy_0", "NumericsError: price is NaN")
    write_report(experiment, tmp_path / "out")
    listed = {
        name: pandas.read_csv(tmp_path / "out" / "report" / f"{name}.csv")["trial"].tolist()
        for name in ("failures", "recoveries")
    }
    assert listed == {"failures": ["paper/low_entropy_0"], "recoveries": ["paper/full_0", "paper/running_0"]}


def test_a_search_is_ranked_with_what_mattered(tmp_path: Path) -> None:
    for place, rate in enumerate((1e-4, 3e-4, 1e-3, 3e-3, 1e-2)):
        for seed in range(2):
            better = LIVING | {"consumer_reward": 2.0 + place, "social_welfare": 12 * (2.0 + place)}
            economy = SMALL.replace(export_market=place % 2 == 0)  # switches are searched, too
            folder = f"tuned_{place}_{seed}"
            write_trial(tmp_path, "tuned", seed, better, learning_rate=rate, economy=economy, folder=folder)
    write_report(tmp_path)
    ranking = pandas.read_csv(tmp_path / "report" / "ranking.csv", index_col="treatment")
    assert ranking["social welfare"].is_monotonic_decreasing
    assert "0.01" in ranking.index[0]
    assert (ranking["seeds"] == 2).all()
    importance = pandas.read_csv(tmp_path / "report" / "importance.csv", index_col="setting")
    assert sorted(importance.index) == ["economy.export_market", "learning.learning_rate.consumer"]
    assert importance.loc["learning.learning_rate.consumer", "importance"] > 0.5
    assert importance["importance"].sum() == pytest.approx(1.0)
    assert (tmp_path / "report" / "parallel.pdf").is_file()


def test_a_trial_is_reported_in_place_and_again_with_the_same_words(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "full", 0, LIVING, iterations=0, rollout=True)
    first = write_report(folder)
    assert "The solution is not trivial." in first
    assert (folder / "report.html").is_file()
    assert write_report(folder) == first


def test_table_and_words_give_the_same_tax_rates(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING)
    text = write_report(tmp_path)
    (row,) = (line for line in text.splitlines() if line.startswith("| corporate tax"))
    assert row.split("|")[2].strip() == "80%"
    assert "a corporate tax of 80%" in text


def test_taxes_that_cannot_be_compared_are_reported_with_the_reason(tmp_path: Path) -> None:
    closed = SMALL.replace(export_market=False)
    write_trial(tmp_path, "learned", 0, LIVING)
    assert "## Welfare" not in write_report(tmp_path)
    write_trial(tmp_path, "fixed", 0, LIVING, economy=closed, planner=FIXED)
    text = write_report(tmp_path)
    assert "No comparison of learned and fixed taxes: " in text
    assert "theirs differ in economy.export_market" in text
    assert not (tmp_path / "report" / "welfare.png").exists()


def test_taxes_are_compared_in_each_economy(tmp_path: Path) -> None:
    for name, planner in (("learned", None), ("fixed", FIXED)):
        for seed in (0, 1):
            write_trial(tmp_path, name, seed, LIVING, planner=planner)
    closed = SMALL.replace(export_market=False)
    write_trial(tmp_path, "closed", 0, DEAD, economy=closed)
    text = write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Where economy.export_market = True:" in text
    for words in (text, page):
        assert "economy.export_market = False: finished treatments = " in words
        assert "finished trials with fixed (or no) taxes, and there are none" in words
    (table,) = (tmp_path / "report").glob("welfare*.csv")
    assert table.read_text().count("\n") == 3
    write_trial(tmp_path, "closed_fixed", 0, DEAD, economy=closed, planner=FIXED)
    assert "Where economy.export_market = False:" in write_report(tmp_path)
    assert len(list((tmp_path / "report").glob("welfare*.png"))) == 2


def test_a_folder_without_trials_ends_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ending:
        main([str(tmp_path)])
    assert ending.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "it holds no trial" in sentence
    assert files(tmp_path) == []


def test_the_command_prints_the_table_and_the_words_and_stays_on_the_ground_floor(tmp_path: Path) -> None:
    write_trial(tmp_path, "full", 0, LIVING)
    program = """
import runpy, sys
runpy.run_module("analysis.report", run_name="__main__")
assert not {"ray", "torch", "gymnasium", "matplotlib.pyplot"} & set(sys.modules)
"""
    command = [sys.executable, "-c", program, str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| consumer reward (utility a quarter)" in done.stdout
    assert "Not trivial: full." in done.stdout
    assert f"Report: {tmp_path / 'out' / 'report.html'}" in done.stdout
    assert done.stderr == ""


def test_colours_that_are_numbers_stay_as_they_are_on_a_dark_page() -> None:
    maps, lines = new_figure(1, 1), new_figure(1, 1)
    maps.add_subplot().imshow([[0.0, 1.0]])
    lines.add_subplot().plot([0.0, 1.0])
    assert (Picture("maps", "", maps).is_map, Picture("lines", "", lines).is_map) == (True, False)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser: install chromium")
def test_a_browser_draws_it_without_a_complaint_and_sorts_its_tables(experiment: Path, tmp_path: Path) -> None:
    """Sorting is tried by a script that is added to the page and writes down what came of it."""
    write_report(experiment, tmp_path / "out")
    page = tmp_path / "out" / "report.html"
    script = """<script>
      const body = document.querySelector("tbody"), heads = document.querySelectorAll("thead th");
      const column = [...heads].findIndex(head => head.textContent.startsWith("consumer reward"));
      const seen = () => [...body.rows].map(row => row.children[column].dataset.key).join(",");
      heads[column].click(); const up = seen(); heads[column].click(); const down = seen();
      const wide = [...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1
        && !e.closest(".table"));
      const cut = [...document.querySelectorAll(".table")].filter(e => e.scrollWidth > e.clientWidth + 1);
      document.title = JSON.stringify({up, down, cut: cut.length, wide: wide.map(e => e.tagName), loaded: performance
        .getEntriesByType("resource").map(e => e.name).filter(name => !name.startsWith("data:"))});
    </script></body>"""
    page.write_text(page.read_text().replace("</body>", script))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"]
    command += ["--window-size=1280,900", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in done.stderr
    found = json.loads(re.search(r"<title>(.*?)</title>", done.stdout).group(1))  # type: ignore[union-attr]
    up, down = ([float(key) for key in found[way].split(",")] for way in ("up", "down"))
    assert up == sorted(down)
    assert down == up[::-1]
    assert len({*up}) == 3
    assert (found["wide"], found["cut"]) == ([], 0)
    assert found["loaded"] == []
