"""Damaged files of every kind are answered with a result or one line, in time, and no file of the user changes."""

from __future__ import annotations

import contextlib
import io
import random
import re
import shutil
import signal
import struct
import time
import zlib
from collections import Counter

import pytest

from dlworkflow.cli.app import main

pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("default")]

SECONDS = 10  # longer is a hang
CONFIG = """\
model: {name: tinyvgg, hidden_units: 4}
data: {name: image_folder, path: user/pets, image_size: 16, batch_size: 4, transform: [flip]}
optimizer: {name: adam, lr: 1.0e-3}
epochs: 2
seed: 42
"""
PICTURES = "pictures-pets-001"
POINTS = "points-circles-001"
COMMANDS = {  # the file that is damaged -> the commands that read it
    "user/pets/test/cat/0.png": ("predict", "check", "evaluate", "dry"),
    "user/pets/train/dog/0.jpg": ("predict", "check", "dry"),
    "user/one.jpg": ("predict",),
    "user/one.png": ("predict",),
    "user/config.yaml": ("config",),
    "user/points.csv": ("predict_points",),
    "user/pets/list.csv": ("check", "dry"),
    f"runs/{PICTURES}/best.pth": ("predict_one", "evaluate_own"),
    f"runs/{POINTS}/best.pth": ("predict_points", "evaluate_points"),
    f"runs/{POINTS}/resume.pth": ("resume",),
    f"runs/{PICTURES}/summary.json": ("show", "compare", "predict_one", "evaluate_own"),
    f"runs/{POINTS}/summary.json": ("show", "compare", "predict_points", "evaluate_points", "resume"),
    f"runs/{POINTS}/history.csv": ("show", "compare", "resume"),
    f"runs/{POINTS}/config.yaml": ("show", "compare"),
    f"runs/{POINTS}/environment.json": ("show", "compare", "resume"),
    f"runs/{POINTS}/notes.json": ("show", "compare", "tag"),
}
ROUNDS = 12  # damages of a file, each given to every command that reads it


def arguments(command, file):
    run = file.split("/")[1]
    return {
        "predict": ["predict", file, "--run", PICTURES],
        "predict_one": ["predict", "user/one.png", "--run", PICTURES],
        "predict_points": ["predict", "user/points.csv", "--run", POINTS, "--format", "csv"],
        "check": ["data", "check", file if file.endswith(".csv") else "user/pets"],
        "dry": ["train", "tinyvgg", "--data", file if file.endswith(".csv") else "user/pets", "--dry-run"],
        "config": ["train", "--config", file, "--dry-run"],
        "evaluate": ["evaluate", PICTURES, "--data", "user/pets", "--no-plots"],
        "evaluate_own": ["evaluate", PICTURES, "--no-plots"],
        "evaluate_points": ["evaluate", POINTS, "--no-plots"],
        "resume": ["train", "--resume", POINTS, "--epochs", "3"],
        "show": ["show", run],
        "compare": ["compare"],
        "tag": ["runs", "tag", POINTS, "another"],
    }[command]


def cut(data, draw):
    return data[: draw.randrange(len(data))]


def flip(data, draw):
    changed = bytearray(data)
    for _ in range(draw.choice((1, 3, 30))):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def insert(data, draw):
    at = draw.randrange(len(data))
    new = draw.choice((draw.randbytes(9), b"\0" * 40, b'"', b"\n\n", b"- [{", b"\xff\xfe", b"\x1b]0;x\x07"))
    return data[:at] + new + data[at:]


def double(data, draw):
    first, last = sorted(draw.randrange(len(data)) for _ in range(2))
    return data[:last] + data[first:]


def empty(data, draw):
    return draw.choice((b"", b"\n", b"\0"))


def huge(data, draw):
    """Let a header claim more than there is."""
    if data.startswith(b"\x89PNG"):
        size = struct.pack(">II", draw.choice((2**31 - 1, 60000)), draw.choice((2**31 - 1, 60000, 1)))
        header = b"IHDR" + size + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    if data.startswith(b"\xff\xd8"):
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", 65500, draw.choice((65500, 1, 0))) + data[at + 4 :]
    if data.startswith(b"PK"):
        at = draw.randrange(len(data) - 8)
        return data[:at] + b"\xff" * 8 + data[at + 8 :]
    found = draw.choice(list(re.finditer(rb"[0-9.]+", data)))
    number = draw.choice((b"1" + b"0" * 30, b"-1", b"1e999", b"nan", b"9" * 5000, b"[]", b"null", b"0"))
    return data[: found.start()] + number + data[found.end() :]


