"""What is wrong with a folder of images: unreadable files, duplicates, leakage between splits, class folders."""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "folder": ("check_folder",),
        "report": ("FolderReport",),
    },
)
