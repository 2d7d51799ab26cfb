"""Writes coffee-machine-manual.pdf, the example of the first visit: `python -m web.examples.make_manual`.

Needs reportlab (in requirements-dev.txt); the PDF itself is shipped. Machine, maker and figures are invented.
"""

from __future__ import annotations

from pathlib import Path

from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

TITLE = "Morgenrot 2 Espresso Machine: Owner's Manual"
INK, SOFT, ACCENT = colors.HexColor("#24272b"), colors.HexColor("#6a6d72"), colors.HexColor("#8a3b1e")
SERIF, SERIF_BOLD, SANS, SANS_BOLD = "Times-Roman", "Times-Bold", "Helvetica", "Helvetica-Bold"

BODY = ParagraphStyle("body", fontName=SERIF, fontSize=11.5, leading=16.5, textColor=INK, spaceAfter=7)
CHAPTER = ParagraphStyle("chapter", fontName=SANS_BOLD, fontSize=17, leading=22, textColor=ACCENT, spaceAfter=10)
SECTION = ParagraphStyle(
    "section", fontName=SANS_BOLD, fontSize=12, leading=16, textColor=INK, spaceBefore=9, spaceAfter=4
)
CELL = ParagraphStyle("cell", fontName=SERIF, fontSize=10, leading=13.5, textColor=INK)
CELL_HEAD = ParagraphStyle("cell_head", parent=CELL, fontName=SANS_BOLD, fontSize=9)
COVER = ParagraphStyle("cover", fontName=SANS_BOLD, fontSize=30, leading=36, textColor=ACCENT, alignment=TA_CENTER)
COVER_SMALL = ParagraphStyle("cover_small", fontName=SANS, fontSize=12, leading=18, textColor=SOFT, alignment=TA_CENTER)

# A chapter: its title, then paragraphs; a line that begins with "# " is a section, a list is a table.
Chapter = tuple[str, list[str | list[list[str]]]]

