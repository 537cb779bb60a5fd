"""What of a chart speaks of the future."""

from __future__ import annotations

import pytest

from chartdistill.clinical.text.forecasts import is_forecast


@pytest.mark.parametrize(
    ("sentence", "forecast"),
    [
        ("Prognosis is guarded.", True),
        ("The patient should do well with the operation.", True),
        ("She is expected to recover within six weeks.", True),
        ("Life expectancy is about two years.", True),
        ("He will likely need dialysis.", True),
        ("Prognosis fair to guarded.", True),
        ("Prognosis guarded given metastases.", True),
        ("We discussed prognosis and poor appetite.", False),
        ("The patient will be followed in the clinic.", False),
        ("She tolerated the procedure well.", False),
        ("Discharged in good condition.", False),
        ("He hopes to return to work.", False),
        ("If it does not improve, call us.", False),
        ("The risks include infection and failure to recover.", False),
        ("The prognosis was not discussed.", False),
        ("She will return in two weeks.", False),
        ("She has asthma.", False),
    ],
)
def test_what_a_forecast_is(sentence: str, forecast: bool) -> None:
    assert is_forecast(sentence) is forecast
