"""Word errors do not count ways of writing."""

from __future__ import annotations

import pytest

from benchmarks._word_errors import errors


@pytest.mark.parametrize(
    ("reference", "heard", "expected"),
    [
        ("He labelled 12 data bases.", "he labeled twelve databases", (0, 4)),
        (
            "In 1904 the slaveholder paid $5 million",
            "in nineteen oh four the slave holder paid five million dollars",
            0,
        ),
        ("the colour of the theatre's defence", "The color of the theater's defense.", 0),
        ("The FBI and BYU", "the F. B. I. and b y u", 0),
        ("who ranked it", "you ranked it", (1, 3)),
        ("one two three", "", (3, 3)),
        ("", "noise", (1, 0)),
        ("go on", "go on and on", (2, 2)),
    ],
)
def test_errors(reference: str, heard: str, expected: int | tuple[int, int]) -> None:
    found = errors(reference, heard)
    assert (found if isinstance(expected, tuple) else found[0]) == expected
