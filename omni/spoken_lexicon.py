"""What written English abbreviates, and how it is said: units, abbreviations, acronyms, symbols."""

from __future__ import annotations

_words = str.split

UNITS = {  # symbol: (singular, plural); case matters
    "km": ("kilometer", "kilometers"), "m": ("meter", "meters"), "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"), "µm": ("micrometer", "micrometers"), "μm": ("micrometer", "micrometers"),
    "nm": ("nanometer", "nanometers"), "mi": ("mile", "miles"), "ft": ("foot", "feet"), "yd": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"), "g": ("gram", "grams"), "mg": ("milligram", "milligrams"),
    "µg": ("microgram", "micrograms"), "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "t": ("ton", "tons"), "kt": ("kiloton", "kilotons"), "L": ("liter", "liters"), "l": ("liter", "liters"),
    "mL": ("milliliter", "milliliters"), "ml": ("milliliter", "milliliters"), "gal": ("gallon", "gallons"),
    "ha": ("hectare", "hectares"), "s": ("second", "seconds"), "sec": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"),
    "µs": ("microsecond", "microseconds"), "ns": ("nanosecond", "nanoseconds"), "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"), "h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"),
    "yr": ("year", "years"), "yrs": ("year", "years"), "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"), "GHz": ("gigahertz", "gigahertz"), "KB": ("kilobyte", "kilobytes"),
    "kB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes"), "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"), "PB": ("petabyte", "petabytes"), "MiB": ("mebibyte", "mebibytes"),
    "GiB": ("gibibyte", "gibibytes"), "kbps": ("kilobit per second", "kilobits per second"),
    "Mbps": ("megabit per second", "megabits per second"), "Gbps": ("gigabit per second", "gigabits per second"),
    "W": ("watt", "watts"), "kW": ("kilowatt", "kilowatts"), "MW": ("megawatt", "megawatts"),
    "GW": ("gigawatt", "gigawatts"),
    "Wh": ("watt hour", "watt hours"), "kWh": ("kilowatt hour", "kilowatt hours"),
    "MWh": ("megawatt hour", "megawatt hours"),
    "GWh": ("gigawatt hour", "gigawatt hours"), "TWh": ("terawatt hour", "terawatt hours"), "V": ("volt", "volts"),
    "kV": ("kilovolt", "kilovolts"), "mV": ("millivolt", "millivolts"), "mA": ("milliampere", "milliamperes"),
    "mAh": ("milliampere hour", "milliampere hours"), "Ω": ("ohm", "ohms"), "kΩ": ("kiloohm", "kiloohms"),
    "J": ("joule", "joules"),
    "kJ": ("kilojoule", "kilojoules"), "kcal": ("kilocalorie", "kilocalories"), "cal": ("calorie", "calories"),
    "Pa": ("pascal", "pascals"), "kPa": ("kilopascal", "kilopascals"), "MPa": ("megapascal", "megapascals"),
    "bar": ("bar", "bar"),
    "psi": ("pound per square inch", "pounds per square inch"), "dB": ("decibel", "decibels"),
    "N": ("newton", "newtons"),
    "kN": ("kilonewton", "kilonewtons"), "Nm": ("newton meter", "newton meters"), "rpm": ("R P M", "R P M"),
    "mph": ("mile per hour", "miles per hour"), "kph": ("kilometer per hour", "kilometers per hour"),
    "ppm": ("part per million", "parts per million"), "bps": ("basis point", "basis points"),
    "bp": ("basis point", "basis points"), "px": ("pixel", "pixels"),
    "fps": ("frame per second", "frames per second"),
    "mol": ("mole", "moles"), "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "℃": ("degree Celsius", "degrees Celsius"), "℉": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "K": ("thousand", "thousand"), "k": ("thousand", "thousand"), "M": ("million", "million"),
    "B": ("billion", "billion"),
    "bn": ("billion", "billion"), "mn": ("million", "million"), "x": ("times", "times"),
}  # fmt: skip
GLUED_ONLY = {"K", "k", "M", "B", "x"}  # "5M" is five million; "5 M" may be anything
PER = {
    "h": "hour", "hr": "hour", "s": "second", "min": "minute", "d": "day", "day": "day", "week": "week", "mo": "month",
    "month": "month", "yr": "year", "year": "year", "kg": "kilogram", "g": "gram", "lb": "pound", "L": "liter",
    "l": "liter", "m": "meter", "km": "kilometer", "ft": "foot", "kWh": "kilowatt hour", "unit": "unit",
    "share": "share", "person": "person",
}  # fmt: skip
POWERS = {"2": "square", "²": "square", "3": "cubic", "³": "cubic"}

