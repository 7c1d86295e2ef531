"""Sign-in at a user pool of Amazon Cognito, without a client secret.

Source: Amazon Cognito user pools API, InitiateAuth (USER_PASSWORD_AUTH, REFRESH_TOKEN_AUTH); errors are 400 with
`__type`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rmfab.cloud.api.exchange import Exchange, encoded, refuse_expired, wrong_sign_in
from rmfab.cloud.api.https import HttpsClient
from rmfab.cloud.api.tokens import Account, Tokens
from rmfab.cloud.api.trouble import PassingTrouble, Reply
from rmfab.errors import StationError
from rmfab.secret import Secret

T = TypeVar("T")

_HEADERS = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
}
_BUSY = ("TooManyRequestsException", "LimitExceededException")
_WRONG_CLIENT = ("ResourceNotFoundException", "InvalidParameterException")


class Cognito:
    """The user pool at *url* with the app client *client_id*, for *account*."""

    def __init__(self, url: str, client_id: str, client: HttpsClient, account: Account) -> None:
        self.exchange = Exchange(client, url)
        self._client_id = client_id
        self._account = account
        self._tokens: Tokens | None = None

    def with_tokens(self, use: Callable[[Tokens], T | None]) -> T:
        """Return what *use* returns for valid tokens; None from it: they are not valid any more.

        Raise InputError (cause `sign-in`) if user or password is wrong, StationError if new tokens are not accepted.
        """
        tokens = self._tokens or self._account.tokens.load()
        if tokens is not None:
            self._keep(tokens)
            if tokens.valid(self.exchange.client.now()) and (value := use(tokens)) is not None:
                return value
            renewed = self._renewed(tokens)
            if renewed is not None and (value := use(renewed)) is not None:
                return value
            self._tokens = None
            self._account.tokens.forget()
        value = use(self._signed_in())
        if value is None:
            raise StationError(
                "the API does not accept the tokens of a new sign-in",
                where=self.exchange.api,
                hint="check that client_id, region and api in [cloud] are of one deployment",
                cause="api-refused",
            )
        return value

    def _keep(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.exchange.secrets |= {tokens.access, tokens.identity, tokens.refresh}

    def _signed_in(self) -> Tokens:
        password = self._account.password()
        self.exchange.secrets.add(password)
        asked = {"USERNAME": self._account.user, "PASSWORD": password.reveal()}
        reply, value = self._asked("USER_PASSWORD_AUTH", asked)
        if not reply.well or "ChallengeName" in value:
            raise self._refusal(reply, value)
        result = self._result(value)
        names = ("AccessToken", "IdToken", "RefreshToken")
        tokens = Tokens(*(Secret(self.exchange.text(result, name, self.exchange.api)) for name in names))
        self._new(tokens, reply)
        return tokens

    def _renewed(self, tokens: Tokens) -> Tokens | None:
        """Return new tokens for the refresh token of *tokens*, None if the pool does not accept that any more."""
        reply, value = self._asked("REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": tokens.refresh.reveal()})
        if not reply.well:
            return None
        result = self._result(value)
        access, identity = (self.exchange.text(result, name, self.exchange.api) for name in ("AccessToken", "IdToken"))
        renewed = tokens.renewed(access, identity)
        self._new(renewed, reply)
        return renewed

    def _new(self, tokens: Tokens, reply: Reply) -> None:
        self._keep(tokens)
        refuse_expired(tokens, reply, self.exchange)
        self._account.tokens.save(tokens)

    def _asked(self, flow: str, parameters: Mapping[str, str]) -> tuple[Reply, dict[str, Any]]:
        body = {"AuthFlow": flow, "ClientId": self._client_id, "AuthParameters": dict(parameters)}
        reply, value = self.exchange.ask("POST", f"{self.exchange.api}/", _HEADERS, encoded(body))
        kind = str(value.get("__type", "")).rpartition("#")[2]
        if kind in _BUSY:
            raise PassingTrouble("the sign-in is busy", where=self.exchange.api, cause="api-busy")
        if kind in _WRONG_CLIENT:
            hint = "check client_id and region in [cloud]: rmng-outputs.json of the deployment has them"
            raise StationError(
                f"the sign-in does not know the app client: {self.exchange.told(value)}",
                where=self.exchange.api,
                hint=hint,
                cause="api-refused",
            )
        return reply, value

    def _result(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        result = value.get("AuthenticationResult")
        return result if isinstance(result, Mapping) else {}

    def _refusal(self, reply: Reply, value: Mapping[str, Any]) -> Exception:
        challenge = value.get("ChallengeName")
        if isinstance(challenge, str):
            told = f"it asks for more ({self.exchange.clean(challenge)}): sign in to the dashboard once"
        else:
            told = self.exchange.told(value) or f"status {reply.status}"
        return wrong_sign_in(self._account.user, told, self.exchange.api)
