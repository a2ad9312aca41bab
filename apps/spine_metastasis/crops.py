"""One vertebra cut out of a sequence: 80 mm with its neighbours, upright, three slices, 8 bits.

The grey value does not depend on the scanner's units: 0 is no signal, and white is set by the spine
and what lies around it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from apps.spine_metastasis.levels import Vertebra
from apps.spine_metastasis.stack import SagittalStack

SIZE_MM = 80.0
PIXELS = 128
ACROSS_MM = (-13.0, 0.0, 13.0)
"""Where the slices of a picture lie, towards the patient's right of the vertebra's middle: in the pedicles,
which an osteoporotic fracture mostly spares, and in the middle. The nearest slice is taken, but for a pedicle
never that of the middle."""
CHANNELS = len(ACROSS_MM)
WHITE_PERCENTILE = 99.0
WHITE_VALUE = 200.0
"""What the percentile of the spine's surroundings becomes, of 255."""
CORRIDOR_MM = 45.0
"""In front of and behind the spine, from which white is taken."""


def white_of(stack: SagittalStack, vertebrae: Sequence[Vertebra]) -> float:
    """Signal that becomes `WHITE_VALUE`: of what lies around the spine, in its middle slices."""
    places = stack.index_of(np.array([vertebra.centre for vertebra in vertebrae]))
    slices, rows, columns = stack.signal.shape
    low_row = int(np.clip(places[:, 1].min(), 0, rows - 1))
    high_row = int(np.clip(places[:, 1].max() + 1, 0, rows))
    reach = CORRIDOR_MM / stack.geometry.spacing_mm_zyx[2]
    low_column = int(np.clip(places[:, 2].min() - reach, 0, columns - 1))
    high_column = int(np.clip(places[:, 2].max() + reach, low_column + 1, columns))
    middle = np.clip(np.unique(np.round(places[:, 0]).astype(int)), 0, slices - 1)
    around = stack.signal[middle, low_row : max(high_row, low_row + 1), low_column:high_column]
    white = float(np.percentile(around, WHITE_PERCENTILE))
    return white if white > 0 else 1.0


def is_inside(stack: SagittalStack, vertebra: Vertebra) -> bool:
    """True when the middle of the vertebra lies in the series."""
    place = stack.index_of(vertebra.centre)
    return bool(np.all(place > -0.5) and np.all(place < np.array(stack.signal.shape) - 0.5))


def outside_share(stack: SagittalStack, vertebra: Vertebra) -> float:
    """Share of the vertebra's picture that lies outside of the series, 0..1: it is black there."""
    _, rows, columns = crop_grid(stack, vertebra)
    height, width = stack.signal.shape[1:]
    inside = (rows > -0.5) & (rows < height - 0.5) & (columns > -0.5) & (columns < width - 0.5)
    return float(1 - inside.mean())


def crop(
    stack: SagittalStack, vertebra: Vertebra, white: float, *, pixels: int = PIXELS
) -> NDArray[np.uint8]:
    """The vertebra's picture, ``(3, pixels, pixels)`` uint8; rows go down the spine, columns to the back.

    Args:
        stack: A sequence.
        vertebra: Whose centre lies in it.
        white: Of `white_of`.
        pixels: Of each side; more than `PIXELS` show more of the surroundings at the same scale.
    """
    slice_number, rows, columns = crop_grid(stack, vertebra, pixels=pixels)
    last = stack.signal.shape[0] - 1
    out = np.empty((CHANNELS, pixels, pixels), dtype=np.uint8)
    for channel, step in enumerate(slice_steps(stack.geometry.spacing_mm_zyx[0])):
        plane = stack.signal[int(np.clip(slice_number + step, 0, last))]
        values = map_coordinates(plane, [rows, columns], order=1, mode="constant", cval=0.0)
        out[channel] = np.clip(values * (WHITE_VALUE / white), 0, 255).round().astype(np.uint8)
    return out


def slice_steps(slice_mm: float) -> tuple[int, ...]:
    """Of each of `ACROSS_MM`, how many slices it lies from that of the middle.

    >>> slice_steps(4.4), slice_steps(8.0)
    ((-3, 0, 3), (-2, 0, 2))
    """
    steps = (max(round(abs(place) / slice_mm), 1) for place in ACROSS_MM)
    return tuple(int(np.sign(place)) * step for place, step in zip(ACROSS_MM, steps, strict=True))


def crop_grid(
    stack: SagittalStack, vertebra: Vertebra, *, pixels: int = PIXELS
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """Number of the slice, and fractional rows and columns of the picture's pixels, squares."""
    place = stack.index_of(vertebra.centre)
    along = stack.index_of(vertebra.centre + np.asarray(vertebra.axis_lps)) - place
    _, row_mm, column_mm = stack.geometry.spacing_mm_zyx
    down = np.array([along[1] * row_mm, along[2] * column_mm])
    length = float(np.linalg.norm(down))
    down = down / length if length > 0 else np.array([1.0, 0.0])
    back = np.array([-down[1], down[0]])
    offsets = (np.arange(pixels) - (pixels - 1) / 2) * (SIZE_MM / PIXELS)
    rows = place[1] + (offsets[:, None] * down[0] + offsets[None, :] * back[0]) / row_mm
    columns = place[2] + (offsets[:, None] * down[1] + offsets[None, :] * back[1]) / column_mm
    number = int(np.clip(round(float(place[0])), 0, stack.signal.shape[0] - 1))
    return number, rows, columns
