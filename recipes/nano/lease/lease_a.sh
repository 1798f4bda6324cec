#!/bin/bash
# First call on the lent machine, in the repository's root: w2v-BERTs of several sizes train in the background.
#   bash recipes/nano/lease/lease_a.sh .lease_a SECONDS
set -euo pipefail
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site "$1"/whl/*.whl
mkdir -p /tmp/o
cp -r . /tmp/r
mv "/tmp/r/$1" /tmp/a
cd /tmp/r/recipes/nano/lease
export PYTHONPATH=/tmp/r:/tmp/site OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
train() { # NAME options
    local name=$1
    shift
    setsid nohup python3 w2v_bert.py --speech /tmp/a/speech.safetensors --start /tmp/a/semantic \
        --out "/tmp/o/w2v-$name" --seconds "$seconds" ${LEASE_DEVICE:+--device $LEASE_DEVICE} "$@" >"/tmp/o/w2v-$name.log" 2>&1 </dev/null &
}
seconds=$2
nvidia-smi -L || true
train a --dropout 0.15 --rate 1e-3
train b --dim 256 --dropout 0.2
train c --layers 3 4 --dropout 0.2
train d --dim 256 --dropout 0.3 --seed 7
sleep "${3:-25}"
tail -n 3 /tmp/o/w2v-*.log
