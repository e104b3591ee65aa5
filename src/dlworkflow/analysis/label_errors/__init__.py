"""Which labels of a data set are probably wrong: by predictions of models that have not seen them, copies, outliers.

`out_of_fold` gathers what a cross-validation predicted, `ranking` is confident learning, `copies` and `outliers` look
at images, `finding` joins them and `correcting` writes other labels into a new file. A further sign of a wrong label is
a module here and its line in `finding`.
"""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "correcting": ("write_corrected",),
        "finding": ("LabelErrors", "find_label_errors", "label_errors_of"),
        "planning": ("check_extra", "plan_check", "subject_of"),
    },
)
