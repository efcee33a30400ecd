#!/bin/sh
# Start DPO in a fresh folder, grade a wrong attempt, then a right one. Needs `kata` on the PATH.
set -eu
reference=$(cd "$(dirname "$0")/.." && pwd)/solutions/dpo/reference.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KATA_HOME="$work/home"
cd "$work"

say() { printf '\n$ %s\n' "$*"; "$@"; }

say kata start dpo
# A classic: the reference model forgotten in the margin.
sed 's/logits = beta \* _log_ratio_gap(pc, pr, rc, rr)/logits = beta * (pc - pr)/' "$reference" > dpo/dpo.py
if cmp -s "$reference" dpo/dpo.py; then echo "the demo's mistake no longer fits the reference" >&2; exit 1; fi
say kata check dpo || test $? -eq 1
cp "$reference" dpo/dpo.py
say kata check dpo