MONTHS = {
    name[:3]: name
    for name in _words("January February March April May June July August September October November December")
}
MONTH_NAMES = list(MONTHS.values())

# Longest first when they are matched; a final dot is consumed, and kept as a stop where the sentence ends with it.
ABBREVIATIONS = {
    "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "v.s.": "versus",
    "cf.": "compare",
    "approx.": "approximately", "Inc.": "Incorporated", "Corp.": "Corporation", "Ltd.": "Limited", "Co.": "Company",
    "Bros.": "Brothers", "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Prof.": "Professor",
    "Jr.": "Junior", "Sr.": "Senior", "Hon.": "Honorable", "Gov.": "Governor", "Gen.": "General", "Sen.": "Senator",
    "Rep.": "Representative", "Rev.": "Reverend", "Dept.": "Department", "dept.": "department", "Gov't": "Government",
    "gov't": "government", "Ave.": "Avenue", "Blvd.": "Boulevard", "Rd.": "Road", "Ste.": "Suite",
    "et al.": "and others",
    "Est.": "Established", "est.": "estimated", "incl.": "including", "excl.": "excluding", "max.": "maximum",
    "min.": "minimum", "avg.": "average", "resp.": "respectively", "w/o": "without", "w/": "with",
    "a.k.a.": "also known as",
    "aka": "also known as", "viz.": "namely", "Ph.D.": "P H D", "Mt.": "Mount", "Ft.": "Fort",
}  # fmt: skip
# Only before a figure, a Roman numeral or a single letter.
NUMBERED = {
    "No": "number", "no": "number", "Nos": "numbers", "nos": "numbers", "Fig": "Figure", "fig": "figure",
    "Figs": "Figures",
    "figs": "figures", "Eq": "Equation", "eq": "equation", "Sec": "Section", "sec": "section", "Secs": "Sections",
    "Art": "Article", "art": "article", "Arts": "Articles", "Ch": "Chapter", "ch": "chapter", "Chap": "Chapter",
    "Vol": "Volume",
    "vol": "volume", "Vols": "Volumes", "p": "page", "P": "Page", "pg": "page", "pp": "pages", "Pp": "Pages",
    "Tab": "Table",
    "para": "paragraph", "Para": "Paragraph", "cl": "clause", "Cl": "Clause", "App": "Appendix", "Ex": "Exhibit",
    "Rev": "revision",
    "ver": "version", "Ver": "Version", "ed": "edition", "ext": "extension", "Ext": "Extension",
    "Nr": "number", "Ref": "Reference", "ref": "reference",
    "Sect": "Section", "sect": "section", "Pt": "Part", "pt": "part", "Cls": "Clauses", "paras": "paragraphs",
}  # fmt: skip

