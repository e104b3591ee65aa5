"""A run behind HTTP: `app` answers requests, `service` predicts them in batches, `running` listens on a port.

`reading` takes a request's body within `limits`, `page` is the web page. Knows nothing of the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlworkflow.registry import lazy_names

if TYPE_CHECKING:
    from dlworkflow.inference.server.app import make_app as make_app
    from dlworkflow.inference.server.limits import Limits as Limits

__getattr__, __dir__, __all__ = lazy_names(__name__, {"app": ("make_app",), "limits": ("Limits",)})
