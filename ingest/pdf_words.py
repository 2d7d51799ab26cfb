"""Words of a PDF page with their boxes, from few PDFium calls: two boxes a word, two fonts a run of words.

Asking PDFium for each character costs more than reading the page; a word's box is the union of its first and last
character's, which is exact for straight text.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium_c

from ingest.pdf_marks import compose_accents, has_spacing_accents, raise_marks
from ingest.pdfium import Sheet, sheet_of

HYPHEN_MARK = "\ufffe"  # PDFium puts it for a hyphen at a line's end
_LIGATURES = {
    0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st",
    0x0132: "IJ", 0x0133: "ij",
}  # fmt: skip
_SOFT_HYPHEN = 0xAD
_BOLD_NAMES = (b"bold", b"black", b"heavy", b"demi", b"cmbx")
_FORCE_BOLD = 1 << 18  # PDF 32000-1, table 123

# Calls through prototypes of plain integers skip the conversions of the typed bindings: half the time per word.
_get_loose_box = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(
    ctypes.cast(pdfium_c.FPDFText_GetLooseCharBox, ctypes.c_void_p).value or 0
)


@dataclass(frozen=True)
class Words:
    """The n words of one page in the file's own order, and the m runs (words on one line, close together) they form."""

    texts: list[str]  # never empty, no whitespace; HYPHEN_MARK may end one
    boxes: np.ndarray  # (n, 4) float32, points, page as shown, origin bottom left
    glued: np.ndarray  # (n,) bool: no space stands before this word (CJK characters are words of their own)
    turns: np.ndarray  # (n,) int8: reading direction, 0 rightwards, 1 upwards, 2 leftwards, 3 downwards
    run_starts: np.ndarray  # (m,) first word of each run
    run_sizes: np.ndarray  # (m,) float32 type size in points; 0 = unknown
    run_bold: np.ndarray  # (m,) bool

    def __len__(self) -> int:
        return len(self.texts)


NO_WORDS = Words(
    texts=[],
    boxes=np.zeros((0, 4), np.float32),
    glued=np.zeros(0, bool),
    turns=np.zeros(0, np.int8),
    run_starts=np.zeros(0, np.int64),
    run_sizes=np.zeros(0, np.float32),
    run_bold=np.zeros(0, bool),
)


@dataclass(frozen=True)
class RawPage:
    """What PDFium says about a page, before any layout."""

    sheet: Sheet
    words: Words
    unmapped: float  # share of sampled characters whose font has no Unicode map: their text is guesswork
    has_image: bool  # only looked up for pages without words


def read_words(page: pypdfium2.PdfPage) -> RawPage:
    """Read one loaded page; call under PDFIUM_LOCK. Raises pypdfium2.PdfiumError."""
    sheet = sheet_of(page)
    textpage = page.get_textpage()
    try:
        words, unmapped = _words(textpage, sheet)
    finally:
        textpage.close()
    has_image = not len(words) and _has_image(page)
    return RawPage(sheet, words, unmapped, has_image)


def _codes(textpage: pypdfium2.PdfTextPage) -> np.ndarray:
    """(count,) uint32 code of every character index; the bulk call drops some characters, then ask one by one."""
    count = textpage.count_chars()
    if count <= 0:
        return np.zeros(0, np.uint32)
    buffer = (ctypes.c_ushort * (count + 1))()
    written = pdfium_c.FPDFText_GetText(textpage, 0, count, buffer) - 1
    codes = np.frombuffer(buffer, np.uint16)[:count].astype(np.uint32)
    if written != count or ((codes >= 0xD800) & (codes < 0xE000)).any():
        get = pdfium_c.FPDFText_GetUnicode
        codes = np.fromiter((get(textpage, i) for i in range(count)), np.uint32, count)
    codes[codes == 2] = ord(HYPHEN_MARK)
    return codes


def _is_cjk(codes: np.ndarray) -> np.ndarray:
    return (
        ((codes >= 0x3001) & (codes <= 0x30FF))
        | ((codes >= 0x3400) & (codes <= 0x9FFF))
        | ((codes >= 0xF900) & (codes <= 0xFAFF))
        | ((codes >= 0xFF01) & (codes <= 0xFF60))
        | ((codes >= 0x20000) & (codes <= 0x3FFFF))
    )


