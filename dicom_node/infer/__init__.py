"""Infer: an app runs in a process of its own, and its end is always an answer.

In: a job of the ledger with its instance files. Out: a folder of objects, or
`Refused`, or one of the `Failed`. Never imports torch, MONAI or the app.
"""
