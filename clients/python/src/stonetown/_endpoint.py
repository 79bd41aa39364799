"""Where the server is, and whether plain text may go there."""
from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

import grpc

_FORM = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Endpoint:
    """A server, and how it is spoken to."""

    address: str
    credentials: grpc.ChannelCredentials | None

    @classmethod
    def of(
        cls, address: str, ca: str | Path | bytes | None, certificate: tuple[str | Path, str | Path] | None, insecure: bool
    ) -> Endpoint:
        """Plain text is for where it is asked for, and for this machine unless something says that it is to be TLS."""
        found = _FORM.fullmatch(address)
        if not found or not 0 < int(found["port"]) < 65536:
            raise ValueError(f"{address!r} is no address: expected HOST:PORT")
        if insecure and (ca or certificate):
            raise ValueError("insecure is plain text: a certificate means nothing there")
        if insecure or (not ca and not certificate and _is_loopback(found["host"])):
            return cls(address, None)
        cert, key = certificate or (None, None)
        return cls(
            address,
            grpc.ssl_channel_credentials(_pem(ca), private_key=_pem(key), certificate_chain=_pem(cert)),
        )

    def channel(self, options: list[tuple[str, object]]) -> grpc.Channel:
        """A channel, which connects when it is used first."""
        if self.credentials is None:
            # A proxy would read the token.
            return grpc.insecure_channel(self.address, [*options, ("grpc.enable_http_proxy", 0)])
        return grpc.secure_channel(self.address, self.credentials, options)

    def __str__(self) -> str:
        return f"{self.address} ({'plain text' if self.credentials is None else 'TLS'})"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _pem(source: str | Path | bytes | None) -> bytes | None:
    if source is None:
        return None
    pem = source if isinstance(source, bytes) else Path(source).read_bytes()
    if b"-----BEGIN " not in pem:
        raise ValueError("a certificate or key is not PEM")
    return pem
