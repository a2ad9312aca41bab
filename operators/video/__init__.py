"""Video as DICOM: one encapsulated bit stream with its attributes, and frames out of it.

================  ==============================================================
``encapsulate``   bit stream into Pixel Data and out of it
``photographic``  transfer syntax, image modules and acquisition context of the object
``write_h264``    RGB frames to an MP4 that fits the DICOM H.264 profile and level
``read_frames``   the frames of a Video Photographic object, one at a time
================  ==============================================================

``encapsulate`` and ``photographic`` need pydicom only: the service writes videos with them too.
"""