DAMAGES = (cut, flip, insert, double, empty, huge)


def call(given, seconds=SECONDS):
    out, err = io.StringIO(), io.StringIO()
    began = time.monotonic()
    code = None
    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(given)
    except SystemExit as ended:
        code = ended.code
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return code, out.getvalue(), err.getvalue(), time.monotonic() - began


def hang(number, frame):
    raise TimeoutError("no end in sight")


@pytest.fixture
def room(in_tmp, paint):
    """A user's folder, and two runs that were trained on it or beside it."""
    pets = in_tmp / "user" / "pets"
    rows = ["path,label,split"]
    for seed, (split, name, number, kind) in enumerate(
        (split, name, number, kind)
        for split, numbers in (("train", range(2)), ("test", range(1)))
        for name in ("cat", "dog")
        for number in numbers
        for kind in ("png", "jpg")
    ):
        paint(pets / split / name / f"{number}.{kind}", seed, size=(20, 17))
        rows.append(f"{split}/{name}/{number}.{kind},{name},{split}")
    (pets / "list.csv").write_text("\n".join(rows) + "\n")
    paint(in_tmp / "user" / "one.png", 70, size=(20, 17))
    paint(in_tmp / "user" / "one.jpg", 71, size=(20, 17))
    (in_tmp / "user" / "config.yaml").write_text(CONFIG)
    (in_tmp / "user" / "points.csv").write_text("0.1,0.2\n-0.5,0.75\n1.0,0.0\n")
    for given in (
        ["train", "--config", "user/config.yaml", "--name", "pictures-pets"],
        ["train", "circles_v2", "--epochs", "2", "--name", "points-circles"],
        ["runs", "tag", POINTS, "good"],
    ):
        code, _, err, _ = call(given, seconds=120)
        assert code == 0, err
    return in_tmp


def complaint_about(code, err):
    """Return what is wrong with an answer, or nothing."""
    lines = [line for line in err.splitlines() if line.startswith("dlw: ")]
    if code not in (0, 1, 2) or "Traceback" in err or "dlw: unexpected " in err or len(lines) > 1:
        return f"exit {code}, {err[-400:]!r}"
    return ""


def changed_bytes(before, after):
    """Count the bytes that differ; a file that is new, gone or only bears another time counts one at least."""
    differing = 0
    for path in before.keys() | after.keys():
        (one, when), (other, then) = before.get(path, (b"", 0)), after.get(path, (b"", 0))
        if one != other or when != then:
            differing += max(1, sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other)))
    return differing


def user_files(root):
    """Return content and time of everything outside the runs."""
    return {
        path: (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if not path.is_relative_to(root / "runs")
    }


def cases(room):
    """Damage a file, give the command that reads it and what was done, and put back what was there."""
    draw = random.Random(4)
    pristine = room.parent / f"{room.name}-pristine"
    shutil.copytree(room / "runs", pristine)
    for file, commands in COMMANDS.items():
        whole = (room / file).read_bytes()
        for turn in range(ROUNDS):
            damage = DAMAGES[turn % len(DAMAGES)]
            damaged = damage(whole, draw)
            for command in commands:
                (room / file).write_bytes(damaged)
                yield arguments(command, file), f"{file}, {damage.__name__} in round {turn}"
                if file.startswith("runs/"):
                    shutil.rmtree(room / "runs")
                    shutil.copytree(pristine, room / "runs")
        (room / file).write_bytes(whole)


def test_damaged_files_are_answered_in_one_line_and_nothing_of_the_user_changes(room, capsys):
    codes, faults, slowest, changed = Counter(), [], 0.0, 0
    for given, what in cases(room):
        files = user_files(room)
        code, _, err, seconds = call(given)
        codes[code] += 1
        slowest = max(slowest, seconds)
        differing = changed_bytes(files, user_files(room))
        changed += differing
        if fault := complaint_about(code, err) or (differing and "changed the user's files"):
            faults.append(f"{' '.join(given)} ({what}): {fault}")

    with capsys.disabled():
        answers = ", ".join(f"{count} with exit {code}" for code, count in sorted(codes.items(), key=str))
        print(f"\ndamaged files tried: {codes.total()} ({answers}; the slowest took {slowest:.1f} s)")
        print(f"bytes of user data changed: {changed}")
    assert not faults, f"{len(faults)} of {codes.total()}:\n" + "\n".join(faults)
