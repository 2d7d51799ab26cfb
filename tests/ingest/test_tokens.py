"""The lexical tokeniser: what is indexed and what is asked must meet."""

from __future__ import annotations

import pytest
import Stemmer
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.tokens import index_terms, query_terms


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("companies", "The company’s products"),
        ("34229", "net sales of $34,229 million"),
        ("10-K", "annual report on Form 10-K."),
        ("3.5", "a margin of 3.5%"),
        ("FY2022", "in FY2022 sales"),
        ("FY2022", "the fiscal year 2022"),
        ("Covid", "the COVID-19 pandemic"),
        ("long term", "long-term debt"),
        ("2021", "2019-2021"),
        ("R&D", "our r&d costs"),
        ("cafe", "the café"),
        ("U.S.", "in the U.S."),
        ("finance", "the ﬁnance department"),
        ("北京大学", "他毕业于北京大学。"),
        ("東京", "東京に住む"),
        ("서울", "서울시"),
        ("Straße", "in der straße"),
    ],
)
def test_a_question_meets_the_text_that_says_it_in_another_form(asked: str, written: str) -> None:
    assert set(query_terms(asked)) & set(index_terms(written))


def test_words_are_stemmed_as_snowball_does() -> None:
    words = ["running", "relational", "happiness", "generously", "skies", "dying", "bought"]
    assert index_terms(" ".join(words)) == Stemmer.Stemmer("english").stemWords(words)


def test_questions_lose_stop_words_and_repetitions_unless_nothing_is_left() -> None:
    assert query_terms("What were the sales, and the sales of whom?") == ["sale"]
    assert query_terms("Who is it?") == ["who", "is", "it"]
    assert query_terms("北京大学是什么？") == ["北京", "京大", "大学"]


def test_indexing_keeps_every_word_in_order() -> None:
    assert index_terms("To be or not to be") == ["to", "be", "or", "not", "to", "be"]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=120))
def test_any_text_gives_terms_that_a_store_may_join_by_spaces(text: str) -> None:
    terms = index_terms(text)
    assert " ".join(terms).split() == terms
    assert not any('"' in term or "\0" in term for term in terms)
