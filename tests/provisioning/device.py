"""A unit's side of the protocol in memory, independent of the client: plain `pow`, a separate wire codec.

`Device.post(endpoint, session, body)` answers as firmware's handlers do: bytes, or None if a handler fails.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# The group of RFC 5054, appendix A is that of RFC 3526, section 4:
# 2^3072 - 2^3008 - 1 + 2^64 * ([2^2942 pi] + 1690314).


def _pi_bits(bits: int) -> int:
    """Return floor(2^bits * pi), by Machin's formula in integers."""
    unit = 1 << (bits + 64)

    def arctan_of_inverse(x: int) -> int:
        term = total = unit // x
        n, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    return (4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))) >> 64


N = 2**3072 - 2**3008 - 1 + 2**64 * (_pi_bits(2942) + 1690314)
G = 5


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def num(tag: int, value: int) -> bytes:
    return varint(tag << 3) + varint(value)


def raw(tag: int, value: bytes) -> bytes:
    return varint(tag << 3 | 2) + varint(len(value)) + value


def fields(data: bytes) -> dict[int, int | bytes]:
    found: dict[int, int | bytes] = {}
    source = iter(data)
    for first in source:
        key = _number(first, source)
        if key & 7 == 0:
            found[key >> 3] = _number(next(source), source)
        elif key & 7 == 2:
            size = _number(next(source), source)
            found[key >> 3] = bytes(next(source) for _ in range(size))
        else:
            raise ValueError("wire type")
    return found


def _number(first: int, rest: Iterator[int]) -> int:
    value, shift = first & 0x7F, 0
    while first & 0x80:
        shift += 7
        first = next(rest)
        value |= (first & 0x7F) << shift
    return value


