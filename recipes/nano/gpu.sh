#!/bin/bash
# Train every part of nano, in order, within MINUTES, on a bare machine: python3 with torch, torchaudio, safetensors,
# numpy and scikit-learn; no audio library, no installation, no network. Run it in the repository's root.
#
#   recipes/nano/gpu.sh PACK OUT MINUTES [more options of `audiolm-audit train`]
#
# PACK: what recipes/nano/pack.py wrote. OUT: where the parts go; run it again with the same OUT to go on after a
# stop. The finished model is collected as OUT/nano-*.tar, one file per part (half precision, each below 16 MiB, together below 60).
set -euo pipefail
pack=$1 out=$2 minutes=$3
shift 3
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$PWD" PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=passive
mkdir -p "$out"
status=0
"${PYTHON:-python3}" -m audiolm all --recipe recipes/nano/nano.toml --data "$pack" --out "$out" \
    --budget-minutes "$minutes" --resume --log-every 50 --validate-every 1000 --save-every 500 "$@" \
    2>&1 | tee -a "$out/train.log" || status=$?
for part in "$out"/*/export; do
    [ -d "$part" ] || continue
    name=$(basename "$(dirname "$part")")
    files=(export)
    [ "$name" = w2v-bert ] && files=() # the semantic tokenizer holds these weights
    for extra in log.csv training.json curves.csv curves.png; do
        [ -f "$out/$name/$extra" ] && files+=("$extra")
    done
    [ ${#files[@]} -gt 0 ] || continue
    tar -C "$out/$name" -cf "$out/nano-$name.tar" "${files[@]}"
done
ls -l "$out"/nano-*.tar
exit "$status"
