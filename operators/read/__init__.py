"""DICOM instances to arrays that know where and when they were taken."""
