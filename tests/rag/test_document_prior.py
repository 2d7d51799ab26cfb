"""Questions that name a document lean towards it, however the name is written; others lean nowhere."""

from __future__ import annotations

import numpy as np
import pytest

from rag.document_prior import DocumentPrior, DocumentProfile, read_period

FILINGS = [
    "INITECH_2019_10K.pdf",
    "INITECH_2020_10K.pdf",
    "GLOBEXPOWERWORKS_2021_10K.pdf",
    "MASSIVEDYNAMIC_2022Q2_10Q.pdf",
    "MASSIVEDYNAMIC_2022_10K.pdf",
    "HOOLI_2022_8K_dated_2022-08-19.pdf",
    "SMITH_SMITH_2022_10K.pdf",
    "7Q_2018_10K.pdf",
]


def best(names: list[str], question: str) -> str | None:
    scores = DocumentPrior([DocumentProfile.of(name, name) for name in names]).match(question).score
    return names[int(np.argmax(scores))] if scores.max() > 0 else None


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("What is Initech's FY2019 revenue?", "INITECH_2019_10K.pdf"),
        ("What is Initech's FY20 revenue?", "INITECH_2020_10K.pdf"),
        ("Initech: three year average FY2018 - FY2020", "INITECH_2020_10K.pdf"),
        ("Did Initech's margin rise between FY2019 and FY2018?", "INITECH_2019_10K.pdf"),
        ("Which segment of Globex Power Works grew?", "GLOBEXPOWERWORKS_2021_10K.pdf"),
        ("does globex power works own plants", "GLOBEXPOWERWORKS_2021_10K.pdf"),
        ("In Q2 of 2022, what was Massive Dynamic's net income?", "MASSIVEDYNAMIC_2022Q2_10Q.pdf"),
        ("Massive Dynamic's H1 FY2022 cash flow", "MASSIVEDYNAMIC_2022Q2_10Q.pdf"),
        ("What does the annual report of Massive Dynamic say for 2022?", "MASSIVEDYNAMIC_2022_10K.pdf"),
        ("Did MASS grow in FY2022?", "MASSIVEDYNAMIC_2022_10K.pdf"),
        ("Who is Hooli's new CEO?", "HOOLI_2022_8K_dated_2022-08-19.pdf"),
        ("What is S&S's revenue in 2022?", "SMITH_SMITH_2022_10K.pdf"),
        ("Is 7Q a capital-intensive business?", "7Q_2018_10K.pdf"),
    ],
)
def test_filings_are_found_by_name_year_quarter_and_kind(question: str, name: str) -> None:
    assert best(FILINGS, question) == name


@pytest.mark.parametrize("question", ["What is the governing law?", "In 2020, what happened?", "", "¿?", "the of and"])
def test_a_question_that_names_nothing_leans_nowhere(question: str) -> None:
    assert best(FILINGS, question) is None


def test_contracts_and_manuals_are_found_too() -> None:
    names = ["ACMEENERGYCO_09_09_1999-EX-10-DISTRIBUTOR AGREEMENT.pdf", "manual_x200.pdf", "washing_machine_WM14.pdf"]
    assert best(names, "Who are the parties of the Acme Energy distributor agreement?") == names[0]
    assert best(names, "How do I reset the X200?") == names[1]
    assert best(names, "how do i clean the filter of the washing machine") == names[2]


def test_an_opaque_file_name_is_made_up_for_by_title_and_title_page() -> None:
    head = "UNITED STATES FORM 10-K For the fiscal year ended December 31, 2021  Vandelay Industries, Inc."
    prior = DocumentPrior(
        [DocumentProfile.of("a", "doc17.pdf", "", head), DocumentProfile.of("b", "doc18.pdf", "", "x")]
    )
    scores = prior.match("What did Vandelay earn in FY2021?").score
    assert scores[0] > 0.2 and scores[1] == 0
    titled = DocumentPrior(
        [
            DocumentProfile.of("a", "scan1.pdf", "Lease of 14 Harbour Street"),
            DocumentProfile.of("b", "scan2.pdf", "Will"),
        ]
    )
    assert np.argmax(titled.match("When does the Harbour Street lease end?").score) == 0


def test_years_tell_documents_of_one_name_apart_even_if_there_are_no_others() -> None:
    pair = ["INITECH_2015_10K.pdf", "INITECH_2016_10K.pdf"]
    assert best(pair, "What is Initech's FY2015 revenue?") == pair[0]
    assert best(pair, "What is Initech's FY2016 revenue?") == pair[1]


def test_periods_are_read_in_their_usual_spellings() -> None:
    for text in ("FY2019", "FY19", "fiscal year 2019", "fiscal 2019", "in 2019,", "FY 2019"):
        assert read_period(text)[0].years == (2019,), text
    assert read_period("2022 Q2")[0].quarters == (2,) and read_period("second quarter of 2022")[0].quarters == (2,)
    assert read_period("$2,019 and 12.2019 and 20190")[0].years == ()
    assert read_period("the 10-K and the 8K")[0].forms == ("10-k", "8-k")
