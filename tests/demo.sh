#!/bin/sh
# The main job from end to end in a folder of its own: train on digits, predict images, train another, compare.
set -eu
BIN=$(cd "${BIN:-.venv/bin}" && pwd)
HERE=$(pwd)
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
cd "$FOLDER"

show() {
    printf '\n$ %s\n' "$*"
    command=$1
    shift
    "$BIN/$command" "$@"
}

show dlw train tinyvgg --data digits --epochs 8 --seed 42 --plots
printf '\nWriting nine held-out digits as PNG files, as if they were your own.\n'
"$BIN/python" "$HERE/tests/write_digits.py" images
show dlw predict images --top-k 2
show dlw train improved_tinyvgg --data digits --epochs 8 --seed 42 --plots
show dlw evaluate
show dlw compare
