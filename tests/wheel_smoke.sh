#!/bin/sh
# Build the wheel, install it in a clean environment, and train in an empty folder.
set -eu
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
"$BIN/python" -m build --wheel --outdir "$FOLDER/dist" . >"$FOLDER/build.log" 2>&1 || { cat "$FOLDER/build.log"; exit 1; }
"${PYTHON:-python3}" -m venv "$FOLDER/env"
"$FOLDER/env/bin/python" -m pip install --quiet "$FOLDER"/dist/*.whl
mkdir "$FOLDER/empty"
cd "$FOLDER/empty"
"$FOLDER/env/bin/dlw" --version
"$FOLDER/env/bin/dlw" train blobs --epochs 20
"$FOLDER/env/bin/dlw" predict 1.5 -2.5
"$FOLDER/env/bin/dlw" compare
