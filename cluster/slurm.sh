#!/usr/bin/env bash
# A sweep on SLURM: `sbatch cluster/slurm.sh tax_baselines`, from the project's folder on a file system that all nodes
# share. A Ray node on each machine of the job, the sweep on the first; all end together. What is left after the time
# limit is finished by `sbatch cluster/slurm.sh tax_baselines --resume`.
#SBATCH --job-name=rbc_rllib
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
# A GPU on each node: add `#SBATCH --gpus-per-task=1` here, and `--set resources.num_gpus_per_learner=1` to the sweep.
set -euo pipefail

sweep="${1:?usage: sbatch cluster/slurm.sh SWEEP [OPTION ...]}"
shift
cd "${SLURM_SUBMIT_DIR:-.}"
# shellcheck disable=SC1091  # made on the cluster, as the README says
. .venv/bin/activate

head="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)"
export RAY_ADDRESS="$head:6379"  # the sweep joins this cluster and starts none of its own
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$HOME/.ray/auth_token"
[ -f "$RAY_AUTH_TOKEN_PATH" ] || ray get-auth-token --generate > /dev/null
export OMP_NUM_THREADS=1

srun ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" -- \
  python -m rbc_rllib.sweep "$sweep" --results results "$@"
