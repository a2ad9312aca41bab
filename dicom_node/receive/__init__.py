"""Stage 1, receive: instances come in over C-STORE (``scp``) or a folder (``inbox``) and are on disk."""
