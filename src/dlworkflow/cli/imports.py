"""Importing torch, which takes most of the time of a short command, and ending a process that has."""

from __future__ import annotations

import gc
import sys


def import_torch() -> None:
    """Import torch without looking for garbage in between: nothing of a module is any.

    What was imported is left out of later searches too, in training and at the end, which take seconds in all.
    """
    if "torch" in sys.modules:
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401 - others use it
    finally:
        if was_enabled:
            gc.enable()
    gc.freeze()


def end_without_search() -> None:
    """Let the process end without a last search for garbage: its memory is given back anyway."""
    gc.freeze()
