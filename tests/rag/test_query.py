"""What is taken off a question, what is read out of it, and that ordinary questions pass unchanged."""

from __future__ import annotations

import pytest

from rag.query import understand


@pytest.mark.parametrize(
    ("question", "core"),
    [
        (
            "You are an investment banker and your only resource(s) to answer the following question is (are): the "
            "balance sheet. Here's the question: what is the FY2020 quick ratio for Initech? Round your answer to two "
            "decimals.",
            "what is the FY2020 quick ratio for Initech?",
        ),
        (
            "Does Initech have a healthy margin? If margin is not a useful metric for a company like this, then please"
            " state that and explain why.",
            "Does Initech have a healthy margin?",
        ),
        (
            "Using only the information within the income statement, how much revenue did Initech have in FY2019 (in "
            "USD millions)?",
            "how much revenue did Initech have in FY2019?",
        ),
    ],
)
def test_instructions_are_taken_off(question: str, core: str) -> None:
    assert understand(question).core == core


@pytest.mark.parametrize(
    "question",
    [
        "Who won the 2003 final?",
        "If the tenant is late, what must he state to the landlord?",
        "What is the capital of France?",
        "Answer?",
        "What did the king give in return for peace?",
        "How is pressure defined?",
        "中国的首都是哪里？",
        "Please explain the warranty: what is covered, and for how long?",
        "x",
        "",
    ],
)
def test_ordinary_questions_pass_unchanged(question: str) -> None:
    query = understand(question)
    assert (query.core, query.facets) == (question, ())


@pytest.mark.parametrize(
    ("question", "statements"),
    [
        ("What was the quick ratio in FY2020?", {"balance"}),
        ("How did the gross margin develop between 2019 and 2020?", {"income"}),
        ("What is the FY2018 capex? Use the statement of cash flows.", {"cash flow"}),
        (
            "Using the P&L statement and the statement of financial position, what is the FY21 DSO?",
            {"income", "balance"},
        ),
        ("What is the year end FY2018 amount of accounts payable? Use the balance sheet.", {"balance"}),
        ("What was the total amount of assets at the end of 2021?", {"balance"}),
        ("What is the FY2021 dividend payout ratio?", {"cash flow", "income"}),
    ],
)
def test_metrics_and_statements_become_facets(question: str, statements: set[str]) -> None:
    assert {facet.statement.key for facet in understand(question).facets} == statements


def test_facets_name_the_lines_a_metric_is_computed_from() -> None:
    (facet,) = understand("Has the quick ratio improved between FY2022 and FY2023?").facets
    assert {"inventories", "total current assets", "total current liabilities"} <= set(facet.lines)
    assert not facet.named
    assert "balance sheet" in facet.text


def test_accounting_words_without_a_period_or_money_are_just_words() -> None:
    assert understand("Where does the shop keep its inventory?").facets == ()
    assert understand("What role did goodwill play in the treaty?").facets == ()
