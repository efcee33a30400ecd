#!/bin/sh
# Build the wheel, install it in an environment of its own far from this checkout, and grade there.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$BUILD_PYTHON" -m build --wheel --no-isolation --outdir "$work/dist" "$root" > "$work/build.log" || { cat "$work/build.log"; exit 1; }
"${PYTHON:-python3}" -m venv "$work/venv"
# The lock only pins versions here: what is not asked for is not installed.
wheel=$(echo "$work"/dist/*.whl)
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/requirements-dev.lock" "$wheel[hf]"
export PATH="$work/venv/bin:$PATH" KATA_HOME="$work/home"
mkdir "$work/learner"
cd "$work/learner"

for slug in $(kata list --json | python -c 'import json, sys; print(*(k["slug"] for k in json.load(sys.stdin)["katas"]))'); do
  attempt=$slug/$(echo "$slug" | tr - _).py
  kata start "$slug" > /dev/null
  status=0; kata check "$slug" > out || status=$?
  test $status -eq 1 || { echo "the stub of $slug: exit $status, not 1"; cat out; exit 1; }
  cp "$root/solutions/$slug/reference.py" "$attempt"
  status=0; kata check "$slug" --require-isolation full > out || status=$?
  test $status -eq 0 || { echo "the reference of $slug: exit $status, not 0"; cat out; exit 1; }
  sed -n 1p out
done
echo "the wheel grades every kata"
