"""Every app's verdict on a study: taken, not for this app, or refused, with the reason.

In come the series of one study, out comes one `AppVerdict` per app, in the order of the
apps. Pure: no file is written, no job made, and nothing is read but headers (and, for the
digest, the chosen files).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dicom_node.catalog import App
from operators.select.choose import NotForThisApp, Outside, choose_inputs
from operators.select.digests import input_digest
from operators.select.headers import InstanceHeader, SeriesHeaders


class Decision(StrEnum):
    """What the rules say of a study for one app, as the ledger records it."""

    TAKEN = "taken"  # the app is to run
    NOT_FOR_THIS_APP = "not_for_this_app"  # none of its series is the app's business
    REFUSED = "refused"  # outside of what the app may be used on; a person reads the reason


@dataclass(frozen=True, kw_only=True)
class AppVerdict:
    """What becomes of a study for one app.

    Args:
        app: The app.
        decision: Whether it is to run.
        reason: Why not; empty when taken.
        attribute: The DICOM keyword (or dotted path) that the reason is about.
        inputs: Input name to the chosen instances; empty unless taken.
        warnings: Sentences that the reader of the results must see.
    """

    app: App
    decision: Decision
    reason: str = ""
    attribute: str = ""
    inputs: dict[str, tuple[InstanceHeader, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def paths(self) -> dict[str, list[Path]]:
        """Input name to the files of the chosen instances."""
        return {name: [one.path for one in chosen] for name, chosen in self.inputs.items()}

    def input_digest(self) -> str:
        """``sha256:...`` over the chosen instances; reads those whose digest is not known yet.

        Raises:
            OSError: A file is not there any more.
        """
        return input_digest(self.inputs)


def route_study(series: Sequence[SeriesHeaders], apps: Iterable[App]) -> list[AppVerdict]:
    """One verdict per app on the series of one study.

    Args:
        series: Every series of the study.
        apps: The apps to ask.
    """
    return [_verdict(series, app) for app in apps]


def _verdict(series: Sequence[SeriesHeaders], app: App) -> AppVerdict:
    found = choose_inputs(app.manifest, series)
    if isinstance(found, NotForThisApp):
        return AppVerdict(
            app=app, decision=Decision.NOT_FOR_THIS_APP, reason=found.reason, attribute=found.attribute
        )
    if isinstance(found, Outside):
        return AppVerdict(app=app, decision=Decision.REFUSED, reason=found.reason, attribute=found.attribute)
    return AppVerdict(app=app, decision=Decision.TAKEN, inputs=found.inputs, warnings=found.warnings)
