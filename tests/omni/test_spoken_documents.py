"""The spoken form over kinds of documents: histories, contracts, laws, manuals, papers, filings, technical text."""

from __future__ import annotations

import pytest

from omni.sentences import split_sentences
from omni.spoken_form import spoken

CASES = [
    # rulers and persons
    ("Henry VIII's wives", "Henry the eighth's wives"),
    ("Louis XIV reigned", "Louis the fourteenth reigned"),
    ("Pope John XXIII died", "Pope John the twenty-third died"),
    ("Pope John Paul II's visit", "Pope John Paul the second's visit"),
    ("King Zog I of Albania", "King Zog the first of Albania"),
    ("Did Charles I think so?", "Did Charles I think so?"),
    ("Malcolm X and the iPhone X", "Malcolm X and the iPhone X"),
    ("Robert V. Smith", "Robert V. Smith"),
    # parts, wars, kinds
    ("World War I and WWII", "World War one and World War two"),
    ("WORLD WAR II", "World War two"),
    ("Part I and I am here", "Part one and I am here"),
    ("Parts I and II", "Parts one and two"),
    ("the part I wrote", "the part I wrote"),
    ("CHAPTER IV", "Chapter four"),
    ("Art. XII", "Article twelve"),
    ("a type I error and type II diabetes", "a type one error and type two diabetes"),
    ("a Phase III trial", "a Phase three trial"),
    ("Super Bowl XLVIII", "Super Bowl forty-eight"),
    ("the XIX century", "the nineteenth century"),
    ("Rocky IV", "Rocky four"),
    ("III. Results", "three. Results"),
    ("pages iv-xii", "pages four to twelve"),
    ("clause (ii)", "clause, two"),
    # letters that are no numerals
    ("an IV drip", "an I V drip"),
    ("Appendix C and Class L", "Appendix C and Class L"),
    ("vitamin C, Plan C, an X-ray", "vitamin C, Plan C, an X-ray"),
    ("CD, DC, CIV and an MD of an LLC", "C D, D C, C I V and an M D of an L L C"),
    ("Form I-9", "Form I-nine"),
    ("You and I agree.", "You and I agree."),
    # powers, formulas, notes
    ("10⁶ cells", "ten to the power of six cells"),
    ("5 × 10⁻³", "five times ten to the power of minus three"),
    ("5 × 10⁻³ m", "five times ten to the power of minus three meters"),
    ("3.2×10⁻⁵ mol of it", "three point two times ten to the power of minus five moles of it"),
    ("2³ = 8", "two cubed equals eight"),
    ("x^n", "x to the power of n"),
    ("E = mc²", "E equals mc squared"),
    ("R² = 0.95", "R squared equals zero point nine five"),
    ("in the text² and in 2019³", "in the text and in twenty nineteen"),
    ("CO₂ and H₂O", "C O two and H two O"),
    ("λ and θ, Σ", "lambda and theta, sigma"),
    ("f(x)", "f of x"),
    ("5 m s⁻¹", "five meters per second"),
    # measures
    ("-40 °C", "minus forty degrees Celsius"),
    ("5'10\"", "five feet ten inches"),
    ('a 1/2" pipe', "a one half inches pipe"),
    ("24 in. wide", "twenty-four inches wide"),
    ("20/20", "twenty twenty"),
    # money with a decimal comma
    ("€3,50", "three euros and fifty cents"),
    ("1.234,56 €", "one thousand two hundred thirty-four euros and fifty-six cents"),
    ("$1,234", "one thousand two hundred thirty-four dollars"),
    # numbers to dial, addresses, files
    ("1-800-555-1234", "one, eight zero zero, five five five, one two three four"),
    ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
    ("Washington, D.C. 20549", "Washington, D C two zero five four nine"),
    ("CA 94105-1234", "C A nine four one zero five, one two three four"),
    ("config.yaml", "config dot yaml"),
    ("/usr/share/doc", "slash usr slash share slash doc"),
    ("<jane@example.com>", "jane at example dot com"),
    ("ISO 9001:2015", "I S O nine thousand one twenty fifteen"),
    # law
    ("15 U.S.C. § 78a", "fifteen U S C section seventy-eight a"),
    ("Section 2.1(a)(iii)", "Section two point one a three"),
    ("c. 1850", "about eighteen fifty"),
    # what extraction leaves
    ("infor- mation", "information"),
    ("a long- term loan", "a long-term loan"),
    ("pre- and post-war", "pre and post-war"),
    ("<NAME> was born", "name was born"),
    ("日本語のテキスト", "日本語のテキスト"),
    ("λόγος", "λόγος"),
]


@pytest.mark.parametrize(("written", "said"), CASES, ids=[written for written, _ in CASES])
def test_documents_are_said_as_people_say_them(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize("said", [said for _, said in CASES])
def test_what_is_said_is_not_changed_again(said: str) -> None:
    assert spoken(said) == said


@pytest.mark.parametrize(
    "sentence",
    [
        "Under 15 U.S.C. § 78a it applies.",
        "See 17 C.F.R. Part 240 for this.",
        "It is shown in Fig. 3 and No. 5 of the U.S. Code, e.g. at 2.5 percent.",
        "Call tel. 555 or ext. 12 now.",
    ],
)
def test_shortened_words_end_no_sentence(sentence: str) -> None:
    assert split_sentences(f"{sentence} Then more.") == [sentence, "Then more."]
