"""Signatures with the node's key, as `esp_rmaker_node_auth_sign_msg` of espressif/esp-rainmaker makes them."""

from __future__ import annotations


def signed(pem: bytes, data: bytes, *, wrong: bool) -> bytes | None:
    """Return an ECDSA signature in DER, or RSA-PSS, over SHA-256; None if the key cannot be read.

    *wrong* signs with a different key.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except ValueError:
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signer = ec.generate_private_key(key.curve) if wrong else key
        return signer.sign(data, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        other = rsa.generate_private_key(65537, key.key_size) if wrong else key
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return other.sign(data, pss, hashes.SHA256())
    return None
