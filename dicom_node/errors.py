"""The node's errors: the branch decides what happens to the work.

::

    NodeError
    ├── Refused          the input's fault: never retried, a person reads the reason
    │   ├── NotDicom
    │   ├── InconsistentInstance
    │   ├── NotForThisApp
    │   └── OutsideEnvelope
    ├── Failed           ours: retried with backoff, then `failed`
    │   ├── AppCrashed
    │   ├── AppTimedOut
    │   ├── AppOutOfMemory
    │   ├── AppRaised
    │   └── BrokenPromise
    ├── Undelivered      the peer's or the network's: retried for hours
    │   ├── AssociationRejected
    │   ├── PeerUnreachable
    │   └── PeerStatus
    ├── StorageUnavailable   the disk is full or not writable: the sender is told
    ├── IllegalTransition    a job was to change into a state that its own does not allow
    └── Misconfigured        at start-up only: names key, value and what is allowed

The first sentence of each docstring is what an operator reads when nothing
more particular is known.
"""

from __future__ import annotations


class NodeError(Exception):
    """Something in the node went wrong."""

    def __init__(self, message: str | None = None) -> None:
        doc = (type(self).__doc__ or "").strip().splitlines()
        super().__init__(message or (doc[0] if doc else type(self).__name__))


class Refused(NodeError):
    """The input cannot be analysed."""

    def __init__(self, message: str | None = None, *, attribute: str = "") -> None:
        super().__init__(message)
        self.attribute = attribute


class NotDicom(Refused):
    """The bytes are not a DICOM data set."""


class InconsistentInstance(Refused):
    """The data set contradicts its own identifiers or its SOP class."""


class NotForThisApp(Refused):
    """No series of the study is an input of this app."""


class OutsideEnvelope(Refused):
    """The study is for this app but outside of what the app may be used on."""


class Failed(NodeError):
    """The analysis failed for a reason that is not the input's."""


class AppCrashed(Failed):
    """The app's process ended without an answer."""


class AppTimedOut(Failed):
    """The app did not answer within its time limit and was stopped."""


class AppOutOfMemory(Failed):
    """The app ran out of the memory it may use."""


class AppRaised(Failed):
    """The app raised an error."""


class BrokenPromise(Failed):
    """What the app made is not what its app.toml promises."""


class Undelivered(NodeError):
    """A result has not reached its destination."""


class AssociationRejected(Undelivered):
    """The peer rejected or aborted the association."""


class PeerUnreachable(Undelivered):
    """No connection to the peer."""


class PeerStatus(Undelivered):
    """The peer answered with a status that is not success."""


class StorageUnavailable(NodeError):
    """The data folder is full or cannot be written."""


class IllegalTransition(NodeError):
    """The job's state does not allow this change."""


class Misconfigured(NodeError):
    """The configuration is wrong."""
