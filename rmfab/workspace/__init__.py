"""The workspace: the folder with product.toml, its keys, CA, trust file and ledger.

It may import every room but operations and the commands. Start with `workspace.py`, which opens what is asked for;
`create.py` makes one, `recipients.py` changes who can open its identities.
"""
