"""The workspace: the folder with product.toml, keys, CA, trust file and ledger.

It may import every package except the operations and the commands. Start with `workspace.py`, which opens its parts on
demand. `create.py` makes a workspace, `recipients.py` changes who can open its identities.
"""
