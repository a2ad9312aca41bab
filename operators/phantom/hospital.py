"""Where a phantom comes from; what its patients and its equipment are like is the app's."""

from __future__ import annotations

from enum import Enum


class Hospital(Enum):
    """Hospital A trains, hospital B tests, and a world wider than both is for training beyond A.

    >>> [hospital.number for hospital in Hospital]
    [1, 2, 3]
    """

    A = 1
    B = 2
    ANY = 3

    @property
    def number(self) -> int:
        """Part of the seed of every case of this hospital."""
        return self.value