SAID = frozenset(  # acronyms that are words
    _words(
        """NASA NATO UNESCO UNICEF OPEC GAAP EBITDA EBIT COVID FIFA UEFA AIDS LIBOR SOFR RAM ROM PIN LASER
        RADAR SONAR SCUBA NASDAQ OSHA FEMA ERISA HIPAA NAFTA ASEAN OPEX CAPEX FASB SWIFT SIM GIF
        JPEG MIDI WIFI VIP REIT REITS LIFO FIFO ZIP ASCII CAPTCHA DARPA NOAA POTUS SCOTUS PIPEDA
        SARS MERS NAND NOR SAAS PAAS COBRA FICA FINRA SOX TARP YOLO BERT BLEU ROUGE SQUAD LASSO"""
    )
)
SHOUTED = frozenset(  # short English words that contracts and headings print in capitals: not spelled
    _words(
        """A I AN AND ANY ALL ARE AS AT BE BUT BY DO DOES DATE DUE EACH END FOR FROM HAS HAVE HE HER HIS IF IN
        ACT AGE AIR WAR BANK BOOK CAN DID END GET LET OIL OWE SET TAX TOP TRY WAY WHY
        IS IT ITS ITEM LAW LESS MAY MORE MUST NEW NO NOR NOT NOTE NOW OF OFF ON ONE ONLY OR OTHER
        OUR OUT OVER OWN PAGE PART PAY PER RENT RISK SALE SHE SO SUCH SUM TAX TERM TERMS THAN THAT
        THE THEIR THEM THEN THERE THEY THIS TO TOTAL TWO UNDER UP UPON USE VERY WAS WE WERE WHAT
        WHEN WHO WILL WITH YES YOU YOUR ALSO BEEN BOTH CASH CASE COST DATA DAY DAYS DOWN FACT FEE
        FEES FREE FULL GAIN GOOD HIGH INTO LAST LATE LEASE LIKE LIST LOAN LONG LOSS LOW MADE MAKE
        NAME NEXT OPEN PAID PLAN RATE READ REAL SAID SAME STEP STOP TAKE TEST TEXT TIME TYPE UNIT
        USED VOID WARN WEEK WORK YEAR YEARS ZERO"""
    )
)

AMBIGUOUS = frozenset(("WHO", "IT", "US"))  # spelled, unless the words around are in capitals too

SYMBOLS = {
    "&": "and", "%": "percent", "‰": "per mille", "±": "plus or minus", "≤": "less than or equal to",
    "≥": "greater than or equal to", "<": "less than", ">": "greater than", "=": "equals", "≈": "approximately",
    "≠": "not equal to",
    "×": "times", "÷": "divided by", "−": "minus", "+": "plus", "@": "at", "#": "hash", "→": "to",
    "©": "copyright", "√": "square root of",
    "∞": "infinity", "°": "degrees", "$": "dollars", "€": "euros",
    "£": "pounds", "¥": "yen",
    "₹": "rupees", "¢": "cents", "§": "section", "¶": "paragraph", "½": "one half", "∑": "sum", "∏": "product of",
    "∫": "integral of", "∂": "partial", "∇": "nabla", "∈": "in", "∉": "not in", "∝": "proportional to", "⇒": "implies",
    "←": "from", "↔": "to and from", "∩": "intersection", "∪": "union", "∀": "for all", "∃": "there is",
}  # fmt: skip

MONARCHS = (
    "Henry|Louis|Elizabeth|George|Charles|Edward|William|James|Richard|Pius|Benedict|Paul|Napoleon|Catherine|Peter|Philip|"
    "Frederick|Alexander|Nicholas|Gregory|Leo|Innocent|Clement|Urban|Francis|Ramesses|Otto|Rudolf|Wilhelm|John|Mary|"
    "Robert|Victor|Ivan|Ferdinand|Philippe|Felipe|Alfonso|Pedro|Carlos|Juan|Carl|Karl|Gustav|Christian|Haakon|Olaf|Harald|"
    "Leopold|Joseph|Ludwig|Maximilian|Constantine|Justinian|Basil|Ptolemy|Darius|Xerxes|Cyrus|Amenhotep|Thutmose|"
    "Suleiman|Mehmed|Murad|Selim|Stephen|Michael|Boniface|Sixtus|Julius|Adrian|Martin|Eugene|Honorius|Celestine|"
    "Sylvester|Casimir|Sigismund|Albert|Rainier|David|Thomas|Walter|Samuel|Eric|Magnus|Anne|Matthias|Antiochus"
)
NUMBERED_BY_ROMAN = (
    "Section|Sections|Chapter|Article|Articles|Part|Volume|Book|Appendix|Title|Phase|Type|Class|Tier|Act|Scene|Schedule|"
    "Exhibit|Figure|Table|Annex|Annexe|Level|Stage|Grade|Item|Category|Group|Plate|"
    "Division|Basel|War|Note|Region|Mark|Super Bowl|Bowl|Factor|Quadrant|Theorem|Lemma|Proposition|Apollo|"
    "Clause|Paragraph|Vol|Ch|Heading|Subpart|Subtitle|Track|Zone|Block|Round"
)
