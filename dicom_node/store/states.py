"""Job states and the changes between them, as one table.

The names are part of the outside interface.
"""

from __future__ import annotations

from enum import StrEnum

from dicom_node.errors import IllegalTransition


class JobState(StrEnum):
    """Where a job is."""

    WAITING = "waiting"  # a retry is due later
    READY = "ready"  # queued
    RUNNING = "running"  # the app computes
    VERIFYING = "verifying"  # what it made is checked
    DELIVERING = "delivering"  # results are on their way
    DELIVERED = "delivered"  # every destination has every result
    REFUSED = "refused"  # the input is outside the envelope; a person reads the reason
    FAILED = "failed"  # given up; a person reads the reason


ENDED = frozenset({JobState.DELIVERED, JobState.REFUSED, JobState.FAILED})

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.READY, JobState.RUNNING, JobState.DELIVERING, JobState.FAILED}),
    JobState.READY: frozenset({JobState.RUNNING, JobState.WAITING, JobState.DELIVERING, JobState.FAILED}),
    # DELIVERING: the node was killed between keeping the results and saying so
    JobState.RUNNING: frozenset(
        {JobState.VERIFYING, JobState.WAITING, JobState.DELIVERING, JobState.REFUSED, JobState.FAILED}
    ),
    # RUNNING: the node was killed while it verified
    JobState.VERIFYING: frozenset({JobState.DELIVERING, JobState.WAITING, JobState.RUNNING, JobState.FAILED}),
    JobState.DELIVERING: frozenset({JobState.DELIVERED, JobState.FAILED}),
    JobState.DELIVERED: frozenset(),
    # a person asked for another try
    JobState.REFUSED: frozenset({JobState.READY}),
    JobState.FAILED: frozenset({JobState.READY}),
}


def check_transition(old: JobState, new: JobState) -> None:
    """Nothing, when the change is allowed; staying in a state always is.

    Raises:
        IllegalTransition: It is not.

    >>> check_transition(JobState.READY, JobState.RUNNING)
    >>> check_transition(JobState.DELIVERED, JobState.RUNNING)
    Traceback (most recent call last):
    ...
    dicom_node.errors.IllegalTransition: a delivered job cannot become running
    """
    if new is not old and new not in TRANSITIONS[old]:
        raise IllegalTransition(f"a {old.value} job cannot become {new.value}")
