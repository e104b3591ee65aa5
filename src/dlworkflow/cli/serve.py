"""`dlw serve`: a run behind HTTP, with a web page."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.options import (
    BackendOption,
    DeviceOption,
    MaxErrorOption,
    MinConfidenceOption,
    RejectUnknownOption,
    RunArgument,
    RunsDirOption,
    UncalibratedOption,
    Weights,
    count,
    say,
)


def port_number(text: str) -> int:
    """Read an option's port: a whole number from 0 to 65535."""
    given = str(text)  # the default comes as a number
    if not (given.isascii() and given.isdecimal() and int(given) < 2**16):
        raise typer.BadParameter(f"must be a whole number from 0 to 65535, not {given!r}")
    return int(given)


@takes_code
def serve(
    run: RunArgument = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="HOST", help="Address to listen at: 127.0.0.1 for this machine alone, 0.0.0.0 for its network, too."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", parser=port_number, help="Port to listen at; 0 takes a free one.")
    ] = 8000,
    weights: Annotated[Weights, typer.Option(help="Weights of the best or of the last epoch.")] = Weights.best,
    min_confidence: MinConfidenceOption = None,
    max_error: MaxErrorOption = None,
    reject_unknown: RejectUnknownOption = False,
    uncalibrated: UncalibratedOption = False,
    backend: BackendOption = None,
    device: DeviceOption = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", parser=count, help="Images at most in a batch, of several requests."),
    ] = 32,
    queue: Annotated[
        int,
        typer.Option(metavar="N", parser=count, help="Requests at most at once; a further one is answered with 429."),
    ] = 128,
    timeout: Annotated[
        int,
        typer.Option(metavar="N", parser=count, help="Seconds in which a request must arrive, and be predicted."),
    ] = 30,
    max_mb: Annotated[
        int, typer.Option("--max-mb", metavar="N", parser=count, help="Megabytes (1,000,000 bytes) of a request.")
    ] = 64,
    max_files: Annotated[int, typer.Option("--max-files", metavar="N", parser=count, help="Images of a request.")] = 32,
    runs_dir: RunsDirOption = None,
) -> None:
    """Serve the predictions of a run over HTTP, with a web page.

    The page at / predicts images that are dropped on it or taken with the camera, or rows of numbers. Programs send
    images or rows to /predict and read JSON; /docs describes it. Requests that arrive together are predicted as one
    batch. With --min-confidence, --max-error or --reject-unknown some answers are `unsure`.
    Nothing is written. Ctrl-C or SIGTERM ends it when all requests are answered, with exit code 0.

    Examples:
    dlw serve tinyvgg                         # then open http://127.0.0.1:8000
    dlw serve best --host 0.0.0.0 --port 80   # for the network
    """
    from importlib.util import find_spec

    from dlworkflow.cli.predict_model import cautious, chosen_weights, note_stale_calibration
    from dlworkflow.errors import ConfigError, not_installed
    from dlworkflow.runs import find_run

    if missing := [package for package in ("fastapi", "uvicorn", "python_multipart") if find_spec(package) is None]:
        raise ConfigError(not_installed("dlw serve", missing[0], "serve"))
    found = find_run(run, runs_dir, fits=lambda summary: bool(summary.best), what="trained run")

    from dlworkflow.inference.backends import predictor_of
    from dlworkflow.inference.server import Limits, make_app
    from dlworkflow.inference.server.running import address_of, is_local, listen, own_names
    from dlworkflow.inference.server.running import serve as answer

    limits = Limits(bytes=max_mb * 10**6, files=max_files, seconds=timeout, queue=queue, batch_size=batch_size)
    with listen(host, port) as listening:
        options: dict[str, Any] = {"device": device or "auto", "calibrated": not uncalibrated}
        options["backend"] = backend or ("torch" if reject_unknown else "auto")
        predictor = predictor_of([found], weights=weights.value, **options, on_note=lambda text: say(f"note    {text}"))
        predictor = cautious(predictor, min_confidence, max_error, reject_unknown)
        app = make_app(predictor, limits, about={"run": found.name}, hosts=own_names(listening, host))
        which = chosen_weights(weights.value, None, predictor.backend, [predictor.temperature])
        if not uncalibrated:
            note_stale_calibration(found, weights.value)
        say(f"run {found.path} {which} at {address_of(listening)} (Ctrl-C ends it)")  # from here on it reads no run
        if not is_local(listening):
            say("note    whoever reaches this machine can use it: there is no password and no encryption")
        answer(app, listening, limits)
