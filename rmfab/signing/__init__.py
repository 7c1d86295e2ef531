"""Signing: keys by URI, passphrases, DSSE envelopes, trust files and the verification of signatures.

It is independent of releases and may import only `product` and the files at the top of rmfab. Start with `trust.py`,
the keys that a station trusts, then `judge_signatures.py`, which verifies signatures.
"""
