"""What a question asks for, without a language model: its core, and the pages of accounts that it needs.

People wrap questions ("You are an investment banker and your only resource is ... Here's the question: ... Round to two
decimal places.") and ask for metrics that stand nowhere in the text ("quick ratio"). The wrapping is taken off, and a
metric is turned into facets: one sub-query per statement, with the line items that it is computed from. A question that
says nothing of the kind passes unchanged, with no facets.

    understand("Has AMCOR's quick ratio improved between FY2022 and FY2023?").facets[0].text
    # "consolidated balance sheets: cash and cash equivalents, accounts receivable, inventories, ..."
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag.finance_terms import METRICS, STATEMENTS, Statement


@dataclass(frozen=True)
class Facet:
    """A statement that the question needs, and what to look for on its page."""

    statement: Statement
    lines: tuple[str, ...]  # line items, lower case, most telling first
    named: bool  # the question names the statement itself

    @property
    def text(self) -> str:
        """The facet as a query."""
        return f"consolidated {self.statement.titles[0]}: " + ", ".join(self.lines)


@dataclass(frozen=True)
class Query:
    """A question as the search sees it."""

    text: str  # as asked
    core: str  # without instructions about how to answer
    facets: tuple[Facet, ...] = ()
    metric: bool = False  # asks for a figure: tables matter more than prose


# Sentences that tell how to answer, not what is asked.
_INSTRUCTION = re.compile(
    r"^(?:"
    r"if .{0,160}\b(?:state|explain|say so|specify|mention)\b"
    r"|(?:please )?(?:round|express|report|format|present|give|show|provide|state|write|return|answer)\b.{0,60}\b"
    r"(?:decimal|answer|response|solution|percent\w*|units?|usd|millions?|billions?|thousands?|dollars?|words?|sentences?|place|step)\b"
    r"|(?:please )?(?:answer|respond|address|calculate|compute|base|utili[sz]e|use|rely|refer|focus|limit)\b.{0,80}\b"
    r"(?:information|line items?|resources?|statements?|data|judgments?|question|was asked|following|sheet|details)\b"
    r"|(?:you are|act as|imagine|assume|pretend|suppose) .{0,40}"
    r"\b(?:analyst|banker|expert|investor|assistant|accountant|advisor|lawyer|attorney)\b"
    r"|we (?:need|want|would like|have) to (?:calculate|compute|find|determine)\b.{0,120}\bmetric\b"
    r"|please help\b|think step by step|be (?:brief|concise|precise)\b|do not (?:guess|make)\b|keep it (?:short|brief)"
    r")",
    re.I,
)  # fmt: skip
_ANNOUNCED = re.compile(
    r"(?:here(?:'|’)?s the question|here is the question|please answer the following question"
    r"|the question is|question)\s*:\s*",
    re.I,
)
_LEAD_IN = re.compile(  # "Using only the information within the balance sheet, how much ..."
    r"^[^?]{0,260}?"
    r"\b(?:statements?|sheets?|information|resources?|line items?|details|p&l|filing|data|report|document)\b"
    r"[^?]{0,40}?[,:]\s*"
    r"(?=(?:what|how|which|who|whose|when|where|why|did|does|do|is|are|was|were|has|have|can|could|by)\b)",
    re.I,
)
_PARENTHESIS = re.compile(r"\s*\((?:in|round|answer|as an?|expressed|rounded)\b[^()]{0,80}\)", re.I)
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+(?=[\"'“(]?[A-Z0-9])")


# Compiled here: looking a hundred of them up in re's cache took most of reading a question.
_STATEMENTS = [(statement, re.compile(rf"\b{statement.asked_as}")) for statement in STATEMENTS]
_METRICS = [(metric, re.compile(rf"(?<![\w&])(?:{metric.asked_as})s?(?![\w&])")) for metric in METRICS]
_CONDITION = re.compile(r"\bif [^.?]{0,160}\b(?:state|explain)\b[^.?]*")
_AMOUNT_OF = re.compile(r"\btotal (?:amount|value|sum|level) of (?:(?:its|their|the|all) )?")


# Periods or money: a metric is one in a sentence that speaks of them; "inventory" alone is not accounting.
_ACCOUNTS_CONTEXT = re.compile(
    r"\bfy ?'?\d{2,4}\b|\bfiscal\b|\bq[1-4]\b|\b(?:19|20)\d\d\b|\byear[- ](?:over|on|end)"
    r"|\bquarter|\bratio\b|\bmargin\b|\busd\b|\$"
    r"|\bmillions?\b|\bbillions?\b|\b10-?[kq]\b|\bannual report\b|\bturnover\b|\bbalance sheet|\bebitda?\b|\bcapex\b",
    re.I,
)


def strip_instructions(question: str) -> str:
    """The question without sentences, lead-ins and brackets that only say how to answer it."""
    announced = list(_ANNOUNCED.finditer(question))
    text = question[announced[-1].end() :] if announced and announced[-1].end() < len(question) - 8 else question
    kept = [s for s in _SENTENCE.split(text) if not _INSTRUCTION.match(s.strip())]
    asked = [s for s in kept if "?" in s]
    definitions = [
        s
        for s in kept
        if re.search(r"\b(?:is|are) (?:defined|calculated|computed) as\b|^(?:define|calculate)\b", s, re.I)
    ]
    if asked and definitions:  # a definition names what is needed, the facets read it; the core does not repeat it
        kept = [s for s in kept if s not in definitions]
    core = " ".join(_PARENTHESIS.sub("", _LEAD_IN.sub("", s.strip(), count=1)) for s in kept).strip()
    return core if len(core) >= 8 else question.strip()


def understand(question: str) -> Query:
    """Read a question: core, facets, whether it asks for a figure."""
    core = strip_instructions(question)
    lowered = " ".join(question.lower().replace("’", "'").split())
    named = {statement.key for statement, asked_as in _STATEMENTS if asked_as.search(lowered)}
    if not named and not _ACCOUNTS_CONTEXT.search(lowered):  # whatever metrics it seems to name
        return Query(question, core)
    needs: dict[str, list[str]] = {}
    # Metrics are read from the question without its statements' names: "cash flow statement" is not a cash flow.
    bare = lowered
    for _, asked_as in _STATEMENTS:
        bare = asked_as.sub(" ", bare)
    bare = _CONDITION.sub(" ", bare)
    bare = _AMOUNT_OF.sub("total ", bare)
    for metric, asked_as in _METRICS:
        if asked_as.search(bare):
            for key, lines in metric.needs:
                needs.setdefault(key, []).extend(lines)
    if not named and not needs:
        return Query(question, core)
    facets = []
    for statement in STATEMENTS:
        if statement.key not in needs and statement.key not in named:
            continue
        if named and statement.key not in named and len(named) >= len(needs):
            continue  # the question says where to look
        lines = tuple(dict.fromkeys(needs.get(statement.key, ()))) or statement.lines
        facets.append(Facet(statement, lines, statement.key in named))
    return Query(question, core, tuple(facets), metric=True)
