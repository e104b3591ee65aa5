"""What scikit-learn's gradient boosting scores on the same rows: on tables it is often better than a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dlworkflow.data.protocol import all_of
from dlworkflow.engine.losses import Loss, build_loss
from dlworkflow.engine.tasks import get_task

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from dlworkflow.data.splits import Splits

QUICK = 1_000_000
"""Cells of the training rows, times the outputs, up to which it takes a second or two."""


def is_quick(splits: Splits) -> bool:
    """Return whether the boosting of a table takes a second or two at most."""
    cells = len(splits.train) * splits.in_shape[0]  # type: ignore[arg-type] # a table is in memory
    return cells * splits.n_outputs <= QUICK


def boosting_score(splits: Splits, part: Dataset[Any], *, loss: Loss) -> float:
    """Train gradient boosting on the training and validation rows of a table and score it on `part`, always the same.

    The rows are those of the network, with missing values filled alike. Returns the accuracy, or of a regression the
    loss that is named.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    given = [all_of(own) for own in (splits.train, splits.val) if own is not None]
    X, y = (torch.cat(tensors).numpy() for tensors in zip(*given, strict=True))
    X_part, y_part = all_of(part)
    if splits.classes:
        model: Any = HistGradientBoostingClassifier(random_state=0).fit(X, y.ravel())
        return float((model.predict(X_part.numpy()) == y_part.numpy().ravel()).mean())
    aim = "absolute_error" if loss == "l1" else "squared_error"
    model = HistGradientBoostingRegressor(loss=aim, random_state=0).fit(X, y.ravel())
    predicted = torch.from_numpy(model.predict(X_part.numpy())).to(y_part.dtype).reshape(y_part.shape)
    return float(build_loss(get_task(splits.task), loss)(predicted, y_part))