def sha512(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()


def minimal(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def verifier(salt: bytes, pop: str, username: str = "wifiprov") -> bytes:
    x = int.from_bytes(sha512(salt, sha512(f"{username}:{pop}".encode())), "big")
    return minimal(pow(G, x, N))


@dataclass
class Device:
    """One unit. Everything that a unit may get wrong is a field."""

    security: int = 2
    patch: int = 1
    nonce_bytes: int = 16
    pop: str = "abcd1234"
    username: str = "wifiprov"
    node_id: str = "node-1"
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    salt: bytes = bytes(range(1, 17))
    verifier: bytes | None = None
    random: Callable[[int], bytes] = lambda size: hashlib.shake_128(b"device").digest(size)
    capabilities: dict[str, object] | None = None
    lies_about_proof: bool = False
    accepts_any_pop: bool = False
    networks: list[tuple[bytes, int]] = field(default_factory=list)
    mismatches: int = 0
    asked: list[str] = field(default_factory=list)
    applied: dict[str, bytes] = field(default_factory=dict)
    state: dict[str, object] = field(default_factory=dict)
    cipher: object = None

    def new_session(self) -> None:
        self.state, self.cipher = {}, None

    def proto_ver(self) -> bytes:
        caps = ["wifi_prov", "wifi_scan"] + (["no_sec"] if self.security == 0 else [])
        told = self.capabilities or {
            "prov": {"ver": "netprov-v1.2", "sec_ver": self.security, "sec_patch_ver": self.patch, "cap": caps},
            "rmaker_extra": {"ver": "1.0", "cap": ["ch_resp"]},
        }
        return json.dumps(told).encode()

    def post(self, endpoint: str, body: bytes) -> bytes | None:
        self.asked.append(endpoint)
        if endpoint == "proto-ver":
            return self.proto_ver()
        if endpoint == "prov-session":
            return [self._sec0, self._sec1, self._sec2][self.security](fields(body))
        handlers = {"ch_resp": self._challenge, "prov-scan": self._scan, "prov-config": self._config}
        if endpoint not in handlers:
            raise KeyError(endpoint)
        if self.cipher is None:
            return None
        encrypt, decrypt = self.cipher
        try:
            asked = fields(decrypt(body))
        except Exception:  # noqa: BLE001 - on any error of a handler, firmware closes the connection
            return None
        return encrypt(handlers[endpoint](asked))

    def _sec0(self, told: dict) -> bytes:
        assert 10 in told
        self.cipher = (lambda data: data, lambda data: data)
        return raw(10, num(1, 1) + raw(21, b""))

    def _sec1(self, told: dict) -> bytes | None:
        payload = fields(told[11])
        assert told[2] == 1
        if payload.get(1, 0) == 0:
            client = fields(payload[20])[1]
            own = X25519PrivateKey.from_private_bytes(self.random(32))
            shared = own.exchange(X25519PublicKey.from_public_bytes(client))
            if self.pop:
                mask = hashlib.sha256(self.pop.encode()).digest()
                shared = bytes(a ^ b for a, b in zip(shared, mask, strict=True))
            start = self.random(16)
            stream = Cipher(algorithms.AES(shared), modes.CTR(start)).encryptor()
            public = own.public_key().public_bytes_raw()
            self.state = {"client": client, "public": public, "stream": stream}
            return num(2, 1) + raw(11, num(1, 1) + raw(21, raw(2, public) + raw(3, start)))
        stream = self.state["stream"]
        if stream.update(fields(payload[22])[2]) != self.state["public"] and not self.accepts_any_pop:
            self.mismatches += 1
            return None
        proof = stream.update(bytes(32) if self.lies_about_proof else self.state["client"])
        self.cipher = (stream.update, stream.update)
        return num(2, 1) + raw(11, num(1, 3) + raw(23, raw(3, proof)))

    def _sec2(self, told: dict) -> bytes | None:
        payload = fields(told[12])
        if payload.get(1, 0) == 0:
            sent = fields(payload[20])
            if sent.get(1) != self.username.encode() or len(sent[2]) != 384:
                self.mismatches += 1
                return None
            v = int.from_bytes(self.verifier or verifier(self.salt, self.pop, self.username), "big")
            b = int.from_bytes(self.random(32), "big")
            k = int.from_bytes(sha512(N.to_bytes(384, "big"), G.to_bytes(384, "big")), "big")
            public = minimal((k * v + pow(G, b, N)) % N)
            self.state = {"A": sent[2], "B": public, "v": v, "b": b}
            return num(2, 2) + raw(12, num(1, 1) + raw(21, raw(2, public) + raw(3, self.salt)))
        a, b_bytes = self.state["A"], self.state["B"]
        u = int.from_bytes(sha512(a, b_bytes.rjust(384, b"\0")), "big")
        s = pow(int.from_bytes(a, "big") * pow(self.state["v"], u, N), self.state["b"], N)
        key = sha512(minimal(s))
        self.state |= {"u": u, "S": s, "K": key}
        group = int.from_bytes(sha512(N.to_bytes(384, "big")), "big")
        group ^= int.from_bytes(sha512(G.to_bytes(384, "big")), "big")
        m1 = sha512(group.to_bytes(64, "big"), sha512(self.username.encode()), self.salt, a, b_bytes, key)
        if fields(payload[22])[1] != m1 and not self.accepts_any_pop:
            self.mismatches += 1
            return None
        m2 = bytes(64) if self.lies_about_proof else sha512(a, m1, key)
        nonce = bytearray(self.random(8) + (1).to_bytes(4, "big") if self.patch else self.random(self.nonce_bytes))
        self.cipher = self._gcm(key[:32], nonce)
        return num(2, 2) + raw(12, num(1, 3) + raw(23, raw(2, m2) + raw(3, bytes(nonce))))

    def _gcm(self, key: bytes, nonce: bytearray) -> object:
        aes = AESGCM(key)

        def use(work: Callable[[bytes, bytes, None], bytes], data: bytes) -> bytes:
            result = work(bytes(nonce), data, None)
            if self.patch:
                nonce[8:] = (int.from_bytes(nonce[8:], "big") + 1).to_bytes(4, "big")
            return result

        return (lambda data: use(aes.encrypt, data), lambda data: use(aes.decrypt, data))

    def _challenge(self, asked: dict) -> bytes:
        if asked.get(1, 0) == 2:
            return num(1, 3) + raw(13, raw(1, self.node_id.encode()))
        message = fields(asked[10])[1]
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            signature = self.key.sign(message, pss, hashes.SHA256())
        else:
            signature = self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        return num(1, 1) + raw(11, raw(1, signature) + raw(2, self.node_id.encode()))

    def _scan(self, asked: dict) -> bytes:
        kind = asked.get(1, 0)
        if kind == 0:
            return num(1, 1) + raw(11, b"")
        if kind == 2:
            return num(1, 3) + raw(13, num(1, 1) + num(2, len(self.networks)))
        wanted = fields(asked[14])
        first, count = wanted.get(1, 0), wanted.get(2, 0)
        entries = b"".join(
            raw(1, raw(1, ssid) + num(2, 6) + num(3, rssi) + raw(4, bytes(6)) + num(5, 3))
            for ssid, rssi in self.networks[first : first + count]
        )
        return num(1, 5) + raw(15, entries)

    def _config(self, asked: dict) -> bytes:
        kind = asked.get(1, 0)
        if kind == 2:
            told = fields(asked[12])
            self.applied = {"ssid": told[1], "passphrase": told[2]}
            return num(1, 3) + raw(13, b"")
        if kind == 4:
            return num(1, 5) + raw(15, b"")
        joined = raw(1, b"10.0.0.7") + num(2, 3) + raw(3, self.applied.get("ssid", b"")) + num(5, 6)
        return num(1, 1) + raw(11, raw(11, joined))
