"""What of an envelope is false for instances, and the sentence that a person reads.

Shared by the two ways of taking an input: one series (`operators.select.choose`) and every
instance (`operators.select.every`).
"""

from __future__ import annotations

from collections.abc import Sequence

from operators.select.headers import InstanceHeader, InstanceView
from operators.select.manifest import EnvelopeRule, Input
from operators.select.predicates import Predicate
from operators.select.required import Shortcoming

DIFFERENT_CONTENT = Shortcoming("SOPInstanceUID occurs twice, with different content", "SOPInstanceUID")


def first_told(wanted: Input, views: Sequence[InstanceView], severity: str) -> Shortcoming | None:
    """The first rule of the envelope with this severity that is false for an instance, or None."""
    rules = (rule for rule in wanted.envelope if rule.severity == severity)
    return next((told for rule in rules if (told := _told(rule, views)) is not None), None)


def envelope_warnings(wanted: Input, views: Sequence[InstanceView]) -> list[str]:
    """A sentence for each rule that only warns and is false for an instance."""
    told = (_told(rule, views) for rule in wanted.envelope if rule.severity == "warn")
    return [f"{wanted.title}: {one.reason}" for one in told if one is not None]


def share(failing: Sequence[InstanceView], views: Sequence[InstanceView]) -> str:
    """``in 1 of 20 instances``."""
    return f"in {len(failing)} of {len(views)} instances"


def content_moment(header: InstanceHeader) -> int:
    """Date and time of the content as one number, 0 when unknown."""
    for kind in ("Content", "Acquisition", "Series"):
        date, time = header.text(f"{kind}Date"), header.text(f"{kind}Time")
        digits = f"{date[:8]}{time[:6].ljust(6, '0')}"
        if len(date) >= 8 and digits.isdecimal():
            return int(digits)
    return 0


def _told(rule: EnvelopeRule, views: Sequence[InstanceView]) -> Shortcoming | None:
    """The rule's reason and what the instances have instead, or None when it holds for all."""
    failing = [view for view in views if not rule.holds(view)]
    if not failing:
        return None
    part = f", {share(failing, views)}" if len(failing) < len(views) else ""
    return Shortcoming(f"{rule.reason}: {_state(rule, failing[0])}{part}", rule.at_fault(failing[0]))


def _state(rule: Predicate, view: InstanceView) -> str:
    return rule.explain(view) if rule.negated is not None else rule.state(view)
