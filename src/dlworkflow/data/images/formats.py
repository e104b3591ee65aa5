"""Which formats of images are read, by which names their files go, and which files are no samples; imports no Pillow.

Only formats that Pillow decodes within this process: PostScript, for one, would start another program.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

FORMATS = {  # Pillow's name -> how names of such files end; those first that Pillow knows without a search
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
    "DIB": (),
}
IMAGE_EXTENSIONS = tuple(ending for endings in FORMATS.values() for ending in endings)
EIGHT_BITS = tuple(end for name in ("JPEG", "BMP", "GIF", "WEBP", "AVIF") for end in FORMATS[name])
"""Files of these names are decoded to 8 bits."""
HEIC_EXTENSIONS = (".heic", ".heif", ".hif")

NO_HEIC = "HEIC is not read here: convert it to JPEG, as with `magick x.heic x.jpg` or the Python package pillow-heif"

_OF_THE_SYSTEM = {  # what file servers, archives and desktops leave beside images, some of it small images
    *("@eadir", "__macosx", "#recycle", "#snapshot", "$recycle.bin", "lost+found"),
    *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}


def is_image(name: str) -> bool:
    """Return whether a file's name ends as an image's does."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def is_hidden(path: Path) -> bool:
    """Return whether a file or folder is no sample by its name: it starts with a dot, or is one of the system."""
    return path.name.startswith(".") or path.name.casefold() in _OF_THE_SYSTEM


def left_out(others: Collection[Path], hidden: Collection[Path] = (), beside: Iterable[Path] = ()) -> str:
    """Return how many files of each kind are left out, `3 .heic, 1 .txt`, '' for none.

    `others` are no images by their names, `beside` are images in no class folder.
    """
    kinds = Counter(path.suffix.lower() or "without an extension" for path in others)
    kinds.update(f"{path.suffix.lower()} beside the class folders" for path in beside)
    kinds.update({"hidden or of the system": len(hidden)} if hidden else {})
    counted = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common())
    first = next(iter(others), None)
    named = f" (such as {str(first)!r})" if first is not None else ""
    heic = f"; {NO_HEIC}" if any(path.suffix.lower() in HEIC_EXTENSIONS for path in others) else ""
    return f"{counted}{named}{heic}"


def known_as(head: bytes) -> str:
    """Return what a file is that is no image of these formats, from its first 16 bytes; '' where that is not clear."""
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1", b"heim", b"heis"):
        return f"is a HEIC image; {NO_HEIC}"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "is an AVIF image, which Pillow reads from version 11.3 on"
    if head.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6", b"\x04%!")):
        return "is PostScript, a program, which is not run; save it as PNG"
    if head.startswith(b"%PDF"):
        return "is a PDF; save its pages as PNG"
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"<svg", b"<?xml")):
        return "is XML, perhaps an SVG drawing; save it as PNG"
    return ""
