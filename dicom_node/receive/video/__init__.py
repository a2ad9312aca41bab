"""Videos: any file that a camera wrote becomes a Video Photographic Image (PS3.3 A.32.7), and back.

===============  ================================================================
``commands``     ``dicom-node wrap-video`` and ``unwrap-video``
``wrap``         the whole way: `wrap.wrap`
``probe``        what a video file is
``plan``         as it is, copied, or encoded anew: what DICOM takes decides
``convert``      makes the stream that was planned
``dataset``      the attributes
``encapsulate``  the stream into a Part 10 file, and out of it
``worklist``     whose video it is (C-FIND); ``send`` to a peer (C-STORE), ``peer`` its address
``upload``       a video that came over HTTP, into the node's own store
``h264``, ``mp4``, ``timing``, ``turn``   pure: what their bytes say
===============  ================================================================

What comes in: a file. What goes out: a Part 10 file. A stream is never held in memory, a coded
picture that DICOM takes is never changed, and nothing about a patient is made up.
"""
