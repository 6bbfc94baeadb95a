"""What a deviator learns against the policies of a small game, without Tune, and what is said of its gain."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbc_rllib.best_response import DEFAULT_EPISODES, best_responses, find_checkpoints
from rbc_rllib.experiment import ExperimentConfig
from rbc_rllib.play.modules import GroupModule
from rbc_rllib.responses import judge
from rbc_rllib.training.checkpoints import load_networks
from rbc_rllib.training.deviations import final_game
from tests.exact import exact_values
from tests.runs.trials import trained


@dataclass(frozen=True)
class Answer:
    """A deviator's, in a game that can be solved."""

    game: ExperimentConfig  # in which it learned
    frozen: dict[str, GroupModule]
    responses: dict[str, GroupModule]  # by the group that is left
    learned: Path  # the folder of its training
    gain: dict[str, Any]  # as it is reported

    def exact(self, deviator: str) -> tuple[float, float, float]:
        """Its reward with the frozen policy, with its response, and the most it can get; all a quarter."""
        reward, best = exact_values(self.game, self.frozen, deviator)
        reached, _ = exact_values(self.game, self.frozen, deviator, self.responses)
        return reward, reached, best


def answer_of(deviator: str, game: ExperimentConfig, folder: Path, episodes: int = DEFAULT_EPISODES) -> Answer:
    """Train a run of `game`, ask the deviator what leaving it gains, and judge that in `folder`."""
    run = trained(game, folder / "runs" / "run")
    (checkpoint,) = find_checkpoints(run)
    (asked,) = best_responses(run, [deviator], [checkpoint], seeds=1, iterations=30, episodes=episodes).experiments
    learned = trained(asked, folder / "responses" / "response")
    networks = load_networks(learned / "checkpoint_000000", asked)
    assert asked.deviation is not None
    responses = {part.group: networks[policy] for policy, part in asked.deviation.parts.items()}
    judge(folder, [learned])
    (gain,) = json.loads((folder / "best_response.json").read_text())["solutions"][0]["gains"]
    return Answer(final_game(game, checkpoint), load_networks(checkpoint, game), responses, learned, gain)
