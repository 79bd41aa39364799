"""A server that answers what a test says and remembers what it was asked."""
from __future__ import annotations

from concurrent import futures
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from stonetown import v1


@dataclass
class Call:
    name: str
    request: object
    metadata: dict
    seconds_left: float | None


class Refusal(Exception):
    """Ends a call with a status, and a reason if there is one."""

    def __init__(self, code, message, reason=None, metadata=None):
        self.code, self.message, self.reason, self.metadata = code, message, reason, metadata or {}

    def send(self, context):
        if self.reason:
            detail = any_pb2.Any()
            detail.Pack(error_details_pb2.ErrorInfo(reason=self.reason, domain="authzed.com", metadata=self.metadata))
            status = status_pb2.Status(code=self.code.value[0], message=self.message, details=[detail])
            context.set_trailing_metadata((
                ("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", "request-7")))
        context.abort(self.code, self.message)


class Fake(grpc.GenericRpcHandler):
    """Answers calls of stonetown.v1 with `answers`: the name of a call, such as `Check`, to a message, a list of messages for a
    stream, an exception, or a function of the request; a list of those in `turns`, one a call, goes first."""

    def __init__(self, credentials=None, **answers):
        self.answers, self.turns, self.calls = answers, {}, []
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        if credentials:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.endpoint = f"127.0.0.1:{self.port}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(0).wait()

    def names(self):
        return [call.name for call in self.calls]

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        kinds = v1.__dict__
        request = kinds[f"{name}Request"]

        def answer(message, context):
            metadata = dict(details.invocation_metadata)
            self.calls.append(Call(name, message, metadata, context.time_remaining()))
            turns = self.turns.get(name)
            found = turns.pop(0) if turns else self.answers[name]
            found = found(message) if callable(found) else found
            if isinstance(found, Refusal):
                found.send(context)
            return found

        def stream(message, context):
            yield from answer(message, context)

        serialize = lambda message: message.SerializeToString()
        if name in ("WatchGrants", "Scrub"):
            return grpc.unary_stream_rpc_method_handler(stream, request.FromString, serialize)
        return grpc.unary_unary_rpc_method_handler(answer, request.FromString, serialize)


UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE, "away")
