"""Verify: what an app made is what it promised, of this patient and on this grid.

Comes in: the folder an app wrote, the promises of its app.toml and the instances it
was given. Goes out: the objects that may be delivered, or `BrokenPromise` with a
sentence naming what is wrong. Never repairs, never writes.
"""

from dicom_node.verify.manifest import VerifiedObject
from dicom_node.verify.promises import OutputPromise
from dicom_node.verify.results import ResultIdentity, verify_results

__all__ = ["OutputPromise", "ResultIdentity", "VerifiedObject", "verify_results"]
