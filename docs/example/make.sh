#!/usr/bin/env bash
# The main study at full size: learned taxes against the best fixed pairs, five seeds each, and what followers gain by
# leaving. Makes the report in this folder, docs/welfare and docs/quarters. Some two hours on two cores; what an earlier
# start has finished is kept, and what it has begun goes on.
#
#     docs/example/make.sh [RESULTS]        (default: results/)
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
results="${1:-results}"
study="$results/tax_baselines"

# begin FOLDER COMMAND...: the command, or the rest of it where FOLDER of the results is there already
begin() {
  local folder="$1"
  shift
  if [ -e "$results/$folder" ]; then set -- "$@" --resume; fi
  "$@" --results "$results"
}

begin tax_baselines \
  python -m rbc_rllib.sweep tax_baselines --only schedule constant discretion fixed_0_60 fixed_0_80
for seed in 0 1 2 3 4; do
  for planner in schedule constant discretion; do
    run="${planner}_seed$seed"
    begin "best_response-tax_baselines-$run" \
      python -m rbc_rllib.best_response "$study/$run" --groups firm consumer --everyone firm consumer --seeds 1
  done
done
python -m analysis.report "$study" --out docs/example
python -m analysis.welfare "$study" --out docs/welfare
python -m analysis.quarters "$study" --only schedule constant discretion fixed_0_80 --out docs/quarters
