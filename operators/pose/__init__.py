"""Body points out of video: BODY_25 as the common form, estimators that can be exchanged.

============  ====================================================================
``body25``    the 25 points, and a series of them (`PoseSeries`)
``estimate``  the interface, and MediaPipe behind it
``openpose``  the points that OpenPose wrote, as an input instead of an estimator
``scene``     how many people walk, and whether the camera stands still
============  ====================================================================
"""
