"""What is normal at an age: a site's regression of binding ratios, and the distance from it.

Uptake falls by a share of itself with each decade, so the logarithm is regressed on age and
sex. What is expected is therefore a median, and z is linear in the ratio around it, with a spread that
is a share of it. Subjects are healthy ones only, and their values means of both sides: of one side z is a
little too far from 0. The numbers are a site's own: they hold for its camera and reconstruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CENTRE_AGE_YEARS = 60.0
LEAST_SUBJECTS = 12
"""With fewer normal subjects than this, three coefficients and a spread mean nothing."""
SEXES = {"F": 0.5, "M": -0.5}
"""Regressor of sex; another or an unknown sex lies between."""


class TooFewNormals(ValueError):
    """There are not enough normal subjects for a range of normal."""


@dataclass(frozen=True, kw_only=True)
class NormalRange:
    """Normal values of one quantity by age and sex.

    Args:
        log_at_60: Mean of the logarithm at 60 years, between the sexes.
        log_per_decade: Its change with ten years.
        log_female: Women's less men's.
        spread: Standard deviation of the logarithm: the spread as a share of the mean.
        n: Subjects.
        youngest_years, oldest_years: Their ages; outside, the range is extrapolated.
    """

    log_at_60: float
    log_per_decade: float
    log_female: float
    spread: float
    n: int
    youngest_years: float
    oldest_years: float

    def expected(self, age_years: float, sex: str) -> float:
        """Mean of normal subjects of this age and sex.

        >>> flat = NormalRange(log_at_60=np.log(7.0), log_per_decade=0.0, log_female=0.0, spread=0.1,
        ...                    n=30, youngest_years=30, oldest_years=80)
        >>> round(flat.expected(50, "M"), 3), round(flat.z(5.6, 50, "M"), 3)
        (7.0, -2.0)
        """
        decades = (age_years - CENTRE_AGE_YEARS) / 10.0
        log = self.log_at_60 + self.log_per_decade * decades + self.log_female * SEXES.get(sex, 0.0)
        return float(np.exp(log))

    def z(self, value: float, age_years: float, sex: str) -> float:
        """Standard deviations from the mean at this age and sex; negative is low."""
        mean = self.expected(age_years, sex)
        return (value - mean) / (self.spread * mean)

    def covers(self, age_years: float) -> bool:
        """True when subjects of about this age were among the normal ones."""
        return self.youngest_years - 5 <= age_years <= self.oldest_years + 5

    def to_json_dict(self) -> dict[str, Any]:
        """As it stands in the bundle."""
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def fit_normal_range(
    values: Sequence[float], ages_years: Sequence[float], sexes: Sequence[str]
) -> NormalRange:
    """Least squares of the logarithm on age and sex.

    Args:
        values: Of normal subjects, above 0.
        ages_years: Theirs.
        sexes: ``F``, ``M`` or other.

    Raises:
        TooFewNormals: Fewer than `LEAST_SUBJECTS`.
        ValueError: A value is not above 0.
    """
    if len(values) < LEAST_SUBJECTS:
        raise TooFewNormals(
            f"{len(values)} normal subjects; at least {LEAST_SUBJECTS} are needed for a range of normal"
        )
    found = np.asarray(values, dtype=np.float64)
    if found.min() <= 0:
        raise ValueError("a normal subject has a binding ratio of 0 or less")
    decades = (np.asarray(ages_years, dtype=np.float64) - CENTRE_AGE_YEARS) / 10.0
    sex = np.array([SEXES.get(one, 0.0) for one in sexes])
    rows = np.stack([np.ones_like(decades), decades, sex], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(rows, np.log(found), rcond=None)
    spread = float(np.sqrt(((np.log(found) - rows @ solution) ** 2).sum() / (len(found) - rank)))
    return NormalRange(
        log_at_60=float(solution[0]),
        log_per_decade=float(solution[1]),
        log_female=float(solution[2]),
        spread=spread,
        n=len(found),
        youngest_years=float(min(ages_years)),
        oldest_years=float(max(ages_years)),
    )
