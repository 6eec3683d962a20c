"""The soak: what it looks at, and what it says of growth."""

import pandas as pd
import pytest

from tests.bench.soak import growth, soak


def test_growth_is_the_largest_later_value_and_nothing_before_counts():
    rows = pd.DataFrame(
        {"step": [50, 200, 250, 300], "kept_mib": [900.0, 100.0, 110.0, 90.0], "processes": [3, 0, 0, 2]}
    )
    assert growth(rows) == {"kept_mib": 1.1, "processes": 3.0}
    with pytest.raises(ValueError, match="steps: nothing was looked at twice after step 200"):
        growth(rows[:2])


@pytest.mark.slow
def test_a_short_soak_looks_at_everything():
    rows = soak(steps=4, every=2)
    assert rows["step"].tolist() == [2, 4] and (rows["processes"] == 0).all() and (rows["files"] > 2).all()
    assert (rows["kept_mib"] > 100).all() and (rows["kept_mib"] <= rows["resident_mib"] + 50).all()
