"""Write nine digits of the test split as PNG files, named by what they show: `write_digits.py FOLDER`."""

import sys
from pathlib import Path


def write_digits(folder: Path) -> None:
    from dlworkflow import data
    from dlworkflow.data.images.pixels import to_pil

    folder.mkdir(parents=True, exist_ok=True)
    test = data.load("digits").test
    for index in range(9):
        picture = to_pil(test.images[index])
        picture.save(folder / f"{index}_shows_{int(test.labels[index])}.png")


if __name__ == "__main__":
    write_digits(Path(sys.argv[1]))
