"""Written text becomes words that a voice can say; citations are said briefly."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.sentences import speakable_sentences, split_sentences
from omni.spoken_citations import document_name
from omni.spoken_form import SpokenForm, spoken
from rag.types import Citation

WRITTEN_AND_SPOKEN = [
    # numbers
    ("42", "forty-two"),
    ("1,234", "one thousand two hundred thirty-four"),
    ("3.14", "three point one four"),
    ("0.5", "zero point five"),
    ("-5 degrees", "minus five degrees"),
    ("(1,234)", "minus one thousand two hundred thirty-four"),
    ("loss of (12.5)", "loss of minus twelve point five"),
    ("agent 007", "agent zero zero seven"),
    ("1,000,000 people", "one million people"),
    ("10^6 units", "ten to the power of six units"),
    ("1.5e-3", "one point five times ten to the power of minus three"),
    ("the 1st, 22nd and 103rd", "the first, twenty-second and one hundred third"),
    ("1/2 and 3/4", "one half and three quarters"),
    ("2 1/2 cups", "two and a half cups"),
    ("5½ years", "five and a half years"),
    ("open 24/7", "open twenty-four seven"),
    ("a 3:1 ratio", "a three to one ratio"),
    ("3 x 4", "three by four"),
    # years, decades, periods
    ("in 1984", "in nineteen eighty-four"),
    ("in 2005 and 2019", "in two thousand five and twenty nineteen"),
    ("in 1905", "in nineteen oh five"),
    ("by 1900", "by nineteen hundred"),
    ("the 1990s", "the nineteen nineties"),
    ("2018-2020", "twenty eighteen to twenty twenty"),
    ("2018–19", "twenty eighteen to nineteen"),
    ("FY2019", "fiscal year twenty nineteen"),
    ("FY19", "fiscal year nineteen"),
    ("in Q2", "in the second quarter"),
    ("Q3 2020 results", "third quarter of twenty twenty results"),
    # dates and times
    ("2022-06-30", "June thirtieth, twenty twenty-two"),
    ("June 30, 2022", "June thirtieth, twenty twenty-two"),
    ("30/6/2022", "June thirtieth, twenty twenty-two"),
    ("6/30/2022", "June thirtieth, twenty twenty-two"),
    ("30.6.2022", "June thirtieth, twenty twenty-two"),
    ("on 30 June 2022", "on the thirtieth of June, twenty twenty-two"),
    ("the 4 July", "the fourth of July"),
    ("Dec. 31, 2021", "December thirty-first, twenty twenty-one"),
    ("March 3-5", "March third to fifth"),
    ("in Sept. 2020", "in September twenty twenty"),
    ("at 3:45 p.m.", "at three forty-five P M."),
    ("14:30", "fourteen thirty"),
    ("9:00", "nine o'clock"),
    ("9 am", "nine A M"),
    ("14:05", "fourteen oh five"),
    # money
    ("$1.2 million", "one point two million dollars"),
    ("$34,229", "thirty-four thousand two hundred twenty-nine dollars"),
    ("$1", "one dollar"),
    ("$5.25", "five dollars and twenty-five cents"),
    ("$0.99", "ninety-nine cents"),
    ("€5.50", "five euros and fifty cents"),
    ("£3m", "three million pounds"),
    ("£1.01", "one pound and one penny"),
    ("¥1,000", "one thousand yen"),
    ("US$5bn", "five billion dollars"),
    ("5 USD", "five dollars"),
    ("EUR 20", "twenty euros"),
    ("C$20", "twenty Canadian dollars"),
    ("$5-10 million", "five to ten million dollars"),
    ("($1,234)", "minus one thousand two hundred thirty-four dollars"),
    ("$(45.2) million", "minus forty-five point two million dollars"),
    ("-$5", "minus five dollars"),
    ("(about $5)", "about five dollars"),
    ("a $34.5-million deal", "a thirty-four point five million dollar deal"),
    # shares and ranges
    ("12.5%", "twelve point five percent"),
    ("(3.2%)", "minus three point two percent"),
    ("10-15%", "ten to fifteen percent"),
    ("~30%", "about thirty percent"),
    ("pp. 3–5", "pages three to five"),
    ("p. 12", "page twelve"),
    ("pages 3-5", "pages three to five"),
    # units
    ("5 km and 1 kg", "five kilometers and one kilogram"),
    ("20 °C", "twenty degrees Celsius"),
    ("30 mm²", "thirty square millimeters"),
    ("16GB", "sixteen gigabytes"),
    ("2.4 GHz", "two point four gigahertz"),
    ("10 m/s", "ten meters per second"),
    ("9.81 m/s²", "nine point eight one meters per second squared"),
    ("60 km/h", "sixty kilometers per hour"),
    ("5-10 km", "five to ten kilometers"),
    ("100 mg/L", "one hundred milligrams per liter"),
    ("25 bps", "twenty-five basis points"),
    ("5M users", "five million users"),
    # abbreviations, acronyms, names
    ("e.g. this", "for example this"),
    ("i.e. that", "that is that"),
    ("Apple Inc. and Dr. Who", "Apple Incorporated and Doctor Who"),
    ("No. 5", "number five"),
    ("Fig. 3", "Figure three"),
    ("x vs. y", "x versus y"),
    ("apples, etc.", "apples, et cetera."),
    ("NASA told the SEC", "Nasa told the S E C"),
    ("the U.S. market", "the U S market"),
    ("R&D at AT&T", "R and D at A T and T"),
    ("COVID-19", "Covid-nineteen"),
    ("MP3", "M P three"),
    ("H2O", "H two O"),
    ("the 10-K and 8-K", "the ten K and eight K"),
    ("CEOs", "C E Os"),
    ("RISK FACTORS", "Risk Factors"),
    ("the tenant must NOT", "the tenant must Not"),
    ("St. Louis", "Saint Louis"),
    ("v2.1.3", "version two point one point three"),
    # sections and Roman numerals
    ("Section IV", "Section four"),
    ("Article XIV", "Article fourteen"),
    ("World War II", "World War two"),
    ("Henry VIII", "Henry the eighth"),
    ("Section 4.10(b)", "Section four point ten b"),
    ("§ 5.2", "section five point two"),
    ("#3", "number three"),
    # symbols
    ("and/or", "and or"),
    ("a ± b", "a plus or minus b"),
    ("a ≤ b", "a less than or equal to b"),
    ("salt & pepper", "salt and pepper"),
    ("x² + 1", "x squared plus one"),
    # addresses and numbers to dial
    ("jane.doe@example.com", "jane dot doe at example dot com"),
    ("https://www.sec.gov/edgar", "sec dot gov slash edgar"),
    ("(555) 123-4567", "five five five, one two three, four five six seven"),
    ("ISBN 978-3-16-148410-0", "I S B N nine seven eight, three, one six, one four eight four one zero, zero"),
    # markup
    ("**Bold** and [link](http://x.y)", "Bold and link"),
    ("# Heading\n- one\n- two", "Heading. one. two"),
    ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b. one, two"),
    ("The first.¹ The second.[^2]", "The first. The second."),
    ("He said “yes” — then (maybe) left…", "He said yes, then, maybe, left."),
    # Chinese
    ("房租是每月1,205元。", "房租是每月一千二百零五元。"),
    ("2019年增长12.5%。", "二零一九年增长百分之十二点五。"),
    ("共10到100,000人", "共十到十万人"),
]


@pytest.mark.parametrize(("written", "said"), WRITTEN_AND_SPOKEN, ids=[w for w, _ in WRITTEN_AND_SPOKEN])
def test_written_becomes_spoken(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize("said", [said for _, said in WRITTEN_AND_SPOKEN])
def test_what_is_spoken_already_stays_as_it_is(said: str) -> None:
    assert spoken(said) == said


LEASE = [Citation(1, "lease.pdf", 12, "", 0, 0), Citation(2, "lease.pdf", 12, "", 0, 0)]
LEASE += [Citation(3, "lease.pdf", 14, "", 0, 0), Citation(4, "3M_2022_10K.pdf", 48, "", 0, 0)]
LEASE += [Citation(5, "notes.md", 1, "", 0, 0)]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Rent is due [1].", "Rent is due, page twelve of the lease."),
        ("Rent is due. [1]", "Rent is due. Page twelve of the lease."),
        ("Rent [1] is due.", "Rent, page twelve of the lease, is due."),
        ("See [1].", "See page twelve of the lease."),
        ("Due [1]. Again [2].", "Due, page twelve of the lease. Again."),
        ("Due [1]. Late [3].", "Due, page twelve of the lease. Late, page fourteen."),
        ("Due [1][2].", "Due, page twelve of the lease."),
        ("Due [1, 3].", "Due, page twelve of the lease and page fourteen."),
        ("Sales [4].", "Sales, page forty-eight of three M twenty twenty-two ten K."),
        ("So [5].", "So, from the notes."),
        ("Unknown [9].", "Unknown."),
    ],
)
def test_citations_are_said_once_and_briefly(written: str, said: str) -> None:
    assert spoken(written, LEASE) == said


def test_repetition_is_remembered_over_sentences() -> None:
    form = SpokenForm(LEASE)
    assert form("Rent is due [1].") == "Rent is due, page twelve of the lease."
    assert form("It is $5 [2].") == "It is five dollars."
    assert form("Late [3].") == "Late, page fourteen."


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("lease.pdf", "the lease"),
        ("annual_report.md", "the annual report"),
        ("3M_2022_10K.pdf", "3M 2022 10-K"),
        ("JOHNSON_JOHNSON_2022Q4_EARNINGS.pdf", "Johnson Johnson 2022 Q4 Earnings"),
        ("Übersicht 2020.docx", "Übersicht 2020"),
    ],
)
def test_document_names_as_people_say_them(file: str, name: str) -> None:
    assert document_name(file) == name


ALLOWED = re.compile(r"[^\W\d_]|[ .,;:!?'-]|[，。！？；：、]|\w", re.UNICODE)
written_text = st.text(
    st.one_of(
        st.sampled_from(
            string.ascii_letters + "     " + string.digits + ".,;:!?%$€£&/()[]{}<>*_#@+=-–—'\"§°²½\n|\\^~`"
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=60,
)
tokens = st.lists(
    st.sampled_from(
        [w for w, _ in WRITTEN_AND_SPOKEN] + ["the", "Inc.", "$", "1,2", "-", "%", "(", ")", "[1]", "II", "/"]
    ),
    max_size=8,
).map(" ".join)


@given(st.one_of(written_text, tokens))
@settings(max_examples=300, deadline=None)
def test_nothing_unspeakable_is_left(text: str) -> None:
    said = spoken(text, LEASE)
    assert not any(
        mark.isdigit()
        or (
            mark.isnumeric()
            and mark not in "零一二三四五六七八九十百千万亿"
            and not "\u3400" <= mark <= "\u9fff"
            and not mark.isalpha()
        )
        for mark in said
    ), said
    assert not set(said) & set('%$€£¥&/()[]{}<>*_#@+=–—"§°²½\n|\\^~`•'), said
    assert "  " not in said and said == said.strip()


@given(st.text(st.sampled_from(string.ascii_letters + string.digits + " ,.%$"), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_words_and_figures_are_never_lost_entirely(text: str) -> None:
    if any(letter.isalnum() for letter in text):
        assert spoken(text)


@given(st.integers(-(10**12), 10**12))
def test_every_integer_is_read_as_num2words_reads_it(value: int) -> None:
    """Judge: num2words, without its "and" and commas; years (four plain figures) are read as years."""
    from num2words import num2words

    if 1600 <= abs(value) <= 2099:
        return
    expected = re.sub(r",| and", "", num2words(abs(value)))
    said = spoken(f"{value:,}").replace(" and", "")
    assert said == ("minus " if value < 0 else "") + expected


@given(st.lists(tokens.filter(bool), min_size=1, max_size=5).map(". ".join), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_sentences_do_not_depend_on_how_the_text_arrives(text: str, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(speakable_sentences(pieces)) == split_sentences(text)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One is here. Two is there! Three?", ["One is here.", "Two is there!", "Three?"]),
        ("It costs 3.50 dollars. Pay.", ["It costs 3.50 dollars.", "Pay."]),
        (
            "Mr. Smith of Apple Inc. came, e.g. at 5 p.m. He left.",
            ["Mr. Smith of Apple Inc. came, e.g. at 5 p.m.", "He left."],
        ),
        ("The U.S. Government won. See No. 5.", ["The U.S. Government won.", "See No. 5."]),
        ("It is due. [1] Then more. [2][3]", ["It is due. [1]", "Then more. [2][3]"]),
        ("In 2019. Then", ["In 2019.", "Then"]),
        ("1. First\n2. Second", ["1. First", "2. Second"]),
        ("Title\n\nText here.", ["Title", "Text here."]),
        ("这是一。这是二！好吗？", ["这是一。", "这是二！", "好吗？"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_pause(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_text_without_an_end_is_divided() -> None:
    pieces = split_sentences("word, " * 500)
    assert all(len(piece) <= 400 for piece in pieces)
    assert sum(piece.count("word") for piece in pieces) == 500
