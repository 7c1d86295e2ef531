"""A phone that provisions boards: an independent protocomm client for tests, from the published protocol.

It uses only `pow` for its arithmetic.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import secrets
import socket

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.patience import PATIENCE

# RFC 5054, appendix A: 2^3072 - 2^3008 - 1 + 2^64 * ([2^2942 * pi] + 1690314), computed instead of copied.
_BITS = 3072


def _pi(bits):
    """Return [2^bits * pi] by Machin's formula."""
    one = 1 << bits + 64

    def arctan(n):
        power = one // n
        total, sign, k = power, -1, 3
        while power:
            power //= n * n
            total += sign * (power // k)
            sign, k = -sign, k + 2
        return total

    return (16 * arctan(5) - 4 * arctan(239)) >> 64


N = 2**3072 - 2**3008 - 1 + 2**64 * (_pi(2942) + 1690314)
G = 5


class Closed(Exception):
    """The board closed the connection without a reply."""


def sha(*parts):
    return hashlib.sha512(b"".join(parts)).digest()


def pad(number):
    return number.to_bytes(384, "big")


def lean(number):
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def pair(pop, salt=b"0123456789abcdef", user="wifiprov"):
    """Return salt and verifier as a factory makes them."""
    x = int.from_bytes(sha(salt, sha(f"{user}:{pop}".encode())), "big")
    return salt, lean(pow(G, x, N))


# The wire format.


def number(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def pb(*fields):
    """Return a message of (field, int | bytes) pairs; zeros and empty values are written, too."""
    out = b""
    for field, value in fields:
        if isinstance(value, int):
            out += number(field * 8) + number(value)
        else:
            out += number(field * 8 + 2) + number(len(value)) + value
    return out


def unpb(data):
    """Return a message as {field: [values]}."""
    fields, rest = {}, list(data)

    def take():
        value = shift = 0
        while True:
            byte = rest.pop(0)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while rest:
        tag = take()
        if tag % 8 == 0:
            value = take()
        else:
            assert tag % 8 == 2
            size = take()
            value = bytes(rest[:size])
            del rest[:size]
        fields.setdefault(tag // 8, []).append(value)
    return fields


def one(fields, field, default=0):
    return fields.get(field, [default])[0]


# The three schemes. Each has `shake(call)` and turns requests and answers.


class Plain:
    version = 0

    def shake(self, call):
        answer = unpb(call("prov-session", pb((2, 0), (10, pb((20, b""))))))
        assert one(unpb(one(unpb(one(answer, 10)), 21)), 1) == 0

    def seal(self, data):
        return data

    open = seal


class Sec1:
    version = 1

    def __init__(self, pop):
        self.pop = pop.encode()

    def shake(self, call):
        private = X25519PrivateKey.generate()
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        answer = unpb(call("prov-session", pb((2, 1), (11, pb((20, pb((1, public))))))))
        assert one(answer, 2) == 1
        payload = unpb(one(answer, 11))
        assert one(payload, 1) == 1
        first = unpb(one(payload, 21))
        device, start = one(first, 2), one(first, 3)
        key = private.exchange(X25519PublicKey.from_public_bytes(device))
        if self.pop:
            key = bytes(a ^ b for a, b in zip(key, hashlib.sha256(self.pop).digest(), strict=True))
        self.seal = self.open = Cipher(algorithms.AES(key), modes.CTR(start)).encryptor().update
        answer = unpb(call("prov-session", pb((2, 1), (11, pb((1, 2), (22, pb((2, self.seal(device)))))))))
        payload = unpb(one(answer, 11))
        assert one(payload, 1) == 3
        assert public == self.open(one(unpb(one(payload, 23)), 3))


class Sec2:
    version = 2

    def __init__(self, pop, user=b"wifiprov", patch=1, a=None):
        self.pop, self.user, self.patch, self.a = pop.encode(), user, patch, a

    def shake(self, call):
        a = self.a or secrets.randbits(1024)
        public = pad(pow(G, a, N))
        answer = unpb(call("prov-session", pb((2, 2), (12, pb((20, pb((1, self.user), (2, public))))))))
        assert one(answer, 2) == 2
        payload = unpb(one(answer, 12))
        assert one(payload, 1) == 1
        first = unpb(one(payload, 21))
        device, salt = one(first, 2), one(first, 3)
        b = int.from_bytes(device, "big")
        k = int.from_bytes(sha(pad(N), pad(G)), "big")
        x = int.from_bytes(sha(salt, sha(self.user + b":" + self.pop)), "big")
        u = int.from_bytes(sha(public, pad(b)), "big")
        key = sha(lean(pow(b - k * pow(G, x, N), a + u * x, N)))
        group = bytes(p ^ q for p, q in zip(sha(pad(N)), sha(pad(G)), strict=True))
        proof = sha(group, sha(self.user), salt, public, device, key)
        answer = unpb(call("prov-session", pb((2, 2), (12, pb((1, 2), (22, pb((1, proof))))))))
        payload = unpb(one(answer, 12))
        assert one(payload, 1) == 3
        second = unpb(one(payload, 23))
        assert sha(public, proof, key) == one(second, 2)
        nonce = one(second, 3)
        if self.patch:
            assert (len(nonce), int.from_bytes(nonce[8:], "big")) == (12, 1)
        else:
            assert len(nonce) == 16
        self.gcm, self.nonce = AESGCM(key[:32]), nonce

    def _nonce(self):
        now = self.nonce
        if self.patch:
            self.nonce = now[:8] + (int.from_bytes(now[8:], "big") + 1).to_bytes(4, "big")
        return now

    def seal(self, data):
        return self.gcm.encrypt(self._nonce(), data, None)

    def open(self, data):
        return self.gcm.decrypt(self._nonce(), data, None)


class Phone:
    """One session with a board through *call*, which sends a body to an endpoint and returns the reply's body."""

    def __init__(self, call, scheme):
        self.call, self.scheme = call, scheme
        scheme.shake(call)

    def ask(self, endpoint, body):
        return unpb(self.scheme.open(self.call(endpoint, self.scheme.seal(body))))

    def node_id(self):
        answer = self.ask("ch_resp", pb((1, 2), (12, b"")))
        assert one(answer, 1) == 3
        return one(unpb(one(answer, 13)), 1)

    def challenge(self, data):
        """Return (status, signature, node id)."""
        answer = self.ask("ch_resp", pb((1, 0), (10, pb((1, data)))))
        body = unpb(one(answer, 11))
        return one(answer, 2), one(body, 1, b""), one(body, 2, b"")

    def scan(self):
        """Return [(ssid, channel, rssi)]."""
        assert one(self.ask("prov-scan", pb((1, 0), (10, pb((1, 1), (4, 120))))), 2) == 0
        status = unpb(one(self.ask("prov-scan", pb((1, 2), (12, b""))), 13))
        assert one(status, 1) == 1
        found = []
        for index in range(one(status, 2)):
            answer = self.ask("prov-scan", pb((1, 4), (14, pb((1, index), (2, 1)))))
            assert (one(answer, 1), one(answer, 2)) == (5, 0)
            entry = unpb(one(unpb(one(answer, 15)), 1))
            found.append((one(entry, 1), one(entry, 2), one(entry, 3) - (1 << 64)))
        return found

    def configure(self, ssid, password=b""):
        """Return the statuses of set and apply."""
        given = self.ask("prov-config", pb((1, 2), (12, pb((1, ssid), (2, password)))))
        applied = self.ask("prov-config", pb((1, 4), (14, b"")))
        return one(unpb(one(given, 13)), 1), one(unpb(one(applied, 15)), 1)

    def status(self):
        """Return the fields of RespGetWifiStatus."""
        answer = self.ask("prov-config", pb((1, 0), (10, b"")))
        assert one(answer, 1) == 1
        return unpb(one(answer, 11))

    def control(self, kind):
        answer = self.ask("prov-ctrl", pb((1, kind), (10 + kind, b"")))
        assert one(answer, 1) == kind + 1
        return one(answer, 2)


def through(board):
    """Return a call straight into a board of this process, in a new session."""
    if board.service is not None:
        board.service.open_session()

    def call(endpoint, body):
        reply = board.provision(endpoint, body).reply
        if reply is None:
            raise Closed
        return reply

    return call


class Http:
    """A call over HTTP. *cookies* False ignores them; *fresh* True opens a new connection for each request."""

    def __init__(self, url, *, cookies=True, fresh=False, seconds=PATIENCE):
        host, _, port = url.removeprefix("http://").rpartition(":")
        self.address = host, int(port)
        self.cookies, self.fresh, self.seconds = cookies, fresh, seconds
        self.cookie, self.given = None, []
        self.connection = None

    def __call__(self, endpoint, body):
        response, data = self.request("POST", f"/{endpoint}", body)
        assert response.status == 200
        return data

    def request(self, method, path, body=b"", headers=()):
        if self.connection is None or self.fresh:
            self.close()
            self.connection = http.client.HTTPConnection(*self.address, timeout=self.seconds)
        given = dict(headers)
        if self.cookies and self.cookie is not None:
            given["Cookie"] = self.cookie
        try:
            self.connection.request(method, path, body, given)
            with self.connection.getresponse() as response:
                data = response.read()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            raise Closed from error
        if (cookie := response.getheader("Set-Cookie")) is not None:
            self.cookie = cookie
            self.given.append(cookie)
        return response, data

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def raw(self, data):
        """Return everything that the board sends for *data* until it closes the connection."""
        with socket.create_connection(self.address, timeout=self.seconds) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = bytearray()
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(4096):
                    answer += part
            return bytes(answer)


def capabilities(call):
    return json.loads(call("proto-ver", b"x"))
