"""Tables are read from where words stand on a sheet, or from bars: rows, cells, and what heads them."""

from __future__ import annotations

from pathlib import Path

from reportlab.pdfgen.canvas import Canvas

from core.settings import IngestSettings
from ingest.readers import read_document
from ingest.types import Page
from rag.page_tables import row_at, tables_of

MACHINES = [
    ("", "Model K", "Model W"),
    ("Water tank", "1.8 l", "2.1 l"),
    ("Bean container", "none", "250 g"),
    ("Weight", "5.2 kg", "7.9 kg"),
]
FAULTS = [  # each line as it is set: cells wrap, and wrapped lines stand nearer than rows
    (0, ("Fault", "Cause", "Remedy")),
    (16, ("Lamp blinks slowly", "Overheated", "Switch off and wait, then")),
    (11, ("", "", "try again")),
    (16, ("Milk does not", "Wand blocked", "Clean the hole")),
    (11, ("froth", "", "")),
    (16, ("Loud pump", "Air in it", "Run some water")),
]
PROSE = "Rinse the tank, fill it to the mark and push it in until it clicks, as the picture on the next page shows."


def drawn(path: Path, lines: list[tuple[float, tuple[str, ...]]], *, columns: tuple[int, ...] = (72, 220, 330)) -> Page:
    canvas = Canvas(str(path))
    canvas.setFont("Helvetica", 10)
    canvas.drawString(72, 760, PROSE[:80])
    height = 700.0
    for step, cells in lines:
        height -= step
        for x, cell in zip(columns, cells, strict=False):
            canvas.drawString(x, height, cell)
    canvas.drawString(72, height - 40, PROSE[:80])
    canvas.save()
    return read_document(path, settings=IngestSettings()).pages[0]


def told(page: Page) -> list[str]:
    return [table.told(row) for table in tables_of(page) for row in table.rows]


def test_cells_are_told_with_what_stands_above_them(tmp_path: Path) -> None:
    page = drawn(tmp_path / "machines.pdf", [(15, row) for row in MACHINES])
    assert told(page) == [
        "Water tank: 1.8 l (Model K), 2.1 l (Model W)",
        "Bean container: none (Model K), 250 g (Model W)",
        "Weight: 5.2 kg (Model K), 7.9 kg (Model W)",
    ]


def test_an_empty_cell_moves_no_figure_to_another_year(tmp_path: Path) -> None:
    rows = [
        ("", "Note", "2023", "2022"),
        ("Revenue", "2", "412", "425"),
        ("Profit", "", "62", "80"),
        ("Taxes", "8", "12", "16"),
    ]
    page = drawn(tmp_path / "income.pdf", [(15, row) for row in rows], columns=(72, 220, 300, 380))
    table = tables_of(page)[0]
    assert table.told(table.rows[1]) == "Profit: 62 (2023), 80 (2022)"
    assert table.told(table.rows[0], years=("2023",)) == "Revenue: 412 (2023)"
    assert table.told(table.rows[0], years=("2019",)) == "Revenue: 2 (Note), 412 (2023), 425 (2022)"


def test_signs_set_apart_join_their_figures_and_heads_may_have_two_lines(tmp_path: Path) -> None:
    rows = [
        ("", "", "December 31,", "", "December 31,"),
        ("", "", "2023", "", "2022"),
        ("Cash", "$", "54", "$", "68"),
        ("Debt", "", "(12)", "", "(9)"),
        ("Share", "", "41 %", "", "39 %"),
    ]
    columns = (72, 200, 230, 330, 360)
    page = drawn(tmp_path / "balance.pdf", [(15, row) for row in rows], columns=columns)
    assert told(page) == [
        "Cash: $54 (December 31, 2023), $68 (December 31, 2022)",
        "Debt: (12) (December 31, 2023), (9) (December 31, 2022)",
        "Share: 41% (December 31, 2023), 39% (December 31, 2022)",
    ]
    broken = drawn(tmp_path / "broken.pdf", [(15, row) for row in (rows[0], *rows[2:])], columns=columns)
    assert told(broken)[0] == "Cash: $54, $68"  # half a date heads nothing


def test_lines_that_stand_nearer_than_rows_go_on_in_their_cells(tmp_path: Path) -> None:
    page = drawn(tmp_path / "faults.pdf", FAULTS)
    assert told(page) == [
        "Lamp blinks slowly: Overheated (Cause), Switch off and wait, then try again (Remedy)",
        "Milk does not froth: Wand blocked (Cause), Clean the hole (Remedy)",
        "Loud pump: Air in it (Cause), Run some water (Remedy)",
    ]


def test_a_row_is_found_by_any_of_its_characters_and_prose_is_no_table(tmp_path: Path) -> None:
    page = drawn(tmp_path / "faults.pdf", FAULTS)
    tables = tables_of(page)
    start = page.text.index("Overheated")
    place = row_at(tables, start, start + 4)
    assert place is not None and page.text[place[1].start : place[1].end].startswith("Lamp blinks slowly")
    assert row_at(tables, 0, 20) is None
    lines: list[tuple[float, tuple[str, ...]]] = [(14, (PROSE[:70],))] * 5
    assert not tables_of(drawn(tmp_path / "prose.pdf", lines))


def test_cells_between_bars_and_tables_without_heads() -> None:
    text = "Limits\nKind | In all | For one\nValuables | £12,000 | £2,500\nCash | £400 | £400\n\nThe end."
    assert told(Page(1, text)) == [
        "Valuables: £12,000 (In all), £2,500 (For one)",
        "Cash: £400 (In all), £400 (For one)",
    ]
    markdown = "| | Jan | Feb |\n|---|---|---|\n| Rain | 80 | 61 |\n| Sun | 40 | 71 |"
    assert told(Page(1, markdown)) == ["Rain: 80 (Jan), 61 (Feb)", "Sun: 40 (Jan), 71 (Feb)"]
    assert told(Page(1, "Rain | 80 | 61\nSun | 40 | 71")) == ["Rain: 80, 61", "Sun: 40, 71"]