def _words(textpage: pypdfium2.PdfTextPage, sheet: Sheet) -> tuple[Words, float]:
    codes = _codes(textpage)
    if not len(codes):
        return NO_WORDS, 0.0
    space = (codes <= 32) | ((codes >= 0x7F) & (codes <= 0xA0)) | ((codes >= 0x2000) & (codes <= 0x200F))
    space |= (codes == 0x3000) | (codes == 0xFEFF) | (codes == 0x202F) | (codes == 0x2028) | (codes == 0x2029)
    bad = ((codes >= 0xD800) & (codes < 0xE000)) | (codes > 0x10FFFF) | (codes == 0xFFFF)
    codes[bad] = 0xFFFD
    cjk = _is_cjk(codes)

    before = np.concatenate([[True], space[:-1]])
    # PDFium joins what stands before and after a hyphen at a line's end: each half is a word with a box of its own.
    hyphen = codes == ord(HYPHEN_MARK)
    starts_at = ~space & (before | cjk | np.concatenate([[False], (cjk | hyphen)[:-1]]))
    starts = np.flatnonzero(starts_at)
    if not len(starts):
        return NO_WORDS, 0.0
    glued = ~before[starts]
    stops = np.minimum(np.concatenate([starts[1:], [len(codes)]]), _next_space(space)[starts])

    raw = _end_boxes(textpage, starts, stops)
    first, last = sheet.to_shown(raw[:, 0]), sheet.to_shown(raw[:, 1])
    boxes = np.concatenate([np.minimum(first[:, :2], last[:, :2]), np.maximum(first[:, 2:], last[:, 2:])], axis=1)
    turns = _turns(first, last, stops - starts, sheet)

    # What lies wholly off the visible sheet is not shown, hence not read.
    shown = (boxes[:, 2] > 0) & (boxes[:, 0] < sheet.width) & (boxes[:, 3] > 0) & (boxes[:, 1] < sheet.height)
    shown &= np.isfinite(boxes).all(axis=1)
    if not shown.all():
        starts, stops, boxes, glued, turns = (a[shown] for a in (starts, stops, boxes, glued, turns))
        if not len(starts):
            return NO_WORDS, 0.0

    text = codes.astype("<u4").tobytes().decode("utf-32-le", "replace")
    texts = [text[s:e] for s, e in zip(starts.tolist(), stops.tolist(), strict=True)]
    if ((codes == _SOFT_HYPHEN) | ((codes >= 0xFB00) & (codes <= 0xFB06)) | (codes == 0x132) | (codes == 0x133)).any():
        texts = [_mend(word) for word in texts]
    if has_spacing_accents(text):
        texts = [compose_accents(word) for word in texts]
    raise_marks(textpage, texts, glued, starts, stops, first[shown], last[shown], turns)
    glued |= _small_capitals(texts, boxes, turns)
    run_starts = find_runs(boxes, turns, glued)
    sizes, bold = _fonts(textpage, starts, stops, run_starts, texts)
    boxes = _mend_heights(boxes, turns, run_starts, sizes)
    sample = starts[:: max(1, len(starts) // 40)]
    unmapped = float(np.mean([pdfium_c.FPDFText_HasUnicodeMapError(textpage, int(i)) == 1 for i in sample]))
    return Words(texts, boxes.astype(np.float32), glued, turns, run_starts, sizes, bold), unmapped


def _next_space(space: np.ndarray) -> np.ndarray:
    """For each index the next index that is a space (or the length)."""
    positions = np.where(space, np.arange(len(space)), len(space))
    return np.minimum.accumulate(positions[::-1])[::-1]


def _end_boxes(textpage: pypdfium2.PdfTextPage, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """(n, 2, 4) x0, y0, x1, y1 in user space of each word's first and last character."""
    rects = np.zeros((len(starts) * 2, 4), np.float32)  # FS_RECTF: left, top, right, bottom
    handle = ctypes.cast(textpage.raw, ctypes.c_void_p).value
    address = rects.ctypes.data
    for index in np.stack([starts, stops - 1], axis=1).ravel().tolist():
        _get_loose_box(handle, index, address)
        address += 16
    left, top, right, bottom = rects.T
    boxes = np.stack([left, np.minimum(bottom, top), np.maximum(left, right), np.maximum(bottom, top)], axis=1)
    return boxes.reshape(-1, 2, 4)


def _turns(first: np.ndarray, last: np.ndarray, lengths: np.ndarray, sheet: Sheet) -> np.ndarray:
    """Reading direction of each word as shown, from where its last character lies; short words follow neighbours."""
    delta = (last[:, :2] + last[:, 2:] - first[:, :2] - first[:, 2:]) / 2
    upright = np.abs(delta[:, 1]) <= np.abs(delta[:, 0])
    turns = np.where(upright, np.where(delta[:, 0] < 0, 2, 0), np.where(delta[:, 1] > 0, 1, 3)).astype(np.int8)
    unsure = lengths < 2
    if not unsure.any() or not turns[~unsure].any():
        turns[unsure] = 0
        if not len(turns[~unsure]):  # single characters only (CJK): the page's own rotation decides nothing here
            return turns
        return turns
    known = np.where(unsure, -1, np.arange(len(turns)))
    known = np.maximum.accumulate(known)
    return np.where(known >= 0, turns[np.maximum(known, 0)], 0).astype(np.int8)


def upright_boxes(boxes: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Boxes turned so that text runs rightwards: x0, top, x1, bottom with y growing *downwards* (any origin)."""
    x0, y0, x1, y1 = boxes.T
    out = np.stack([x0, -y1, x1, -y0], axis=1)
    for turn, columns in ((1, (y0, x0, y1, x1)), (2, (-x1, y0, -x0, y1)), (3, (-y1, -x1, -y0, -x0))):
        mask = turns == turn
        if mask.any():
            out[mask] = np.stack(columns, axis=1)[mask]
    return out


def find_runs(boxes: np.ndarray, turns: np.ndarray, glued: np.ndarray) -> np.ndarray:
    """First words of runs: a run ends where the line, the direction or the closeness of words ends."""
    x0, top, x1, bottom = upright_boxes(boxes, turns).T
    height = np.maximum(bottom - top, 0.1)
    smaller = np.minimum(height[1:], height[:-1])
    overlap = np.minimum(bottom[1:], bottom[:-1]) - np.maximum(top[1:], top[:-1])
    gap = x0[1:] - x1[:-1]
    em = np.maximum(height[1:], height[:-1])
    # 0.75 of the line height is wider than a justified space and narrower than a gutter (12 points at 10-point type)
    same = (overlap > 0.5 * smaller) & (gap < 0.75 * em) & (gap > -0.5 * em) & (turns[1:] == turns[:-1])
    return np.flatnonzero(np.concatenate([[True], ~same]))


def _fonts(
    textpage: pypdfium2.PdfTextPage, starts: np.ndarray, stops: np.ndarray, run_starts: np.ndarray, texts: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Type size (points on the sheet) of each run by its first words; bold when its first and its last word are."""
    sizes = np.zeros(len(run_starts), np.float32)
    bold = np.zeros(len(run_starts), bool)
    matrix, flags, name = pdfium_c.FS_MATRIX(), ctypes.c_int(), ctypes.create_string_buffer(96)

    def is_bold(index: int) -> bool:
        name.value = b""
        pdfium_c.FPDFText_GetFontInfo(textpage, index, name, len(name), flags)
        font = name.value.lower()
        return bool(flags.value & _FORCE_BOLD) or any(mark in font for mark in _BOLD_NAMES)

    def size_of(word: int) -> float:
        size = pdfium_c.FPDFText_GetFontSize(textpage, int(starts[word]))
        if pdfium_c.FPDFText_GetMatrix(textpage, int(starts[word]), matrix):
            size *= (matrix.c * matrix.c + matrix.d * matrix.d) ** 0.5
        return float(size)

    run_stops = np.append(run_starts[1:], len(stops))
    for i, word in enumerate(run_starts.tolist()):
        sizes[i] = size_of(word)
        if len(texts[word]) <= 2 and not _is_initial(texts[word]) and run_stops[i] - word > 2:
            sizes[i] = max(sizes[i], size_of(word + 1))  # the small mark at the beginning of a footnote
        if texts[word][0].isdigit():  # figures in tables: most runs, never headings by themselves
            continue
        last = int(stops[run_stops[i] - 1]) - 1
        bold[i] = is_bold(int(starts[word])) and is_bold(last)
    return sizes, bold


def _is_initial(word: str) -> bool:
    return word.isalpha() and word.isupper()


def _small_capitals(texts: list[str], boxes: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """(n,) bool: words that continue a single large capital before them ("M ANAGEMENT" set in small capitals)."""
    continues = np.zeros(len(texts), bool)
    single = [i for i, word in enumerate(texts[:-1]) if len(word) == 1 and word.isupper() and texts[i + 1].isupper()]
    for i in single:
        if turns[i] or turns[i + 1]:
            continue
        large, small = boxes[i], boxes[i + 1]
        height = large[3] - large[1]
        near = -0.1 * height < small[0] - large[2] < 0.35 * height and large[1] <= small[1] <= large[3]
        continues[i + 1] = near and 0.5 * height < small[3] - small[1] < 0.88 * height
    return continues


def _mend_heights(boxes: np.ndarray, turns: np.ndarray, run_starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Fonts with broken metrics give flat or giant boxes: bring these to the type size around their middle."""
    counts = np.diff(np.concatenate([run_starts, [len(boxes)]]))
    size = np.repeat(sizes, counts)
    sideways = turns % 2 == 1
    low, high = np.where(sideways, boxes[:, 0], boxes[:, 1]), np.where(sideways, boxes[:, 2], boxes[:, 3])
    height = high - low
    odd = (size > 1) & ((height < 0.5 * size) | (height > 2.2 * size))
    if not odd.any():
        return boxes
    middle, half = (low + high) / 2, 0.55 * size
    low, high = np.where(odd, middle - half, low), np.where(odd, middle + half, high)
    mended = boxes.copy()
    mended[:, 0], mended[:, 2] = np.where(sideways, low, boxes[:, 0]), np.where(sideways, high, boxes[:, 2])
    mended[:, 1], mended[:, 3] = np.where(sideways, boxes[:, 1], low), np.where(sideways, boxes[:, 3], high)
    return mended


def _mend(word: str) -> str:
    """Ligatures to letters; a soft hyphen counts only at the end of a line."""
    word = word.translate(_LIGATURES)
    if "\xad" in word:
        ends = word.endswith("\xad")
        word = word.replace("\xad", "") or "-"
        word = word + HYPHEN_MARK if ends and word != "-" else word
    return word


def _has_image(page: pypdfium2.PdfPage) -> bool:
    return any(True for _ in page.get_objects(filter=(pdfium_c.FPDF_PAGEOBJ_IMAGE,), max_depth=3))
