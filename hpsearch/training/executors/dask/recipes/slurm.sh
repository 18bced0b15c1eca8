#!/bin/bash
# A study on Slurm: sbatch --ntasks=17 slurm.sh study.yaml [OPTION OF hpsearch run]…
#
# The node of this script runs the scheduler and the coordinator; one worker runs for each task. A job that reaches its
# time limit is stopped as with Ctrl-C a minute before; the same command continues the study.
#SBATCH --job-name=hpsearch
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@60
set -eu

study=$1
shift
certificates=${CERTIFICATES:-$HOME/hpsearch-tls} # ca.pem, cert.pem and key.pem
storage=${STORAGE:?"a PostgreSQL URL, or a file on a disk that is not a network disk"}
folder=${TMPDIR:-/tmp} # for the rows, on a disk of each node
host=${SLURMD_NODENAME:-$(hostname)}
address=tls://$host:$((20000 + ${SLURM_JOB_ID:-0} % 20000))
tls=(--tls-ca-file "$certificates/ca.pem" --tls-cert "$certificates/cert.pem" --tls-key "$certificates/key.pem")

dask scheduler --host "tls://$host" --port "${address##*:}" --no-dashboard "${tls[@]}" &
scheduler=$!
# A worker ends with its connection to the scheduler, and is started again.
srun --kill-on-bad-exit=0 bash -c 'while :; do "$@"; sleep 1; done' worker \
    dask worker "$address" --nthreads 1 --no-dashboard --local-directory "$folder" \
    --memory-limit "${SLURM_MEM_PER_CPU:-0}MB" "${tls[@]}" &
workers=$!
trap 'kill "$workers" "$scheduler" 2> /dev/null || true' EXIT
until (: < "/dev/tcp/$host/${address##*:}") 2> /dev/null; do
    kill -0 "$scheduler"
    sleep 0.2
done

hpsearch run "$study" --storage "$storage" --quiet --cluster "$address" "$@" \
    --tls-ca "$certificates/ca.pem" --tls-cert "$certificates/cert.pem" --tls-key "$certificates/key.pem" &
coordinator=$!
trap 'kill -TERM "$coordinator"' TERM INT
code=0
wait "$coordinator" || code=$?
while kill -0 "$coordinator" 2> /dev/null; do # it stores what is finished
    wait "$coordinator" && code=0 || code=$?
done
exit "$code"
