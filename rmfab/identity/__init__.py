"""Identities: the secrets and names of a device, from the CA to the sealed record and the factory image.

It may import `nvs`, `signing`, `product` and the files at the top of rmfab. Start with `identity.py`, the value.
`make_identities.py` makes identities, and `sealing.py` encrypts them.
"""
