"""Ratios of striatal uptake: pure numbers in, pure numbers out.

Specific binding ratio by Bolt (the Southampton method): all counts of a generous volume
around one striatum count, so that blurring loses nothing; the volume's share of unspecific
uptake is taken away, and what is left is put into a striatum of standard size.
"""

from __future__ import annotations

STANDARD_STRIATUM_ML = 11.2
"""Volume of one striatum in Bolt's formula (Tossici-Bolt 2006)."""


def bolt_ratio(
    voi_counts: float,
    voi_volume_ml: float,
    reference_counts_per_ml: float,
    *,
    striatum_ml: float = STANDARD_STRIATUM_ML,
) -> float:
    """Specific binding ratio: (C_VOI / c_ref - V_VOI) / V_striatum.

    Args:
        voi_counts: All counts in a volume that holds one striatum and what blurs out of it.
        voi_volume_ml: Of that volume.
        reference_counts_per_ml: Unspecific uptake, counts per mL, above 0.
        striatum_ml: Volume that the specific counts are put into.

    Raises:
        ValueError: There are no reference counts.

    >>> round(bolt_ratio(1784.0, 100.0, 10.0), 3)
    7.0
    """
    if reference_counts_per_ml <= 0:
        raise ValueError("the reference region has no counts")
    return (voi_counts / reference_counts_per_ml - voi_volume_ml) / striatum_ml


def region_ratio(counts_per_ml: float, reference_counts_per_ml: float) -> float:
    """Specific binding ratio of a region as imaged, blur included: c / c_ref - 1.

    Raises:
        ValueError: There are no reference counts.

    >>> region_ratio(40.0, 10.0)
    3.0
    """
    if reference_counts_per_ml <= 0:
        raise ValueError("the reference region has no counts")
    return counts_per_ml / reference_counts_per_ml - 1.0


def asymmetry_percent(right: float, left: float) -> float | None:
    """Asymmetry index, 200 * |R - L| / (R + L); None when there is no uptake on either side.

    >>> round(asymmetry_percent(4.0, 6.0), 1)
    40.0
    >>> asymmetry_percent(-0.1, 0.05) is None
    True
    """
    total = max(right, 0.0) + max(left, 0.0)
    return None if total <= 0 or right + left <= 0 else 200.0 * abs(max(right, 0.0) - max(left, 0.0)) / total


def putamen_caudate_ratio(putamen: float, caudate: float) -> float | None:
    """Binding ratio of the putamen over that of the caudate; None without uptake in the caudate.

    >>> putamen_caudate_ratio(2.0, 4.0)
    0.5
    """
    return putamen / caudate if caudate > 0 else None
