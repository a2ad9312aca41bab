"""Group: a study is looked at when it has been quiet for long enough.

In: the UID of a study each time an instance of it is indexed. Out: a call per quiet
study. Nothing is polled: one thread sleeps until the next study is due.
"""

from dicom_node.group.settle import StudySettler

__all__ = ["StudySettler"]
