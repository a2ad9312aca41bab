"""Body points out of video: BODY_25 as the common form, estimators that can be exchanged.

===============  =================================================================
``body25``       the 25 points, and a series of them (`PoseSeries`)
``people``       every person a few times a second, joined to tracks; who walks
``scene``        how many people walk, and whether the camera stands still
``estimate``     the interface of estimators, and MediaPipe behind it
``plausible``    frames in which an estimator took something else for the walker
``openpose``     the points that OpenPose wrote, as an input instead of an estimator
``native_logs``  silence for the native libraries
===============  =================================================================
"""