CHAPTERS: list[Chapter] = [
    (
        "1 Before you begin",
        [
            "Thank you for choosing the Morgenrot 2. It is a single-boiler espresso machine for the home, built to be "
            "opened, cleaned and repaired. Read this manual once from front to back; after that, the table of lamps in "
            "chapter 7 is the part you will come back to.",
            "# What is in the box",
            "The box holds the machine, a bottomless portafilter, a single basket, a double basket, a blind basket for "
            "cleaning, a 58 mm tamper, a measuring scoop, a test strip for water hardness and a soft brush. Keep the "
            "box and its foam for as long as the warranty runs: a machine that is sent in without them is sent back in "
            "new packing at your expense.",
            "# Your safety",
            "Place the machine on a level, dry surface that bears at least 25 kg. Keep 10 cm free on every side and "
            "20 cm above, for the steam has to go somewhere. Never run the machine with an empty tank: the pump is "
            "cooled by the water it moves and is damaged within two minutes of running dry.",
            "Children from the age of eight may use the machine when somebody watches them. The steam wand and the "
            "brew group reach 120 degrees Celsius; let both cool down for 30 minutes before you clean them by hand.",
        ],
    ),
    (
        "2 Setting up",
        [
            "# Water",
            "Use fresh drinking water between 5 and 25 degrees Celsius. Fill the tank up to the upper mark, which is "
            "1.8 litres. Dip the test strip into the water for one second, wait a minute, and count the pink fields: "
            "none or one is soft water, two is medium, three or four is hard. You will need the result in chapter 6.",
            "Distilled water must not be used. The level probe in the boiler works by the conductivity of the water, "
            "and pure water looks to it like an empty boiler.",
            "# First heating",
            "Plug the machine into an earthed socket and press the main switch. The brew lamp flashes while the boiler "
            "heats and stays lit when it is ready, which takes about nine minutes from cold. Then place a cup under "
            "the brew group and run half a litre of water through it without coffee, and another half litre through "
            "the steam wand. This rinses the parts and fills every pipe.",
            "# Standby",
            "After 45 minutes without use the machine turns its heater off and the main lamp glows faintly. Any button "
            "wakes it. To change the delay, hold the main switch for five seconds and press the brew button once for "
            "each quarter of an hour.",
        ],
    ),
    (
        "3 Making espresso",
        [
            "# Dose and grind",
            "The single basket takes 9 grams of coffee, the double basket 18 grams. Grind as fine as table salt. Level "
            "the grounds with a finger and tamp once, straight down, with about 15 kg of force. The surface should "
            "stand two millimetres below the rim.",
            "# Brewing",
            "Lock the portafilter firmly to the right, put a warm cup beneath and press the brew button. The machine "
            "first wets the coffee at low pressure for six seconds and then brews at 9 bar. A double espresso of 36 "
            "grams should take between 25 and 30 seconds from the moment the pump is heard.",
            "If the coffee runs through in less than 20 seconds, grind finer; if it takes more than 35 seconds or only "
            "drips, grind coarser. Change the grind before you change the dose, and only one of them at a time.",
            "# Temperature",
            "The brewing temperature is 93 degrees Celsius when it leaves the factory. Light roasts gain from 95, dark "
            "roasts from 90. Hold the brew and the hot water button together until the brew lamp blinks twice; each "
            "press of the brew button then raises the temperature by one degree, and after 96 it begins again at 88.",
        ],
    ),
    (
        "4 Milk and steam",
        [
            "Press the steam button and wait until the steam lamp stays lit, about 40 seconds. Open the valve for a "
            "moment over the drip tray to blow out the water that has gathered in the wand.",
            "# Frothing",
            "Fill the jug with cold milk up to the beginning of the spout, at most half. Hold the tip of the wand just "
            "below the surface until the jug feels as warm as your hand, then lower it and let the milk turn until the "
            "jug is almost too hot to touch. That is about 60 degrees Celsius; above 70 the milk loses its sweetness.",
            "Wipe the wand with a damp cloth and open the valve for two seconds after every use. Milk that dries "
            "inside the tip is the most common reason for weak steam.",
            "# Back to coffee",
            "The boiler is too hot for coffee after steaming. Press the steam button again and run hot water until the "
            "brew lamp stops flashing; this takes about 150 millilitres. Brewing straight after steaming tastes burnt.",
        ],
    ),
    (
        "5 Daily and weekly care",
        [
            "# Every day",
            "Knock out the puck, rinse the portafilter, and run the brew group for three seconds without it. Empty the "
            "drip tray when the red float rises through its slot. Rinse the tank and fill it anew: water that stood "
            "for more than two days should not be used for coffee.",
            "# Every week",
            "Put the blind basket into the portafilter, add three grams of cleaning powder, lock it in and press the "
            "brew button for ten seconds, then pause for ten. Repeat this five times, rinse the basket, then do it "
            "five times with water alone. Only the portafilter's baskets may go into the dishwasher; the portafilter "
            "itself, its handle and the drip tray may not.",
            "# Every year",
            "Replace the group gasket once a year, or sooner when the portafilter turns past the middle or drips while "
            "brewing. The part number is MR2-0418. The gasket is pushed in with its bevel facing upwards; grease it "
            "thinly with the silicone grease for drinking water, never with cooking oil.",
        ],
    ),
    (
        "6 Descaling",
        [
            "Scale is lime from the water that settles in the boiler. It slows the heating, blocks valves and is the "
            "cause of most repairs. How often you descale depends on the hardness that you measured in chapter 2.",
            [
                ["Water", "Fields on the strip", "Descale after", "With a filter cartridge"],
                ["soft", "0 or 1", "6 months", "12 months"],
                ["medium", "2", "3 months", "8 months"],
                ["hard", "3 or 4", "6 weeks", "4 months"],
            ],
            "With hard water, descale the machine every six weeks; the descaling lamp reminds you after 120 litres in "
            "any case. Use citric acid or the maker's own powder. Vinegar attacks the seals and voids the warranty.",
            "# How to descale",
            "Dissolve 30 grams of citric acid in one litre of lukewarm water and pour it into the tank. Hold the hot "
            "water button for five seconds: the descaling lamp lights up and the machine works by itself for 25 "
            "minutes. When the lamp flashes, rinse the tank, fill it with fresh water and press the button again. The "
            "rinse takes another eight minutes. Do not drink what comes out.",
            "Never interrupt descaling by pulling the plug. If the current fails, the machine starts the rinse by "
            "itself when it comes back.",
        ],
    ),
    (
        "7 Lamps and faults",
        [
            [
                ["Lamp", "Meaning", "What to do"],
                ["Brew lamp flashes", "The boiler is heating or cooling", "Wait until it stays lit"],
                ["Tank lamp lit", "The tank is empty or not seated", "Fill it, push it down until it clicks"],
                [
                    "Steam lamp flashes red",
                    "The boiler is above 135 degrees",
                    "Switch off, let it cool for 30 minutes",
                ],
                ["Descaling lamp lit", "120 litres since the last descaling", "Descale, see chapter 6"],
                ["All lamps flash", "A temperature sensor has failed", "Unplug, call the service"],
            ],
            "A flashing red steam lamp means that the boiler has become too hot and that the safety thermostat has cut "
            "the heater off. Switch the machine off and let it cool down for 30 minutes. If the lamp flashes again "
            "within a day, do not use the machine and call the service.",
            "# No coffee comes out",
            "Listen to the pump. If it is loud, there is air in the pipe: open the hot water valve and let the pump "
            "run for ten seconds. If it is quiet, the coffee is too fine or the basket is blocked. If you do not hear "
            "it at all, look at the tank lamp.",
            "# The espresso is sour or bitter",
            "Sour coffee was brewed too fast or too cold: grind finer, or raise the temperature by one degree. Bitter "
            "coffee was brewed too slowly or too hot: grind coarser, or lower the temperature.",
        ],
    ),
    (
        "8 Technical data",
        [
            [
                ["Property", "Value"],
                ["Supply", "230 V, 50 Hz, 1350 W"],
                ["In standby", "0.4 W"],
                ["Boiler", "0.55 litres, brass, single circuit"],
                ["Tank", "1.8 litres, removable"],
                ["Pump", "vibration, 15 bar at most, set to 9 bar"],
                ["Size", "23 cm wide, 31 cm deep, 36 cm high"],
                ["Weight", "11.4 kg empty"],
                ["Cable", "1.2 m"],
                ["Noise while brewing", "58 dB at one metre"],
            ],
            "# Disposal",
            "Do not throw the machine into household waste. Every dealer of the brand takes old machines back without "
            "charge. The boiler, the pump and the sensors can be taken out with a Phillips screwdriver and are listed "
            "as spare parts for ten years after the last machine has been sold.",
        ],
    ),
    (
        "9 Warranty and service",
        [
            "# Warranty",
            "The warranty lasts three years from the day of purchase, and five years for the boiler. It covers faults "
            "of material and of manufacture. It does not cover scale, worn gaskets, damage from dry running, or use in "
            "an office with more than 20 cups a day. Keep the receipt; the serial number stands on the left side of "
            "the frame, behind the tank.",
            "# Sending the machine in",
            "Call the service first: most faults are cured on the telephone. If the machine has to be sent in, empty "
            "the tank and the boiler, take out the drip tray, and use the box with its foam. Repairs take ten working "
            "days. A repair outside the warranty begins after you have accepted the estimate, which costs 35 euros and "
            "is credited against the bill.",
            "# Reaching us",
            "Morgenrot Apparatebau, Service, Lindenhof 4, 04109 Leipzig. Telephone 0341 555 0142, Monday to Friday "
            "from 8 to 17 o'clock. Have the serial number at hand.",
        ],
    ),
]


