"""The workspace: the folder with product.toml, keys, CA, trust file and ledger.

It may import every room except operations and commands. Start with `workspace.py`, which opens a workspace; `create.py`
makes one, `recipients.py` changes who can open its identities.
"""
