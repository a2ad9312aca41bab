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

MOST_NAMED = 4
"""Instances that one sentence names; of more it tells the number."""


@dataclass(frozen=True)
class EveryInstance:
    """What became of the instances that match an input.

    Args:
        taken: Those within the envelope, the earliest first.
        warnings: Sentences for the reader of the results.
        shortcoming: Why none was taken, of each the reason; None when some were.
    """

    taken: tuple[InstanceHeader, ...]
    warnings: tuple[str, ...]
    shortcoming: Shortcoming | None


_Unfit = tuple[InstanceView, Shortcoming]


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
    unfit: list[_Unfit] = []
    passed_over: list[_Unfit] = []
    for view in _each_once(matching):
        if view.header.sop_instance_uid in repeated:
            unfit.append((view, DIFFERENT_CONTENT))
        elif found := first_told(wanted, [view], "pass_over"):
            passed_over.append((view, found))
        elif found := instance_shortcoming(view, wanted.kind) or first_told(wanted, [view], "refuse"):
            unfit.append((view, found))
        else:
            fit.append(view)
    taken = tuple(view.header for view in fit)
    too_large = size_shortcoming(taken, memory_mb) if taken and wanted.kind == "image" else None
    if too_large is not None:
        fit, taken, unfit = [], (), [*((view, too_large) for view in fit), *unfit]
    warnings = [*_left_out(wanted, unfit), *envelope_warnings(wanted, fit)]
    return EveryInstance(taken, tuple(warnings), None if taken else _why_none(unfit or passed_over))


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


def _left_out(wanted: Input, unfit: Sequence[_Unfit]) -> list[str]:
    """A sentence for each reason, with the instances that it is about."""
    return [
        f"{_named(views)} {'was' if len(views) == 1 else 'were'} left out of {wanted.title}: {reason}"
        for reason, views in _by_reason(unfit).items()
    ]


def _why_none(unfit: Sequence[_Unfit]) -> Shortcoming:
    """Every reason, so that nobody who mends one picture is refused again for the next."""
    reasons = _by_reason(unfit)
    told = [f"{_named(views)}: {reason}" for reason, views in reasons.items()]
    return Shortcoming("; ".join(told) if len(told) > 1 else next(iter(reasons)), unfit[0][1].attribute)


def _by_reason(unfit: Sequence[_Unfit]) -> dict[str, list[InstanceView]]:
    """Instances by what they lack, in the order in which it is met first."""
    reasons: dict[str, list[InstanceView]] = {}
    for view, shortcoming in unfit:
        reasons.setdefault(shortcoming.reason, []).append(view)
    return reasons


def _named(views: Sequence[InstanceView]) -> str:
    """What a sentence calls instances: by their numbers, never by a description."""
    if len(views) > MOST_NAMED:
        return f"{len(views)} instances"
    return ", ".join(_name(view.header) for view in views)


def _name(header: InstanceHeader) -> str:
    instance, series = header.text("InstanceNumber"), header.text("SeriesNumber")
    if not instance.isdecimal():
        return "an instance without a number"
    return f"instance {instance} of series {series}" if series.isdecimal() else f"instance {instance}"
