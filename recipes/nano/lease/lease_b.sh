#!/bin/bash
# Second call on the same machine: clusters and tokens as soon as the w2v-BERTs are done, then all stages side by side.
#   bash recipes/nano/lease/lease_b.sh .lease_b WAIT SECONDS
set -uo pipefail
mv "$1" /tmp/b
cd /tmp/r/recipes/nano/lease
export PYTHONPATH=/tmp/r:/tmp/site OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
stage() { # PART NAME TOKENS SECONDS options
    local part=$1 name=$2 tokens=$3 seconds=$4
    shift 4
    python3 stages.py "$part" --codes /tmp/b ${tokens:+--tokens /tmp/o/tokens-$tokens.safetensors} \
        ${tokens:+--tokenizer /tmp/o/semantic-$tokens} --start "/tmp/$place/stage_$part" --out "/tmp/o/$name" \
        --seconds "$seconds" ${LEASE_DEVICE:+--device $LEASE_DEVICE} "$@" >"/tmp/o/$name.log" 2>&1
}
place=a stage fine fine "" "$(($2 > 90 ? $2 - 60 : 30))" --batch 64 --dropout 0.1 &
python3 tokens.py --speech /tmp/a/speech.safetensors --clusters 1024 512 --out /tmp/o \
    --wait "$2" ${LEASE_DEVICE:+--device $LEASE_DEVICE} /tmp/o/w2v-a /tmp/o/w2v-b /tmp/o/w2v-c /tmp/o/w2v-d 2>&1 | tee /tmp/o/tokens.log
tail -n 2 /tmp/o/w2v-*.log | cut -c1-220
for count in 1024 512; do
    place=b stage delayed "delayed-$count" $count "$3" &
    (place=a stage semantic "semantic-stage-$count" $count 60 --dropout 0.3 --batch 32
     place=b stage coarse "coarse-$count" $count "$(($3 - 75))" --batch 16) &
done
place=b stage delayed delayed-1024b 1024 "$3" --dropout 0.1 --hide-frames 0.1 --rate 6e-4 &
wait
cd /tmp/o
tail -qn 2 *.log | cut -c1-200
for name in semantic-1024 semantic-512 delayed-1024 delayed-1024b; do tar cf "$OUT/$name.tar" "$name"; done
tar czf "$OUT/logs.tar.gz" ./*.log w2v-*/training.json
