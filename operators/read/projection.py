"""From where a radiograph was taken, and of which side, as its header says.

The rules that choose an app's inputs (`operators.select.clinical`) and the readers tell it by
the same tables: coded attributes first, text, Japanese or English, last.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from operators.select import clinical
from operators.select.headers import QUIET

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class View(StrEnum):
    """Direction of the beam through the patient; the value is that of the fact ``@view``."""

    AP = "AP"
    PA = "PA"
    LATERAL = "LATERAL"


class Side(StrEnum):
    """Side of the patient; the value is that of Laterality (0020,0060), and ``B`` for both."""

    RIGHT = "R"
    LEFT = "L"
    BOTH = "B"


def view_of(dataset: Dataset) -> View | None:
    """The view; None when nothing tells, or a text names several.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset(); dataset.ViewPosition = "AP"
    >>> view_of(dataset)
    <View.AP: 'AP'>
    """
    with QUIET:
        name = clinical.view_of(dataset)
    return None if name is None else View(name)


def side_of(dataset: Dataset) -> Side | None:
    """The side; None when nothing tells, or `side_contradiction` says why not.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset(); dataset.SeriesDescription = "Rt. HIP_AXIAL"
    >>> side_of(dataset), view_of(dataset)
    (<Side.RIGHT: 'R'>, <View.LATERAL: 'LATERAL'>)
    """
    with QUIET:
        name = clinical.side_told(dataset).side
    return None if name is None else Side(name)


def side_contradiction(dataset: Dataset) -> str:
    """Which two attributes name opposite sides, a part of a sentence; empty when none do.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset(); dataset.ImageLaterality, dataset.ProtocolName = "L", "Rt. HIP_AXIAL"
    >>> side_of(dataset), side_contradiction(dataset)
    (None, 'ImageLaterality says left, ProtocolName says right')
    """
    with QUIET:
        return clinical.side_told(dataset).contradiction
