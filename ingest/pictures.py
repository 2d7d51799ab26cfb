"""Photographs and scans that come as image files: the same picture as a PDF, one image a page, for everything behind.

>>> if is_picture(path): pdf = picture_as_pdf(path, name="letter.jpg")
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import DocumentError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
MAX_PIXELS = 100_000_000  # of one image: a bomb unpacks to more
MAX_PAGES = 500  # images in one TIFF
LONG_SIDE = 842.0  # points: how long a sheet of A4 is, for images that do not say
_FORMATS = ("PNG", "JPEG", "TIFF")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*")
_REMEDY = "Save it again as PNG or JPEG, or as a PDF"


def is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8).startswith(_MAGIC)


def picture_as_pdf(path: Path, *, name: str) -> bytes:
    """The images of a PNG, JPEG or TIFF file as the pages of a PDF, upright. Raises DocumentError."""
    from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

    pages: list[Image.Image] = []
    dots = 0.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images: the limit is ours
            with Image.open(path, formats=_FORMATS) as picture:
                if getattr(picture, "n_frames", 1) > MAX_PAGES:
                    raise DocumentError(f"{name} has more than {MAX_PAGES} images", remedy="Split it")
                for frame in ImageSequence.Iterator(picture):
                    if frame.width * frame.height > MAX_PIXELS:
                        size = f"{frame.width:,} x {frame.height:,} pixels"
                        raise DocumentError(f"{name} has {size}, more than can be read", remedy="Save it smaller")
                    dots = dots or float(frame.info.get("dpi", (0, 0))[0])
                    pages.append(_flat(ImageOps.exif_transpose(frame)))
        data = io.BytesIO()
        first = pages[0]
        scanned = 100 < dots <= 1200  # what cameras write there (72, 1) is no measure of a sheet
        resolution = dots if scanned else max(first.size) * 72 / LONG_SIDE
        first.save(data, "PDF", save_all=True, append_images=pages[1:], resolution=resolution)
    except UnidentifiedImageError as error:  # its text names our copy of the file
        raise DocumentError(f"{name} begins like an image but is none", remedy=_REMEDY) from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DocumentError(f"{name} is an image that cannot be opened: {error}", remedy=_REMEDY) from error
    return data.getvalue()


def _flat(image: Image.Image) -> Image.Image:
    """`image` without transparency, on white paper."""
    from PIL import Image

    if image.mode in ("1", "L", "RGB"):
        return image.copy()
    if image.mode in ("I", "I;16", "F"):
        return image.convert("I").point(lambda value: value / 256).convert("L")
    shown = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")
