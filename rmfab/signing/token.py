"""Keys that never leave their token: smart cards and HSMs, through python-pkcs11 and the vendor's module.

Only ECDSA on P-256 is used: every token that signs supports it. rmfab computes the digest and the token signs it with
CKM_ECDSA, because not every token can hash (PKCS #11 v2.40, section 2.3.6).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.utils import Buffer

from rmfab.errors import InputError, StationError
from rmfab.files import read_input
from rmfab.privacy import refuse_loose
from rmfab.secret import Secret
from rmfab.signing.keyfile import PassphraseSource
from rmfab.signing.pkcs11_uri import Pkcs11Uri

MODULE_ENVIRONMENT = "RMFAB_PKCS11_MODULE"
_P256 = bytes.fromhex("06082a8648ce3d030107")  # the OID prime256v1, in DER
_COORDINATE = 32
_MOST_PIN = 1 << 10
_POINT = 1 + 2 * _COORDINATE


class TokenKey(ec.EllipticCurvePrivateKey):
    """A private key in a token, for any use of `cryptography` that signs, until it is closed or the process ends."""

    def __init__(
        self, uri: Pkcs11Uri, pin: Secret[str], public: ec.EllipticCurvePublicKey, sign: Callable[[bytes], bytes]
    ) -> None:
        self.uri = uri
        self.pin = pin
        self._public = public
        self._sign = sign
        self.close: Callable[[], None] = lambda: None

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Return the signature over *data*, as DER. Raise StationError if the token fails."""
        algorithm = signature_algorithm.algorithm
        digest = bytes(data) if isinstance(algorithm, Prehashed) else _digest(bytes(data), algorithm)
        with _explained(self.uri):
            raw = self._sign(digest)
        half = len(raw) // 2
        signature = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        try:
            self._public.verify(signature, data, signature_algorithm)
        except InvalidSignature:
            raise StationError(
                "the token's signature does not match its public key", where=self.uri.text, cause="token"
            ) from None
        return signature

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public half."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve, P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """The size of the key, in bits."""
        return self._public.key_size

    def exchange(self, *_: object, **__: object) -> NoReturn:
        """Raise UnsupportedAlgorithm: this key only signs."""
        raise UnsupportedAlgorithm("a key in a token can only sign")

    def private_numbers(self) -> NoReturn:
        """Raise UnsupportedAlgorithm: the key never leaves its token."""
        raise UnsupportedAlgorithm("a key never leaves its token")

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        """Raise UnsupportedAlgorithm: the key never leaves its token."""
        raise UnsupportedAlgorithm("a key never leaves its token")

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, _: dict[int, object]) -> TokenKey:
        return self


def open_token_key(text: str, pin: PassphraseSource, environment: Mapping[str, str]) -> TokenKey:
    """Open the key that the URI *text* names.

    Raise InputError if it matches no key or several, or if the PIN is wrong; StationError if the token does not work or
    python-pkcs11 is not installed.
    """
    uri = Pkcs11Uri.parse(text).with_module(environment.get(MODULE_ENVIRONMENT))
    pkcs11 = _library()
    with _explained(uri):
        token = _one(list(_tokens(pkcs11, uri)), "token", uri)
        secret = _pin(uri, pin)
        session = _logged_in(pkcs11, token, secret)
        try:
            key = _key(pkcs11, session, uri, secret)
        except BaseException:
            _end(pkcs11, session)
            raise
    key.close = lambda: _end(pkcs11, session)
    return key


def _end(pkcs11: ModuleType, session: Any) -> None:
    with suppress(pkcs11.exceptions.PKCS11Error):  # a removed token has ended its session
        session.close()


def _logged_in(pkcs11: ModuleType, token: Any, pin: Secret[str]) -> Any:
    """Open a session of the user. A process logs in to a token once, for all its sessions (PKCS #11 v2.40, 5.6)."""
    try:
        return token.open(user_pin=pin.reveal())
    except pkcs11.exceptions.UserAlreadyLoggedIn:
        return token.open()


def _key(pkcs11: ModuleType, session: Any, uri: Pkcs11Uri, pin: Secret[str]) -> TokenKey:
    key = _one(_objects(pkcs11, session, uri, "PRIVATE_KEY"), "private key", uri)
    if key.key_type is not pkcs11.KeyType.EC or bytes(key[pkcs11.Attribute.EC_PARAMS]) != _P256:
        raise InputError(
            "keys of this kind in a token cannot sign", where=uri.text, hint="use a key on P-256", cause="key-kind"
        )
    mechanism = pkcs11.Mechanism.ECDSA
    public = _public(pkcs11, session, uri)
    return TokenKey(uri, pin, public, lambda digest: bytes(key.sign(digest, mechanism=mechanism)))


def _digest(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    """Return the digest, cut to one coordinate: CKM_ECDSA accepts what ECDSA would truncate to (FIPS 186-5, 6.4.1)."""
    return hashlib.new(algorithm.name, data).digest()[:_COORDINATE]


def _library() -> ModuleType:
    try:
        import pkcs11
    except ImportError as error:
        raise StationError(
            "keys in tokens need python-pkcs11", hint="pip install '.[pkcs11]' in rmfab's checkout", cause="no-pkcs11"
        ) from error
    return pkcs11


def _tokens(pkcs11: ModuleType, uri: Pkcs11Uri) -> Iterator[Any]:
    if uri.module_path is None:
        raise InputError(
            "no PKCS #11 module given",
            where=uri.text,
            hint=f"add ?module-path=/usr/lib/….so to the URI, or set {MODULE_ENVIRONMENT}",
            cause="key-uri",
        )
    wanted = {"label": uri.token, "serial": uri.serial, "manufacturer_id": uri.manufacturer, "model": uri.model}
    for token in pkcs11.lib(str(uri.module_path)).get_tokens():
        if all(value in (None, getattr(token, name, None)) for name, value in wanted.items()):
            yield token


def _pin(uri: Pkcs11Uri, ask: PassphraseSource) -> Secret[str]:
    if uri.pin_file is None:
        return ask(f"{uri.named} (its PIN)")
    pin = read_input(uri.pin_file, "PIN", most=_MOST_PIN).decode("utf-8", "replace").rstrip("\r\n")
    refuse_loose(uri.pin_file, "PIN file")
    return Secret(pin)


def _objects(pkcs11: ModuleType, session: Any, uri: Pkcs11Uri, kind: str) -> list[Any]:
    template: dict[Any, Any] = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass[kind]}
    if uri.object is not None:
        template[pkcs11.Attribute.LABEL] = uri.object
    if uri.key_id is not None:
        template[pkcs11.Attribute.ID] = uri.key_id
    return list(session.get_objects(template))


def _one(found: list[Any], what: str, uri: Pkcs11Uri) -> Any:
    if len(found) != 1:
        hint = "add serial=… or id=…" if found else f"list each {what}: `pkcs11-tool -L -O`"
        number = f"{len(found)}" if found else "none"
        raise InputError(f"expected one {what}, found {number}", where=uri.text, hint=hint, cause="no-key")
    return found[0]


def _public(pkcs11: ModuleType, session: Any, uri: Pkcs11Uri) -> ec.EllipticCurvePublicKey:
    """Return the public key beside the private one: its EC_POINT is an OCTET STRING around the uncompressed point."""
    found = _one(_objects(pkcs11, session, uri, "PUBLIC_KEY"), "public key", uri)
    point = bytes(found[pkcs11.Attribute.EC_POINT])[-_POINT:]
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise InputError("the token's public key is not a point on P-256", where=uri.text, cause="key-kind") from None


@contextmanager
def _explained(uri: Pkcs11Uri) -> Iterator[None]:
    """Turn errors of python-pkcs11 into errors that explain what the token rejected."""
    from pkcs11 import exceptions

    try:
        yield
    except exceptions.PinLocked:
        raise StationError("the token is locked after too many wrong PINs", where=uri.text, cause="token") from None
    except (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange):
        raise InputError(
            "the PIN is wrong",
            where=uri.text,
            hint="try with care: a token locks itself after a few wrong PINs",
            cause="wrong-passphrase",
        ) from None
    except (exceptions.PKCS11Error, OSError, RuntimeError) as error:
        raise StationError(
            f"the token does not work: {type(error).__name__} {error}".rstrip(), where=uri.text, cause="token"
        ) from None
