#!/usr/bin/env bash
# The product's own trainer on a random model of the real size, in bf16 and float8, under eight minutes on one card:
#   benchmarks/on_gpu.sh OUT [WORK]            results to the folder OUT, 20 GB of model to WORK (/tmp/slipstream_gpu)
#   SIZE=tiny STEPS=9 benchmarks/on_gpu.sh OUT   a dry run on any machine
# PRODUCT holds further options of whole_training.py, MODES the modes, REVISION the commit where there is no repository, LIMIT
# the seconds for all, EACH those for one training.
set -u
cd "$(dirname "$0")/.."
out=$(mkdir -p "$1" && cd "$1" && pwd)
work=${2:-/tmp/slipstream_gpu}
size=${SIZE:-real}
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
python=$(command -v python3 || command -v python)
exec > >(tee "$out/on_gpu.log") 2>&1
started=$SECONDS
mkdir -p "$work"
if [ ! -f "$work/model_$size/training_adapter.safetensors" ]; then
  timeout 150 "$python" benchmarks/write_random_model.py "$work/model_$size" --size "$size" || echo "writing the model failed: $?"
fi
for mode in ${MODES:-bf16 float8}; do
  left=$((${LIMIT:-470} - (SECONDS - started)))
  [ $left -gt 30 ] || { echo "$mode: out of time"; continue; }
  timeout $left "$python" benchmarks/whole_training.py --model "$work/model_$size" --size "$size" --modes "$mode" \
    --steps "${STEPS:-216}" --seconds $((left - 25 < ${EACH:-200} ? left - 25 : ${EACH:-200})) --out "$out" ${PRODUCT:-} || echo "$mode failed: $?"
done
echo "all in $((SECONDS - started)) s"
