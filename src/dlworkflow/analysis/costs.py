"""What a prediction of a run costs: measured on inputs made here, so that the run's data need not be there."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dlworkflow.engine.child_processes import guarded_start
from dlworkflow.engine.device import describe_device, processor_name, thread_count
from dlworkflow.inference.predictor import Predictor
from dlworkflow.inference.samples import ImageReader, Sample
from dlworkflow.inference.stored import stored_weights
from dlworkflow.registry.user_code import named_files, use_code
from dlworkflow.runs import Run
from dlworkflow.runs.costs import Costs

BATCH = 32
_WARM_UP, _REPEATS, _SECONDS = 5, 30, 0.5
"""Calls before the clock counts, and how many are counted: at least so many, for half a second."""


def measure_costs(run: Run, *, weights: str = "best", threads: int = 1, device: str = "auto") -> Costs:
    """Measure what predictions of a run's weights cost, with `threads` of the CPU; nothing is written.

    One thread is what each core has when `dlw predict` answers for files. Raises RunError when the run or its weights
    are missing, and CodeError for code that was not named.
    """
    predictor = Predictor.from_run(run, weights=weights, device=device)
    one, several = (_inputs(predictor, n) for n in (1, BATCH))
    with thread_count(threads):
        seconds, together = (_median_seconds(partial(predictor.answers, inputs)) for inputs in (one, several))
        reading = _reading(predictor)
    return Costs(
        run=run.name,
        weights=weights,
        epoch=run.summary().row(weights).get("epoch"),
        split="test",
        size_bytes=stored_weights(run, weights).stat().st_size,
        parameters=sum(parameter.numel() for parameter in predictor.model.parameters()),
        mult_adds=mult_adds(predictor.model, one.to(predictor.device)),
        milliseconds=1e3 * seconds,
        milliseconds_in_batch=1e3 * together / BATCH,
        milliseconds_reading=None if reading is None else 1e3 * reading,
        memory_bytes=_memory(run, weights, threads),
        device=describe_device(predictor.device),
        threads=threads,
        machine=processor_name(),
    )


def mult_adds(model: nn.Module, inputs: Tensor) -> int:
    """Return how many multiplications a model does for inputs (n, *in_shape) in convolutions and matrix products.

    Biases, norms and activations, which take no matrix product, are not counted.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(inputs)
    return int(counter.get_total_flops()) // 2  # a multiplication and an addition are two operations


def _inputs(predictor: Predictor, n: int) -> Tensor:
    """Return inputs as large as a sample; their numbers do not change the time."""
    return torch.rand((n, *predictor.in_shape), generator=torch.Generator().manual_seed(0))


def _median_seconds(call: Callable[[], object]) -> float:
    for _ in range(_WARM_UP):
        call()
    found: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(found) < _REPEATS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return median(found)


def _reading(predictor: Predictor) -> float | None:
    """Return the seconds that reading and resizing a JPEG file of 512x512 pixels takes, from memory."""
    if predictor.transform is None:
        return None
    file = io.BytesIO()
    waves = np.add.outer(np.sin(np.arange(512) / 9), np.cos(np.arange(512) / 7))
    Image.fromarray((63 * waves + 128).astype(np.uint8)).convert("RGB").save(file, "JPEG")
    reader = ImageReader(predictor.transform, predictor.in_shape[0], predictor.name)
    sample = Sample("", file.getvalue())
    return _median_seconds(partial(reader.read, sample))


def _memory(run: Run, weights: str, threads: int) -> int | None:
    """Return the bytes that a process of its own takes to load the model and predict, None where it cannot tell."""
    code = "import sys; from dlworkflow.analysis.costs import memory_here; print(memory_here(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(run.path.resolve()), weights, str(threads), *named_files()]
    with guarded_start():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = done.stdout.strip().rpartition("\n")[2]
    return int(answer) if done.returncode == 0 and answer.isdigit() else None


def memory_here(folder: str, weights: str, threads: str, *code: str) -> int | None:
    """Return the most bytes that this process takes for a run's model and one prediction, beyond what it has now."""
    use_code(*code)
    torch.set_num_threads(int(threads))
    before = _memory_now()
    predictor = Predictor.from_run(Run(Path(folder)), weights=weights, device="cpu")
    predictor.answers(_inputs(predictor, 1))
    most = _most_memory()
    return None if before is None or most is None else max(0, most - before)


def _memory_now() -> int | None:
    """Return the bytes of memory that this process has, of which `_most_memory` is the most from here on."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the most before
    return _status("VmRSS") or _most_memory()


def _most_memory() -> int | None:
    if (found := _status("VmHWM")) is not None:
        return found
    if sys.platform != "darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status(key: str) -> int | None:
    """Return a line of Linux's table of this process, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return 1024 * int(line.split()[1])
    return None
