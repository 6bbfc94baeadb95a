"""What watches a run: trackers, Ray's metrics and TensorBoard, all told of one small sweep."""

import json
import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest
import ray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rbc_rllib.evaluate import evaluate_trial
from rbc_rllib.experiment import Sweep
from rbc_rllib.runs import tracking
from rbc_rllib.runs.launch import RunOptions, run
from rbc_rllib.runs.reports import settings
from rbc_rllib.runs.tracking import Trackers, Tracking
from rbc_rllib.settings import ConfigError
from tests.runs.commands import REPOSITORY, rows
from tests.small import SMALL

SHORT = SMALL.with_values({"name": "watched", "planner.mode": "constant", "curriculum.total_env_steps": 128})
"""Two iterations."""

SECRET = "5ec2e7" * 7


def metrics_of_ray() -> dict[str, set[str]]:
    """The gauges of `sweep` in Ray's endpoints for Prometheus, as soon as there are any, and the labels of each; Ray
    still knows those of sweeps before."""
    found: dict[str, set[str]] = {}
    give_up = time.monotonic() + 300
    while not found and time.monotonic() < give_up:
        time.sleep(1)
        for node in ray.nodes():
            address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            with suppress(OSError):
                text = urllib.request.urlopen(address, timeout=10).read().decode()
                for name, labels in re.findall(r'^(ray_rbc_rllib_\w+)\{(.*sweep="sweep".*)\}', text, re.MULTILINE):
                    found.setdefault(name, set()).add(labels)
    return found


@pytest.fixture(scope="module")
def watched(ray_on_this_machine, tmp_path_factory) -> SimpleNamespace:
    """A sweep that everything watches, whose trackers find secrets in the environment."""
    folder = tmp_path_factory.mktemp("results") / "sweep"
    store = f"sqlite:///{folder.parent}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_API_KEY", SECRET)
        patch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
        with ThreadPoolExecutor() as pool:
            metrics = pool.submit(metrics_of_ray)
            ended = run(Sweep((SHORT,)), folder, options=RunOptions(trackers=Trackers(wandb="economies", mlflow=store)))
    assert ended.errors == []
    (trial,) = ended.finished
    return SimpleNamespace(folder=folder, trial=trial, store=store, metrics=metrics.result())


def test_mlflow_has_the_trial_with_its_whole_config_and_all_of_its_numbers(watched):
    from mlflow.tracking import MlflowClient

    client, last = MlflowClient(watched.store), rows(watched.trial)[-1]
    experiment = client.get_experiment_by_name("sweep")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("watched_seed0", "FINISHED")
    assert kept.data.params == {key: str(value) for key, value in settings(SHORT).items()}
    for name in ("economy/price", "economy/social_welfare", "learning/consumer/entropy", "curriculum/price_high"):
        assert kept.data.metrics[name] == pytest.approx(float(last[name])), name
    assert [each.step for each in client.get_metric_history(kept.info.run_id, "economy/hours")] == [64, 128]


def test_every_setting_is_told_by_the_key_that_set_takes():
    """A list is one setting, also one of lists."""
    fixed = SMALL.with_values({"planner.mode": "fixed", "planner.rates": [[0, 0.8]]})
    told = settings(fixed)
    assert told["planner.rates"] == [[0, 0.8]]
    assert SMALL.with_values(told) == fixed


def test_wandb_has_the_trial_in_a_group_named_after_the_sweep(watched):
    (kept,) = watched.folder.glob("wandb/offline-run-*/run-*.wandb")
    told, last = kept.read_bytes(), rows(watched.trial)[-1]
    for text in ("economies", "sweep", "watched_seed0", *settings(SHORT), "economy/price", last["economy/price"]):
        assert text.encode() in told, text


