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

slugs=$(kata list --json | python -c 'import json, sys; print(*(k["slug"] for k in json.load(sys.stdin)["katas"]))')

# As a learner: the stub is not attempted, the reference passes.
set -- $slugs
kata start "$1" > /dev/null
status=0; kata check "$1" > out || status=$?
test $status -eq 1 || { echo "the stub of $1: exit $status, not 1"; cat out; exit 1; }
cp "$root/solutions/$1/reference.py" "$1/$(echo "$1" | tr - _).py"
kata check "$1" --require-isolation full > out || { echo "the reference of $1 does not pass"; cat out; exit 1; }
sed -n 1p out

# As somebody who teaches: every stub and every reference at once.
mkdir -p class/stub class/reference
for slug; do
  file=$(echo "$slug" | tr - _).py
  cp "$root/katas/$slug/stub.py" "class/stub/$file"
  cp "$root/solutions/$slug/reference.py" "class/reference/$file"
done
kata grade class --format json > rows.json
python - "$@" <<'END'
import json, sys

rows = {(row["person"], row["kata"]): row for row in json.load(open("rows.json"))["rows"]}
wanted = {("stub", slug): 0 for slug in sys.argv[1:]} | {("reference", slug): 100 for slug in sys.argv[1:]}
for key, score in wanted.items():
    got = rows[key]
    sound = got["outcome"] == "graded" and got["verdict"]["isolation"] == "full"
    assert sound and got["score"] == score, f"{key}: not {score} points at full isolation, but {got}"
END
echo "the wheel grades every kata"