class Mark(Flowable):
    """The maker's sun above its horizon."""

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        self.span = width
        return width, 34 * mm

    def draw(self) -> None:
        canvas, middle = self.canv, self.span / 2
        canvas.setFillColor(ACCENT)
        canvas.wedge(middle - 15 * mm, -5 * mm, middle + 15 * mm, 25 * mm, 0, 180, stroke=0, fill=1)
        canvas.setFillColor(SOFT)
        canvas.rect(middle - 26 * mm, 8.6 * mm, 52 * mm, 0.7 * mm, stroke=0, fill=1)


def furniture(canvas: Canvas, document: BaseDocTemplate) -> None:
    """Running title and page number, as real manuals have them."""
    if document.page == 1:
        return
    width, height = A5
    canvas.setFont(SANS, 8)
    canvas.setFillColor(SOFT)
    canvas.drawString(16 * mm, height - 11 * mm, "Morgenrot 2")
    canvas.drawRightString(width - 16 * mm, height - 11 * mm, "Owner's Manual")
    canvas.drawCentredString(width / 2, 9 * mm, str(document.page))


def table(rows: list[list[str]], width: float) -> Table:
    cells = [[Paragraph(text, CELL if index else CELL_HEAD) for text in row] for index, row in enumerate(rows)]
    return Table(
        cells,
        colWidths=[width / len(rows[0])] * len(rows[0]),
        style=TableStyle(
            [
                ("LINEBELOW", (0, 0), (-1, 0), 0.8, INK),
                ("LINEBELOW", (0, 1), (-1, -1), 0.3, colors.HexColor("#c9c5ba")),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 2),
            ]
        ),
        spaceBefore=4,
        spaceAfter=10,
    )


def story(width: float) -> list[Flowable]:
    flowables: list[Flowable] = [
        Spacer(1, 42 * mm),
        Mark(),
        Paragraph("Morgenrot 2", COVER),
        Spacer(1, 4 * mm),
        Paragraph("Espresso Machine", COVER_SMALL),
        Paragraph("Owner's Manual", COVER_SMALL),
    ]
    for title, parts in CHAPTERS:
        flowables += [PageBreak(), Paragraph(title, CHAPTER)]
        for part in parts:
            if isinstance(part, list):
                flowables.append(table(part, width))
            elif part.startswith("# "):
                flowables.append(Paragraph(part[2:], SECTION))
            else:
                flowables.append(Paragraph(part, BODY))
    return flowables


class Manual(BaseDocTemplate):
    """Puts chapters and sections into the outline."""

    def afterFlowable(self, flowable: Flowable) -> None:
        if isinstance(flowable, Paragraph) and flowable.style.name in ("chapter", "section"):
            key = f"{self.page}-{flowable.getPlainText()}"
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(flowable.getPlainText(), key, level=int(flowable.style.name == "section"))


def write(path: Path) -> None:
    """Write the manual; the same bytes every time."""
    width, height = A5
    frame = Frame(16 * mm, 15 * mm, width - 32 * mm, height - 32 * mm, 0, 0, 0, 0)
    manual = Manual(str(path), pagesize=A5, title=TITLE, author="Morgenrot Apparatebau", invariant=1)
    manual.addPageTemplates(PageTemplate(frames=[frame], onPage=furniture))
    manual.build(story(width - 32 * mm))


if __name__ == "__main__":
    write(Path(__file__).parent / "coffee-machine-manual.pdf")
