"""Video as DICOM: one encapsulated bit stream with its attributes, and frames out of it.

================  ==============================================================
``encapsulate``   bit stream to pixel data and back, transfer syntax, image modules
``write_h264``    RGB frames to an MP4 that fits the DICOM H.264 profile and level
``read_frames``   the frames of a Video Photographic object, one at a time
================  ==============================================================

``encapsulate`` needs pydicom only, so that the service may use it too.
"""
