"""Documents whose every word's place is known, because the test puts it there."""

from __future__ import annotations

from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

FONT, SIZE, LEFT, TOP = "Helvetica", 12, 72, 700
PAGE_WIDTH, PAGE_HEIGHT = A4
ANSWER = "The tenant may end the lease of the mill house with a notice period of eleven weeks."
FILLER = [
    "The mill house stands on the northern bank of the river Ilm and has two floors and a cellar.",
    "Rent is due on the third working day of each month and is paid into the account of the landlord.",
    "The cellar is damp in spring; paper, cloth and leather should not be kept there.",
    "The tenant heats with wood from the landlord's forest, eight cubic metres a year at no charge.",
    "Small repairs up to two hundred euros are paid by the tenant, larger ones by the landlord.",
]


def write_lease(path: Path) -> tuple[float, float, float, float]:
    """A lease of three pages; the answer to "How long is the notice period?" is one line of page 2.

    Returns that line's box in points, origin bottom left.
    """
    canvas = Canvas(str(path), pagesize=A4, invariant=1)
    box = (0.0, 0.0, 0.0, 0.0)
    for page in range(1, 4):
        canvas.setFont(FONT, SIZE)
        lines = [f"Lease of the mill house, part {page}", *FILLER]
        if page == 2:
            lines = [*FILLER[:2], ANSWER, *FILLER[2:]]
        for number, line in enumerate(lines):
            y = TOP - 40 * number
            canvas.drawString(LEFT, y, line)
            if line == ANSWER:
                box = (LEFT, y - 0.22 * SIZE, LEFT + stringWidth(line, FONT, SIZE), y + 0.75 * SIZE)
        canvas.showPage()
    canvas.save()
    return box
