"""Gains of the rounds in which policies learn against best responses, side by side."""

import pytest

from analysis.results import folder_beside
from analysis.rounds import main, rounds_table
from tests.analysis.samples import gain, write_answers


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_rounds_stand_side_by_side(tmp_path):
    folders = []
    for number, mean in enumerate((16.0, 6.0)):
        trial = tmp_path / str(number) / "main" / "run"
        trial.mkdir(parents=True)
        single = gain("each_firm", mean, size=200.0, agents={"firm_0": mean - 4, "firm_1": mean + 4})
        write_answers(trial, [single, gain("firm", 4.0)])
        folders.append(folder_beside("best_response", trial))
    head, _, *rows = map(cells, rounds_table(folders).splitlines())
    assert head[1:] == ["round 0", "round 1"]
    assert rows == [
        ["each_firm", "8.0 [7.8, 8.2]", "3.0 [2.8, 3.2]"],
        ["each_firm: the largest", "10.0 [9.8, 10.2]", "5.0 [4.8, 5.2]"],
        ["firm", "4.0 [3.5, 4.5]", "4.0 [3.5, 4.5]"],
    ]


def test_runs_are_averaged_round_by_round_without_those_that_are_dead(tmp_path, capsys):
    runs = [tmp_path / f"psro-main-run_{number}" for number in range(3)]
    for number, run in enumerate(runs):
        for place, mean in enumerate((16.0 + number, 6.0 + number)):
            trial = tmp_path / f"{number}_{place}" / "main" / "run"
            trial.mkdir(parents=True)
            write_answers(trial, [gain("each_firm", mean, agents={"firm_0": mean - 4, "firm_1": mean + 4})])
            answers = run / f"round_{place}-responses"
            run.mkdir(exist_ok=True)
            folder_beside("best_response", trial).rename(answers)
            if (number, place) == (2, 1):
                path = answers / "best_response.json"
                path.write_text(path.read_text().replace('"trivial_share": 0.0', '"trivial_share": 1.0'))
    main([*map(str, runs), "--out", str(tmp_path / "out")])
    written = (tmp_path / "out" / "rounds.md").read_text()
    head, _, *rows = map(cells, [line for line in written.splitlines() if line.startswith("|")])
    assert head[1:] == ["round 0 (3 runs)", "round 1 (2 runs)"]
    rows.pop(3)  # the line below the second table's head
    assert rows == [
        ["each_firm", "17.0 [14.5, 19.5]", "6.5 [0.1, 12.9]"],
        ["each_firm: the largest", "21.0 [18.5, 23.5]", "10.5 [4.1, 16.9]"],
        ["points more than in round 0", "round 1 (2 runs)"],
        ["each_firm", "-10.0 [-10.0, -10.0]"],
        ["each_firm: the largest", "-10.0 [-10.0, -10.0]"],
    ]
    assert "each_firm: the largest" in capsys.readouterr().out
    (runs[1] / "round_1-responses" / "best_response.json").unlink()
    with pytest.raises(SystemExit):
        main([*map(str, runs)])
    assert "round_1-responses holds no best_response.json; name what psro wrote" in capsys.readouterr().err
