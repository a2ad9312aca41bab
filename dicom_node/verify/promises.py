"""What an app promises to make: the ``[[output]]`` tables of its app.toml, as a type.

Read by `catalog`, checked by `verify` against what the app really made.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydicom.uid import UID

Count = Literal["1", "0..1", "1..n"]

_BOUNDS: dict[str, tuple[int, int | None]] = {"1": (1, 1), "0..1": (0, 1), "1..n": (1, None)}


class OutputPromise(BaseModel):
    """One kind of object that an app makes.

    Args:
        role: What the object is for, as in the app's ``result.json``.
        sop_class: SOP Class UID of the object (PS3.4 B.5).
        sop_class_by_setting: What a site's settings may make of it instead, such as a label map.
        count: How many there are: ``1``, ``0..1`` or ``1..n``.

    >>> OutputPromise(role="key_image", sop_class="1.2.840.10008.5.1.4.1.1.7", count="1..n").allows(0)
    False
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    sop_class: str = Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)
    sop_class_by_setting: tuple[str, ...] = ()
    count: Count = "1"

    @property
    def least(self) -> int:
        """The smallest number of objects that keeps the promise."""
        return _BOUNDS[self.count][0]

    @property
    def most(self) -> int | None:
        """The largest number of objects that keeps the promise; None when there is no limit."""
        return _BOUNDS[self.count][1]

    @property
    def sop_class_name(self) -> str:
        """The name of the SOP class in PS3.6, or its UID where that knows none."""
        return UID(self.sop_class).name

    def allows(self, number: int) -> bool:
        """True when this number of objects keeps the promise."""
        return self.least <= number and (self.most is None or number <= self.most)
