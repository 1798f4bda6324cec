#!/bin/bash
# The shipped nano, from the recordings to the checkpoint, in one command; run it in the repository's root with the
# package installed. Run again with the same OUT it goes on where it stopped.
#
#   recipes/nano/train.sh MANIFEST OUT [more options of `audiolm-audit train`, such as --budget-minutes 600]
set -euo pipefail
manifest=$1 out=$2
shift 2
python=${PYTHON:-python3}
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$PWD" OMP_WAIT_POLICY=passive
mkdir -p "$out"
# phones of the training transcripts, then the w2v-BERT that predicts them and its clusters (chosen on dev: docs/semantic-tokens.md)
[ -f "$out/phone_labels.safetensors" ] ||
    "$python" recipes/abx/phone_labels.py --data "$manifest" --out "$out/phone_labels.safetensors"
[ -f "$out/semantic/training.json" ] ||
    "$python" recipes/abx/train_w2v_bert.py --data "$manifest" --out "$out" --labels "$out/phone_labels.safetensors" \
        --steps "${W2V_BERT_STEPS:-2400}" --layer 3 --clusters 48 \
        --cluster-every 3 --cluster-seed 1 --cluster-restarts 1 --resume
# the other parts; those that are finished are skipped
"$python" -m audiolm all --recipe recipes/nano/nano.toml --data "$manifest" --out "$out" --resume "$@"
