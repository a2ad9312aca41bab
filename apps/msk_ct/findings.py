"""What the graph of msk_ct carries from measuring to encoding."""

from __future__ import annotations

from dataclasses import dataclass

from apps.msk_ct.metal import Metal
from apps.msk_ct.quantify import Measurements
from apps.msk_ct.segmentation import Segmentation
from apps.msk_ct.structures import Segment, Side
from operators.read.ct import CtVolume

NAMED_AT_MOST = 6
"""So many structures are named in a sentence; the others are counted."""
_SIDE_WORDS = {Side.RIGHT: "Right ", Side.LEFT: "Left ", None: ""}


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Everything that pictures, report and tables are made of.

    Args:
        volume: The CT.
        segmentation: Segments and their uncertainty.
        measurements: Numbers.
        warnings: Every sentence that a reader must see, of rules, model and numbers.
    """

    volume: CtVolume
    segmentation: Segmentation
    measurements: Measurements
    warnings: tuple[str, ...]


def title_of(segment: Segment) -> str:
    """What a reader calls a segment; its Segment Label and tracking identifier.

    >>> from apps.msk_ct.structures import SEGMENTS
    >>> title_of(SEGMENTS[8]), title_of(SEGMENTS[42])
    ('Right gluteus maximus', 'Sacrum')
    """
    title = segment.structure.title
    side = _SIDE_WORDS[segment.side]
    return f"{side}{title[0].lower()}{title[1:]}" if side else title


def warnings_of(measurements: Measurements, metal: Metal | None = None) -> tuple[str, ...]:
    """What a reader must know of the numbers."""
    found = measurements.structures.values()
    warnings = []
    if metal is not None:
        where = "in the middle" if metal.side is None else f"on the {metal.side.value} side"
        warnings.append(
            f"Metal {where} ({metal.volume_ml:.0f} mL): outlines and numbers of the structures in its slices "
            "are falsified and marked as of low expected accuracy."
        )
    sides = {one.segment.side for one in found} - {None}
    if len(sides) == 1:
        (side,) = sides
        warnings.append(f"Only the {side.value} side was found: sides are not compared." if side else "")
    truncated = [one for one in found if one.is_truncated]
    if truncated:
        warnings.append(
            f"{len(truncated)} of {len(found)} structures are cut off by the edge of the scan (marked); "
            "their numbers are those of the part that was scanned, their sides are not compared."
        )
    doubtful = [title_of(one.segment).lower() for one in found if one.is_unreliable]
    if doubtful:
        warnings.append(f"Low expected accuracy, check the outlines: {_listed(doubtful)}.")
    unknown = sum(one.is_unreliable is None for one in found)
    if unknown:
        warnings.append(f"The expected accuracy of {unknown} structures is not known for this model.")
    if not measurements.density_line.is_calibrated and any(one.density_mg_cm3 is not None for one in found):
        warnings.append("Bone density is not calibrated: 0.8 mg/cm3 for each HU is assumed.")
    return tuple(warnings)


def _listed(names: list[str]) -> str:
    """Names as a sentence lists them.

    >>> _listed(["a", "b"]), _listed(list("abcdefgh"))
    ('a, b', 'a, b, c, d, e, f and 2 more')
    """
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
