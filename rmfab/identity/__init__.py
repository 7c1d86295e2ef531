"""Identities: the secrets and names of one device, from the CA to the sealed record and the factory image.

It may import `nvs`, `signing`, `product` and the files at the top of the package. Start with `identity.py`, the value;
`make_identities.py` makes them and `sealing.py` locks them away.
"""
