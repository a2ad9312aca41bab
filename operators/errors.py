"""Errors that an app may raise on purpose.

::

    AppError
    ├── Refused        the input is outside what the app may be used on
    └── BrokenBundle   the model folder is incomplete or not what it claims

Anything else that leaves a graph is a defect and is reported as one.
"""

from __future__ import annotations


class AppError(Exception):
    """An app cannot go on."""


class Refused(AppError):
    """The input is outside what the app may be used on; a person reads the reason.

    Args:
        reason: A sentence that names the attribute, its value and what is needed.
        attribute: The DICOM keyword (or dotted path of keywords) at fault.
    """

    def __init__(self, reason: str, *, attribute: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.attribute = attribute


class BrokenBundle(AppError):
    """A model folder is incomplete or its weights are not the ones it names."""
