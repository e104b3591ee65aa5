#!/bin/sh
# Draw the images of README and the guide again: with the commands that the page on evaluation shows, and in Chromium.
set -eu
BIN=$(cd "${BIN:-.venv/bin}" && pwd)
TESTS=$(cd "$(dirname "$0")" && pwd)
OUT=$TESTS/images
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
mkdir -p "$OUT"
cd "$FOLDER"
PATH=$BIN:$PATH

dlw train circles_v1 >/dev/null
dlw train circles_v2 --epochs 2000 >/dev/null
dlw train tinyvgg --data digits
for version in 0 1 2; do
    dlw train "fashion_mnist_v$version"
done

dlw plot circles_v1 boundary --overwrite --out "$OUT/circles_v1_boundary.png"
dlw plot circles_v2 boundary --overwrite --out "$OUT/circles_v2_boundary.png"
dlw plot circles_v2 curves --overwrite --out "$OUT/circles_v2_curves.png"
dlw compare fashion_mnist_v0 fashion_mnist_v1 fashion_mnist_v2 --overwrite --plot "$OUT/fashion_mnist_bars.png" --plot-kind bars
dlw plot fashion_mnist_v2 confusion --overwrite --out "$OUT/fashion_mnist_v2_confusion.png"
dlw plot fashion_mnist_v2 predictions --overwrite --out "$OUT/fashion_mnist_v2_predictions.png"
dlw plot fashion_mnist_v2 why --n 4 --overwrite --out "$OUT/fashion_mnist_v2_why.png"
dlw plot tinyvgg map --overwrite --out "$OUT/digits_map.png"
dlw plot tinyvgg map --thumbnails --overwrite --out "$OUT/digits_map_thumbnails.png"
dlw costs fashion_mnist_v0 fashion_mnist_v1 fashion_mnist_v2
dlw compare fashion_mnist_v0 fashion_mnist_v1 fashion_mnist_v2 --overwrite --plot "$OUT/fashion_mnist_tradeoff.png" --plot-kind tradeoff
dlw evaluate fashion_mnist_v2 --no-plots

dlw report fashion_mnist_v2 --out report.html
python "$TESTS/screenshots.py" fashion_mnist_v2 report.html "$OUT"
