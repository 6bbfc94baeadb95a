"""Gains of the rounds in which policies learn against best responses, side by side."""

from analysis.results import folder_beside
from analysis.rounds import rounds_table
from tests.analysis.samples import gain, write_answers


def test_rounds_stand_side_by_side(tmp_path):
    folders = []
    for number, mean in enumerate((16.0, 6.0)):
        trial = tmp_path / str(number) / "main" / "run"
        trial.mkdir(parents=True)
        single = gain("each_firm", mean, size=200.0, agents={"firm_0": mean - 4, "firm_1": mean + 4})
        write_answers(trial, [single, gain("firm", 4.0)])
        folders.append(folder_beside("best_response", trial))
    head, _, *rows = (
        [cell.strip() for cell in line.strip("| ").split("|")] for line in rounds_table(folders).splitlines()
    )
    assert head[1:] == ["round 0", "round 1"]
    assert rows == [
        ["each_firm", "8.0 [7.8, 8.2]", "3.0 [2.8, 3.2]"],
        ["each_firm: the largest", "10.0 [9.8, 10.2]", "5.0 [4.8, 5.2]"],
        ["firm", "4.0 [3.5, 4.5]", "4.0 [3.5, 4.5]"],
    ]
