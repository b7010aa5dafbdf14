"""How single values are written on the page."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from octoscope.report.rows import count, figure, interval, p_text, percent, records


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.4, "0.40"),
        (0.0398, "0.040"),
        (0.0000012, "0.0000012"),
        (28.4, "28"),
        (1437.2, "1,437"),
        (-0.2, "-0.20"),
        (0.0, "0"),
        (3, "3"),
        (1.0, "1.0"),
        (0.9986, "0.999"),
        (0.99999999, "> 0.99999"),
        (None, "n/a"),
        (math.nan, "n/a"),
    ],
)
def test_a_figure_has_two_digits_and_no_exponent(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_an_interval_of_a_constant_is_not_defined() -> None:
    """Red: 0 of 20 pairs are edges, and the interval reads 0 to 0."""
    assert interval({"low": 0.0, "high": 0.0}, "low", "high") == "not defined"
    assert interval({"low": None, "high": 0.5}, "low", "high") == "not defined"
    assert interval({"low": 0.1, "high": 0.25}, "low", "high") == "0.10 to 0.25"
    assert interval({"low": 0.1, "high": 0.25}, "low", "high", percent) == "10 % to 25 %"


def test_unknown_counts_and_small_p_values() -> None:
    assert count(None) == "n/a"
    assert count(np.int64(12345)) == "12,345"
    assert p_text(0.00001) == "< 0.0001"
    assert p_text(0.04) == "= 0.040"
    assert p_text(None) == "= n/a"


def test_a_null_of_a_whole_number_is_none() -> None:
    table = pd.DataFrame({"n": pd.array([1, None], dtype="Int64")})
    assert records(table)[1]["n"] is None
