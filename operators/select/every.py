"""An input that is made of every fitting instance of the study, whatever series it is in.

Radiographs of one examination lie in one series or in one each, in any order, with retakes and
pictures of other parts between them: there the series says nothing, the instance everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from operators.select.envelope import DIFFERENT_CONTENT, content_moment, envelope_warnings, first_told
from operators.select.headers import InstanceHeader, InstanceView
from operators.select.manifest import Input
from operators.select.required import Shortcoming, instance_shortcoming, size_shortcoming


@dataclass(frozen=True)
class EveryInstance:
    """What became of the instances that match an input.

    Args:
        taken: Those within the envelope, the earliest first.
        warnings: Sentences for the reader of the results.
        shortcoming: Why none was taken; None when some were.
    """

    taken: tuple[InstanceHeader, ...]
    warnings: tuple[str, ...]
    shortcoming: Shortcoming | None


def take_every(wanted: Input, matching: Sequence[InstanceView], memory_mb: int) -> EveryInstance:
    """Sorts the instances that match into those within the envelope and those left out.

    An instance that fails a rule with severity ``pass_over`` is left out without a word where
    another one fits.

    Args:
        wanted: The input.
        matching: Instances that fulfil all of its ``match``; at least one, of any series.
        memory_mb: What the app may use for the pixels of all of them.
    """
    repeated = _with_different_content(matching)
    fit: list[InstanceView] = []
    unfit: list[Shortcoming] = []
    passed_over: list[Shortcoming] = []
    for view in _each_once(matching):
        if view.header.sop_instance_uid in repeated:
            unfit.append(DIFFERENT_CONTENT)
        elif found := first_told(wanted, [view], "pass_over"):
            passed_over.append(found)
        elif found := instance_shortcoming(view, wanted.kind) or first_told(wanted, [view], "refuse"):
            unfit.append(found)
        else:
            fit.append(view)
    taken = tuple(view.header for view in fit)
    too_large = size_shortcoming(taken, memory_mb) if taken and wanted.kind == "image" else None
    if too_large is not None:
        fit, taken, unfit = [], (), [too_large, *unfit]
    warnings = [*_left_out(wanted, unfit), *envelope_warnings(wanted, fit)]
    shortcoming = None if taken else (unfit or passed_over)[0]
    return EveryInstance(taken, tuple(warnings), shortcoming)


def _each_once(matching: Sequence[InstanceView]) -> list[InstanceView]:
    """One view for each SOP Instance UID, and all that have none, the earliest first."""
    ordered = sorted(matching, key=_when)
    first: dict[str, InstanceView] = {}
    for view in ordered:
        first.setdefault(view.header.sop_instance_uid, view)
    return [
        view
        for view in ordered
        if not view.header.sop_instance_uid or first[view.header.sop_instance_uid] is view
    ]


def _when(view: InstanceView) -> tuple[int, str, int, str]:
    header = view.header
    number = header.text("InstanceNumber")
    position = int(number) if number.lstrip("-").isdecimal() else 0
    return content_moment(header), header.series_instance_uid, position, header.sop_instance_uid


def _with_different_content(matching: Sequence[InstanceView]) -> set[str]:
    """SOP Instance UIDs that stand for several contents."""
    uids = Counter(view.header.sop_instance_uid for view in matching)
    several = {uid for uid, count in uids.items() if uid and count > 1}
    contents = {
        (view.header.sop_instance_uid, view.header.content_digest)
        for view in matching
        if view.header.sop_instance_uid in several
    }
    counted = Counter(uid for uid, _ in contents)
    return {uid for uid, count in counted.items() if count > 1}


def _left_out(wanted: Input, unfit: Sequence[Shortcoming]) -> list[str]:
    """A sentence for each reason, with the number of instances that it is about."""
    return [
        f"an instance that is {wanted.title} was left out: {reason}"
        if count == 1
        else f"{count} instances that are {wanted.title} were left out: {reason}"
        for reason, count in Counter(one.reason for one in unfit).items()
    ]
