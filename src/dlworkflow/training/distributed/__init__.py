"""Many processes, on one machine or several: how they are started, find each other, and train one run together.

`torchrun` starts them, or `launch`, which does on one machine what torchrun does. Rank 0 writes the run; the others
keep what they need of it in a folder of their own, so that machines need not share a disk.
"""

from __future__ import annotations

from dlworkflow.training.distributed.group import LostProcessError as LostProcessError
from dlworkflow.training.distributed.group import Processes as Processes
from dlworkflow.training.distributed.joining import joined as joined
from dlworkflow.training.distributed.launching import launch as launch
from dlworkflow.training.distributed.training import resume_together as resume_together
from dlworkflow.training.distributed.training import train_together as train_together
