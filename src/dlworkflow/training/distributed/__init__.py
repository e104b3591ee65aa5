"""Distributed training: starting processes on one or more machines, joining them, and training one run in all.

`torchrun` starts them, or `launch` on one machine. Rank 0 writes the run; the others keep a copy of what they need in
a temporary folder, so that machines need no shared disk.
"""

from __future__ import annotations

from dlworkflow.training.distributed.group import LostProcessError as LostProcessError
from dlworkflow.training.distributed.group import Processes as Processes
from dlworkflow.training.distributed.joining import joined as joined
from dlworkflow.training.distributed.launching import launch as launch
from dlworkflow.training.distributed.training import resume_together as resume_together
from dlworkflow.training.distributed.training import train_together as train_together
