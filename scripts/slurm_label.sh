#!/usr/bin/env bash
# Label on several nodes of a Slurm cluster: each task of the array labels a share of the records, the last job merges
# the shares and does the rest. Shares are by record id, so a share that failed can be submitted again alone, and what it
# had finished is not asked again.
#   CONFIG=configs/gpu-80gb.yaml RECORDS=charts RUN_DIR=/shared/runs/mine SHARDS=4 bash scripts/slurm_label.sh
# RUN_DIR must lie on a file system that all nodes see. Nodes need no network but that one.
set -euo pipefail

if [ -z "${SLURM_JOB_ID:-}" ] || [ -z "${STEP:-}" ]; then
    # On the login node, or in an allocation (salloc): submit the three jobs, each after the one before.
    : "${CONFIG:?name a config: CONFIG=configs/gpu-80gb.yaml}" "${RUN_DIR:?name a run folder on a shared file system}"
    shards=${SHARDS:-4}
    export CONFIG RUN_DIR RECORDS=${RECORDS:-} SHARDS=$shards
    submit() { sbatch --parsable --export=ALL --chdir="$PWD" --output="${LOGS:-$PWD}/slurm-%x-%A_%a.log" "$@" "$0"; }
    prepared=$(STEP=prepare submit --job-name=chartdistill-prepare --cpus-per-task=4)
    labelled=$(STEP=label submit --job-name=chartdistill-label --dependency="afterok:$prepared" \
        --array="0-$((shards - 1))" --gres="gpu:${GPUS_PER_NODE:-1}" --cpus-per-task=8)
    rest=$(STEP=rest submit --job-name=chartdistill-rest --dependency="afterok:$labelled" \
        --gres="gpu:${GPUS_PER_NODE:-1}" --cpus-per-task=8)
    echo "submitted: prepare $prepared, label $labelled ($shards shares), rest $rest"
    exit 0
fi

run=("${VENV:-.venv}/bin/python" -m chartdistill)
where=("$CONFIG" --run-dir "$RUN_DIR")
if [ -n "$RECORDS" ]; then where+=(--records "$RECORDS"); fi
case $STEP in
    prepare) exec "${run[@]}" prepare "${where[@]}" ;;
    label) exec "${run[@]}" label "${where[@]}" --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" ;;
    rest) exec "${run[@]}" run "${where[@]}" --from label ;;  # `label` takes in the shares and asks for what is missing
    *) echo "slurm_label: STEP=$STEP: this is set when the jobs are submitted; start the script without it" >&2; exit 2 ;;
esac
