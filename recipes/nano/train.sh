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
# phones of the training transcripts, a w2v-BERT that predicts them, the same trained on with more voices, noise and its own
# guesses, and its clusters (docs/semantic-tokens.md)
[ -f "$out/phone_labels.safetensors" ] ||
    "$python" recipes/abx/phone_labels.py --data "$manifest" --out "$out/phone_labels.safetensors"
[ -f "$out/first/semantic/training.json" ] ||
    "$python" recipes/abx/train_w2v_bert.py --data "$manifest" --out "$out/first" --labels "$out/phone_labels.safetensors" \
        --steps "${W2V_BERT_STEPS:-2400}" --layer 3 --clusters 48 \
        --cluster-every 3 --cluster-seed 1 --cluster-restarts 1 --resume
[ -f "$out/semantic/training.json" ] ||
    "$python" recipes/abx/train_w2v_bert.py --data "$manifest" --out "$out" --labels "$out/phone_labels.safetensors" \
        --start "$out/first/w2v-bert/export" --guess-labels --disturb --speeds 1 0.9 1.1 0.85 0.95 1.05 1.15 \
        --steps "${W2V_BERT_MORE_STEPS:-4800}" --learning-rate 1.5e-3 --ema-decay 0.998 --seed 5 --layer 3 \
        --clusters 1024 --cluster-seed 1 --cluster-restarts 1 --resume
# the other parts; those that are finished are skipped
"$python" -m audiolm all --recipe recipes/nano/nano.toml --data "$manifest" --out "$out" --resume "$@"
