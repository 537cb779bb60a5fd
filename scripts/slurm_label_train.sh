#!/usr/bin/env bash
#SBATCH --job-name=chartdistill
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
# Label a shard of the records on each node, then train on all nodes together. Submit from the repository, on a shared
# file system:
#   sbatch scripts/slurm_label_train.sh configs/gpu-80gb.yaml /shared/charts /shared/runs/mine
# Preempted or timed out? Submit the same line again: every verb goes on where it was. Labelling alone, without waiting
# for all nodes at once: scripts/slurm_label.sh.
set -euo pipefail
config=$1 records=$2 run_dir=$3
python=${PYTHON:-.venv/bin/python}
gpus=${SLURM_GPUS_ON_NODE:-8}
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")  # not into `head`: scontrol would die of it, and this script too
host=${hosts%%$'\n'*}
port=$((20000 + SLURM_JOB_ID % 20000))
options=("$config" --records "$records" --run-dir "$run_dir")
# Within one machine NCCL is kept on loopback (privacy.py); over several it needs the network between them. A name such as
# ib0 is better where you know it.
export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-^lo,docker}
# Since Slurm 22.05 `srun` takes the number of CPUs from no other place.
export SRUN_CPUS_PER_TASK=${SRUN_CPUS_PER_TASK:-${SLURM_CPUS_PER_TASK:-32}}
export PYTHON=$python HOST=$host PORT=$port GPUS=$gpus CONFIG=$config RECORDS=$records RUN_DIR=$run_dir

# One teacher per node; the node's GPUs are used as the config's engine says (tensor_parallel_size). Which records are
# a node's follows from their ids, so nodes need not know of each other. The first node then takes in all shards.
srun --nodes=1 --ntasks=1 "$python" -m chartdistill run "${options[@]}" --until prepare
# shellcheck disable=SC2016 # the variables belong to each node's own shell
srun bash -c '
    exec "$PYTHON" -m chartdistill label "$CONFIG" --records "$RECORDS" --run-dir "$RUN_DIR" --quiet \
        --shard "$SLURM_NODEID/$SLURM_NNODES"'
srun --nodes=1 --ntasks=1 "$python" -m chartdistill run "${options[@]}" --from label --until curate

# One launcher per node; the records stay on the shared file system, only gradients travel between the nodes.
# shellcheck disable=SC2016 # the variables belong to each node's own shell
srun --kill-on-bad-exit=1 bash -c '
    exec "$(dirname "$PYTHON")/accelerate" launch --config_file configs/accelerate/multi-node.yaml \
        --num_machines "$SLURM_NNODES" --num_processes "$((SLURM_NNODES * GPUS))" \
        --machine_rank "$SLURM_NODEID" --main_process_ip "$HOST" --main_process_port "$PORT" \
        -m chartdistill train "$CONFIG" --records "$RECORDS" --run-dir "$RUN_DIR" --quiet'

srun --nodes=1 --ntasks=1 "$python" -m chartdistill run "${options[@]}" --from evaluate
