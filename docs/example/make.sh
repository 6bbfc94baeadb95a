#!/usr/bin/env bash
# The main study at full size: learned taxes against the best fixed pairs and none, for planners who want consumer
# welfare and for those who want total welfare, and the closed economy, five seeds each; what followers gain by leaving,
# a tax map and searches around the learned plans. Makes the report in this folder, and tables and figures of
# docs/results.md but for those of other sweeps, which it names. Some six hours on two cores; what an earlier start has
# finished is kept, what it has begun goes on.
#
#     docs/example/make.sh [RESULTS]        (default: results/)
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
results="${1:-results}"
planners=("$results/tax_baselines" "$results/total_welfare")

# begin FOLDER COMMAND...: the command, or the rest of it where FOLDER of the results holds what it can go on from
begin() {
  local folder="$1"
  shift
  for state in "$results/$folder"/{experiment_state*,last_snapshot.zip,plan_search.json}; do
    if [ -e "$state" ]; then
      set -- "$@" --resume
      break
    fi
  done
  "$@" --results "$results"
}

begin tax_baselines python -m rbc_rllib.sweep tax_baselines
begin total_welfare python -m rbc_rllib.sweep total_welfare
begin closed_economy python -m rbc_rllib.sweep closed_economy
for seed in 0 1 2 3 4; do
  for run in tax_baselines/{schedule,constant,discretion}_seed$seed total_welfare/schedule_total_seed$seed; do
    begin "best_response-${run/\//-}" \
      python -m rbc_rllib.best_response "$results/$run" --groups firm consumer --everyone firm consumer --seeds 1 \
      --set learning.num_epochs=2
  done
done
for command in tax_map plan_search; do
  begin "$command-tax_baselines-schedule_seed0" \
    python -m "rbc_rllib.$command" "$results/tax_baselines/schedule_seed0"
done
for run in schedule_seed{1,2,3,4} constant_seed{0,1,2,3,4}; do
  if [ ! -e "$results/plan_search-tax_baselines-$run/plan_search.json" ]; then
    python -m rbc_rllib.plan_search "$results/tax_baselines/$run" --no-retraining --results "$results"
  fi
done
for seed in 0 1 2 3 4; do
  python -m rbc_rllib.temptation "$results/tax_baselines/schedule_seed$seed" --episodes 16
done
python -m analysis.report "${planners[@]}" "$results/closed_economy" --out docs/example
python -m analysis.welfare "${planners[@]}" --out docs/welfare
python -m analysis.quarters "$results/tax_baselines" --only schedule constant discretion fixed_0_80 --out docs/quarters
python -m analysis.quarters "$results/closed_economy" --out docs/closed
cp "$results"/tax_map-tax_baselines-schedule_seed0/tax_map*.{md,png} docs/tax_map
