"""The node, stage by stage.

=========  ==============================================  ==========================
stage      what it guarantees                              where
=========  ==============================================  ==========================
receive    bytes are synced to disk before success is said  ``receive/``
group      a study is quiet before anyone looks at it       ``group/``
route      every app has a verdict on every study           ``route/``
infer      an app runs in a process of its own              ``infer/``
verify     what the app promised exists and is valid        ``verify/``
deliver    every result reaches every destination, once     ``deliver/``
=========  ==============================================  ==========================

``catalog`` finds the apps, ``store/`` keeps the ledger and the instance files,
``web/`` shows the ledger, ``cli`` and ``serve`` put it together. Nothing here
imports torch, MONAI or an app: those run in another process.
"""

__version__ = "0.1.0"