def test_no_secret_is_in_a_runs_folder(watched):
    files = [path for path in watched.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert [path for path in files if watched.store.encode() in path.read_bytes()] == []


def test_tensorboard_shows_groups_of_numbers_the_stage_the_roll_out_and_the_plan(watched):
    trial = watched.trial
    for _ in range(2):  # a second evaluation takes the first one's place
        evaluate_trial(trial, seed=0)
    events = EventAccumulator(str(trial)).Reload()
    tags = events.Tags()
    assert {tag.partition("/")[0] for tag in tags["scalars"]} == {
        *("economy", "curriculum", "learning", "run", "announced_plan")
    }
    assert {"economy/price", "learning/firm/entropy", "run/progress"} <= {*tags["scalars"]}
    prices = [(event.step, event.value) for event in events.Scalars("economy/price")]
    assert prices == [(int(row["env_steps"]), pytest.approx(float(row["economy/price"]))) for row in rows(trial)]
    words = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("curriculum/stage/text_summary")]
    assert words == list(dict.fromkeys(row["curriculum_stage"] for row in rows(trial)))
    (picture,) = events.Images("rollout")
    assert picture.encoded_image_string[:4] == b"\x89PNG"
    plan = json.loads((trial / "evaluation.json").read_text())["tax_plan"]
    announced = [(event.step, event.value) for event in events.Scalars("announced_plan/income_tax_rate")]
    assert announced == [(quarter, pytest.approx(plan[0][0])) for quarter in (2, 3, 4)]
    (text,) = events.Tensors("announced_plan/rates/text_summary")
    assert b"%" in text.tensor_proto.string_val[0]


def test_the_economy_is_among_rays_metrics_and_on_the_dashboard_of_grafana(watched):
    """By the same names: every query asks for what there is, and everything that there is is asked for."""
    assert watched.metrics, "there is no gauge"
    dashboard = json.loads((REPOSITORY / "cluster" / "grafana_dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [each["definition"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    asked = {name for query in queries for name in re.findall(r"ray_\w+", query)}
    assert asked == watched.metrics.keys()
    for (labels,) in watched.metrics.values():
        assert 'sweep="sweep"' in labels
        assert 'trial="watched_seed0"' in labels


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_or_does_not_start_is_refused_before_anything_starts(
    name, tmp_path, monkeypatch
):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))  # where nobody is logged in
    value = {"wandb": "economies", "mlflow": "nonsense://nowhere"}[name]
    with pytest.raises(ConfigError, match=rf"--{name} = '{value}' is refused: {name} does not start: "):
        run(Sweep((SHORT,)), tmp_path / "results", options=RunOptions(trackers=Trackers(**{name: value})))
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"{name} is not installed; run pip install '.\[{name}\]' where"):
        run(Sweep((SHORT,)), tmp_path / "results", options=RunOptions(trackers=Trackers(**{name: value})))
    assert not (tmp_path / "results").exists()


class Broken:
    """A tracker whose network is down."""

    def log_trial_start(self, trial):
        raise ConnectionError("no route to host")

    log_trial_result = log_trial_end = log_trial_start


def test_a_tracker_that_fails_says_so_once_and_ends_no_run(capsys):
    broken = Tracking({"mlflow": Broken()})
    trial = SimpleNamespace(trial_id="1", config={"experiment": SHORT.model_dump(mode="json"), "values": {}})
    broken.on_trial_start(1, [], trial)
    broken.on_trial_complete(2, [], trial)
    broken.on_trial_error(3, [], trial)  # of which it has not heard
    assert capsys.readouterr().err == "mlflow misses part of this run: no route to host\n"


def test_a_trial_that_goes_on_keeps_its_run_of_mlflow(tmp_path):
    from rbc_rllib.runs.mlflow_tracker import MLflowTracker

    class Named(SimpleNamespace):
        __hash__ = object.__hash__
        __str__ = lambda self: self.trial_id  # noqa: E731

    runs = []
    for trial_id in ("a", "b", "a"):
        tracker = MLflowTracker(f"sqlite:///{tmp_path}/mlflow.db", experiment_name="again")
        tracker.setup()
        tracker.log_trial_start(Named(trial_id=trial_id, config={"name": trial_id}))
        runs += tracker._trial_runs.values()
    assert runs[0] == runs[2] != runs[1]
