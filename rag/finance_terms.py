"""A small table of accounting: how the financial statements are called, and from which line items a metric is computed.

General knowledge of how companies report (US GAAP and IFRS wording), used by rag/query.py only where a question speaks
of such things. A pattern is matched in lower case on word limits; a plural "s" is allowed at its end.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One of the primary statements."""

    key: str
    asked_as: str  # regular expression of what people call it
    titles: tuple[str, ...]  # what stands on top of the page, lower case
    lines: tuple[str, ...]  # lines found on every such page, lower case


STATEMENTS = (
    Statement(
        "income",
        r"(?:statements? of (?:consolidated )?"
        r"(?:income|earnings|operations|profit (?:and|or) loss|comprehensive income)"
        r"|income statements?|earnings statements?"
        r"|p ?& ?l(?: statements?)?|profit (?:and|&) loss(?: statements?| accounts?)?)",
        (
            "statements of income",
            "statement of income",
            "statements of operations",
            "statement of operations",
            "statements of earnings",
            "statement of earnings",
            "income statement",
            "statements of consolidated income",
            "statements of consolidated earnings",
            "statements of consolidated operations",
            "statements of comprehensive income",
            "statements of net income",
            "statement of profit or loss",
        ),
        (
            "net sales revenue",
            "cost of sales",
            "operating income",
            "income before income taxes",
            "net income",
            "earnings per share diluted",
        ),
    ),
    Statement(
        "balance",
        r"(?:(?:consolidated )?balance sheets?|statements? of (?:consolidated )?financial (?:position|condition))",
        (
            "balance sheets",
            "balance sheet",
            "statements of financial position",
            "statement of financial position",
            "statements of financial condition",
            "statement of financial condition",
        ),
        (
            "cash and cash equivalents",
            "total current assets",
            "total assets",
            "total current liabilities",
            "total liabilities and equity",
        ),
    ),
    Statement(
        "cash flow",
        r"(?:statements? of (?:consolidated )?cash ?flows?|cash ?flows? statements?)",
        (
            "statements of cash flows",
            "statement of cash flows",
            "cash flow statement",
            "statements of consolidated cash flows",
        ),
        ("operating activities", "investing activities", "financing activities", "depreciation and amortization"),
    ),
)


@dataclass(frozen=True)
class Metric:
    """A figure that people ask for, and the lines of the statements that give it."""

    asked_as: str
    needs: tuple[tuple[str, tuple[str, ...]], ...]  # (statement key, line items)


def _metric(asked_as: str, **needs: tuple[str, ...]) -> Metric:
    return Metric(asked_as, tuple((key.replace("_", " "), lines) for key, lines in needs.items()))


_REVENUE = ("net sales", "total revenue")
_COGS = ("cost of sales", "cost of goods sold", "cost of products sold")
_OPERATING_INCOME = ("operating income", "income from operations", "operating profit")
_NET_INCOME = ("net income", "net earnings", "net income attributable to shareholders")
_RECEIVABLES = ("accounts receivable", "receivables net", "trade receivables")
_PAYABLES = ("accounts payable", "trade payables")
_CURRENT_ASSETS, _CURRENT_LIABILITIES = ("total current assets",), ("total current liabilities",)
_PPE = ("property plant and equipment net", "property and equipment net")
_DA = ("depreciation and amortization", "depreciation")
_CAPEX = ("purchases of property plant and equipment", "capital expenditures", "additions to property and equipment")
_CFO = ("net cash provided by operating activities",)
_DEBT = ("long-term debt", "short-term borrowings", "current portion of long-term debt")
_EQUITY = ("total shareholders equity", "total stockholders equity")
_TAX = ("provision for income taxes", "income before income taxes", "income tax expense")

