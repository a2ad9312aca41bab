"""What phantoms share: shapes, the physics of gamma cameras, and valid DICOM writers.

Nothing here knows a clinical app. Everything is deterministic: the same seed gives the
same numbers, the same UIDs and the same files.
"""
