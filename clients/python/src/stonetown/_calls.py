"""The way of every call: with the token, a deadline and the state that is to be seen, and back with an :class:`~stonetown.Error`
where it fails."""
from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from stonetown import errors

# The services whose `token` names a state of the store; in others a token is something else, such as a credential.
_STATE = re.compile(r"/stonetown\.v1\.(Attributes|Decision|Relationships)Service/")

_STORE = re.compile(r"[a-z][a-z0-9_-]{0,62}")

Response = TypeVar("Response", bound=Message)


class Calls:
    """Makes calls on a channel.

    Invariant: the credential's token leaves this object in the metadata of calls only.
    """

    def __init__(
        self, channel: grpc.Channel, token: str | Callable[[], str] | None, timeout: float, store: str | None
    ) -> None:
        if store is not None and not _STORE.fullmatch(store):
            raise ValueError(f"{store!r} is no name of a store")
        self._channel = channel
        self._token = token
        self._timeout = timeout
        self._store = store
        #: The state that answers must not be older than.
        self.zedtoken: str | None = None

    def unary(self, path: str, request: Message, response: type[Response], timeout: float | None) -> Response:
        """One answer. Without a time-out the client's own holds."""
        call = self._channel.unary_unary(path, type(request).SerializeToString, response.FromString)
        timeout = self._timeout if timeout is None else timeout
        try:
            answer: Response = call(self._prepared(path, request), timeout=timeout, metadata=self._metadata())
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None
        self._saw(path, request, answer)
        return answer

    def stream(self, path: str, request: Message, response: type[Response], timeout: float | None) -> Iterator[Response]:
        """Answers as they come, for as long as they do unless there is a time-out. Dropping the iterator ends the call."""
        call = self._channel.unary_stream(path, type(request).SerializeToString, response.FromString)
        answers = call(self._prepared(path, request), timeout=timeout, metadata=self._metadata())

        def read() -> Iterator[Response]:
            try:
                yield from answers
            except grpc.RpcError as error:
                raise errors.from_rpc(error) from None
            finally:
                answers.cancel()

        return read()

    def _prepared(self, path: str, request: Message) -> Message:
        """The request with what the client adds; the caller's own stays as it is."""
        fields = request.DESCRIPTOR.fields_by_name
        # Pages of a list must be asked for alike, whatever is written in between: their state is the caller's to choose.
        is_question = _STATE.match(path) and "freshness" in fields and "page" not in fields
        needs_state = self.zedtoken and is_question and not request.HasField("freshness")
        needs_key = "idempotency_key" in fields and not getattr(request, "idempotency_key")
        if not needs_state and not needs_key:
            return request
        prepared = type(request)()
        prepared.CopyFrom(request)
        if needs_state:
            getattr(prepared, "freshness").at_least = self.zedtoken
        if needs_key:
            # Such a call is repeated when the server is away; under one key it is one request.
            setattr(prepared, "idempotency_key", str(uuid.uuid4()))
        return prepared

    def _saw(self, path: str, request: Message, answer: Message) -> None:
        if not _STATE.match(path) or "token" not in answer.DESCRIPTOR.fields_by_name:
            return
        # What was asked of the past says nothing of the present.
        freshness = getattr(request, "freshness", None)
        if freshness is None or freshness.WhichOneof("requirement") not in ("at", "at_exactly"):
            self.zedtoken = getattr(answer, "token") or self.zedtoken

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        store = () if self._store is None else (("stonetown-store", self._store),)
        token = self._token() if callable(self._token) else self._token
        if token is None:
            return store
        # gRPC would show a value that it cannot send.
        if not (token.isascii() and token.isprintable() and token.strip() == token and token):
            raise ValueError("the token is not printable ASCII without blanks around it")
        return (("authorization", f"Bearer {token}"), *store)