METRICS = (
    _metric(
        r"quick ratio|acid[- ]test",
        balance=(
            "cash and cash equivalents",
            *_RECEIVABLES[:1],
            "inventories",
            *_CURRENT_ASSETS,
            *_CURRENT_LIABILITIES,
        ),
    ),
    _metric(
        r"current ratio|(?:net )?working capital(?: ratio)?|liquidity (?:ratio|profile)",
        balance=(*_CURRENT_ASSETS, *_CURRENT_LIABILITIES),
    ),
    _metric(r"cash ratio", balance=("cash and cash equivalents", *_CURRENT_LIABILITIES)),
    _metric(r"operating cash ?flow ratio", cash_flow=_CFO, balance=_CURRENT_LIABILITIES),
    _metric(
        r"cash (?:from|flows? from|generated by|provided by) operat\w+(?: activities)?|operating cash ?flow",
        cash_flow=_CFO,
    ),
    _metric(r"free cash ?flow|fcf", cash_flow=(*_CFO, *_CAPEX)),
    _metric(r"capex|capital expenditure|capital spending|capital intensity|capital[- ]intensive", cash_flow=_CAPEX),
    _metric(
        r"capital intensity|capital[- ]intensive|fixed asset turnover", balance=(*_PPE, "total assets"), income=_REVENUE
    ),
    _metric(r"return on assets|roa", balance=("total assets",), income=_NET_INCOME),
    _metric(r"return on equity|roe", balance=_EQUITY, income=_NET_INCOME),
    _metric(r"asset turnover", balance=("total assets",), income=_REVENUE),
    _metric(
        r"inventory turn(?:over|s)(?: ratio)?|days (?:of )?inventory(?: outstanding)?|dio",
        income=_COGS,
        balance=("inventories", *_CURRENT_ASSETS),
    ),
    _metric(
        r"days sales outstanding|dso|receivables? turnover", income=_REVENUE, balance=(*_RECEIVABLES, *_CURRENT_ASSETS)
    ),
    _metric(
        r"days payables? outstanding|dpo|payables? turnover",
        income=_COGS,
        balance=(*_PAYABLES, "inventories", *_CURRENT_LIABILITIES),
    ),
    _metric(
        r"cash conversion cycle|ccc",
        income=(*_REVENUE[:1], *_COGS),
        balance=(*_RECEIVABLES[:1], "inventories", *_PAYABLES),
    ),
    _metric(
        r"gross (?:profit|margin)(?: margin| profile)?", income=(*_REVENUE, *_COGS, "gross profit", "gross margin")
    ),
    _metric(r"(?:unadjusted )?operating (?:income|profit|margin|earnings)", income=(*_OPERATING_INCOME, *_REVENUE)),
    _metric(r"ebitda", income=_OPERATING_INCOME, cash_flow=_DA),
    _metric(r"ebit", income=_OPERATING_INCOME),
    _metric(r"d ?& ?a|depreciation (?:and|&) amortization", cash_flow=_DA),
    _metric(r"net (?:income|profit|earnings|margin|loss)|bottom line|profit margin", income=_NET_INCOME),
    _metric(r"effective (?:income )?tax rate|tax rate", income=_TAX),
    _metric(r"earnings per share|eps", income=("basic earnings per share", "diluted earnings per share")),
    _metric(r"interest coverage", income=(*_OPERATING_INCOME, "interest expense")),
    _metric(r"interest expense", income=("interest expense",)),
    _metric(r"cogs|cost of (?:goods sold|sales|revenues?)", income=_COGS),
    _metric(
        r"sg ?& ?a|selling,? general,? (?:and|&) administrative",
        income=("selling general and administrative expenses",),
    ),
    _metric(r"r ?& ?d|research (?:and|&) development", income=("research and development",)),
    _metric(r"(?:total |net )?revenues?|net sales|top line|sales growth", income=_REVENUE),
    _metric(
        r"retention ratio|(?:dividend )?pay-?out ratio|plowback", cash_flow=("dividends paid",), income=_NET_INCOME
    ),
    _metric(
        r"(?:cash )?dividends? paid|dividends? paid|paid dividends", cash_flow=("dividends paid", "cash dividends paid")
    ),
    _metric(
        r"share (?:buybacks?|repurchases?)|repurchased? shares|buybacks?",
        cash_flow=("repurchases of common stock", "treasury stock"),
    ),
    _metric(r"pp ?n? ?& ?e|ppn?e|property,? plant,? (?:and|&) equipment|fixed assets", balance=_PPE),
    _metric(r"total assets", balance=("total assets",)),
    _metric(r"total liabilities", balance=("total liabilities",)),
    _metric(r"current assets", balance=_CURRENT_ASSETS),
    _metric(r"current liabilities", balance=_CURRENT_LIABILITIES),
    _metric(r"accounts receivable|receivables|\bar\b(?= balance)", balance=_RECEIVABLES),
    _metric(r"accounts payable|payables", balance=_PAYABLES),
    _metric(r"inventor(?:y|ies)", balance=("inventories",)),
    _metric(r"goodwill", balance=("goodwill", "intangible assets")),
    _metric(r"shareholders?[’']? equity|stockholders?[’']? equity|total equity", balance=_EQUITY),
    _metric(r"debt[- ]to[- ]equity|debt ratio|leverage ratio", balance=(*_DEBT, *_EQUITY)),
    _metric(r"long[- ]term debt|total debt", balance=_DEBT),
    _metric(r"cash (?:and|&) (?:cash )?equivalents|cash balance", balance=("cash and cash equivalents",)),
    _metric(r"retained earnings", balance=("retained earnings",)),
)
