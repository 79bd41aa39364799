import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from stonetown.v1 import core_pb2 as _core_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PrincipalKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRINCIPAL_KIND_UNSPECIFIED: _ClassVar[PrincipalKind]
    PRINCIPAL_KIND_SERVICE: _ClassVar[PrincipalKind]
    PRINCIPAL_KIND_AGENT: _ClassVar[PrincipalKind]
    PRINCIPAL_KIND_BUILD: _ClassVar[PrincipalKind]
    PRINCIPAL_KIND_HUMAN: _ClassVar[PrincipalKind]
    PRINCIPAL_KIND_KEY: _ClassVar[PrincipalKind]

class PrincipalState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRINCIPAL_STATE_UNSPECIFIED: _ClassVar[PrincipalState]
    PRINCIPAL_STATE_ACTIVE: _ClassVar[PrincipalState]
    PRINCIPAL_STATE_QUARANTINED: _ClassVar[PrincipalState]
    PRINCIPAL_STATE_RETIRED: _ClassVar[PrincipalState]
PRINCIPAL_KIND_UNSPECIFIED: PrincipalKind
PRINCIPAL_KIND_SERVICE: PrincipalKind
PRINCIPAL_KIND_AGENT: PrincipalKind
PRINCIPAL_KIND_BUILD: PrincipalKind
PRINCIPAL_KIND_HUMAN: PrincipalKind
PRINCIPAL_KIND_KEY: PrincipalKind
PRINCIPAL_STATE_UNSPECIFIED: PrincipalState
PRINCIPAL_STATE_ACTIVE: PrincipalState
PRINCIPAL_STATE_QUARANTINED: PrincipalState
PRINCIPAL_STATE_RETIRED: PrincipalState

class Why(_message.Message):
    __slots__ = ("reason", "ticket")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    reason: str
    ticket: str
    def __init__(self, reason: _Optional[str] = ..., ticket: _Optional[str] = ...) -> None: ...

class Holder(_message.Message):
    __slots__ = ("principal", "group")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    principal: str
    group: str
    def __init__(self, principal: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...

class StandIn(_message.Message):
    __slots__ = ("store", "subject")
    STORE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    store: str
    subject: _core_pb2.ObjectRef
    def __init__(self, store: _Optional[str] = ..., subject: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ...) -> None: ...

class ExternalId(_message.Message):
    __slots__ = ("spiffe", "dns", "oidc")
    class Oidc(_message.Message):
        __slots__ = ("issuer", "subject")
        ISSUER_FIELD_NUMBER: _ClassVar[int]
        SUBJECT_FIELD_NUMBER: _ClassVar[int]
        issuer: str
        subject: str
        def __init__(self, issuer: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...
    SPIFFE_FIELD_NUMBER: _ClassVar[int]
    DNS_FIELD_NUMBER: _ClassVar[int]
    OIDC_FIELD_NUMBER: _ClassVar[int]
    spiffe: str
    dns: str
    oidc: ExternalId.Oidc
    def __init__(self, spiffe: _Optional[str] = ..., dns: _Optional[str] = ..., oidc: _Optional[_Union[ExternalId.Oidc, _Mapping]] = ...) -> None: ...

class Principal(_message.Message):
    __slots__ = ("id", "kind", "owner", "labels", "subjects", "external_ids", "state", "created_at")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_IDS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: PrincipalKind
    owner: Holder
    labels: _containers.ScalarMap[str, str]
    subjects: _containers.RepeatedCompositeFieldContainer[StandIn]
    external_ids: _containers.RepeatedCompositeFieldContainer[ExternalId]
    state: PrincipalState
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[PrincipalKind, str]] = ..., owner: _Optional[_Union[Holder, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., subjects: _Optional[_Iterable[_Union[StandIn, _Mapping]]] = ..., external_ids: _Optional[_Iterable[_Union[ExternalId, _Mapping]]] = ..., state: _Optional[_Union[PrincipalState, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreatePrincipalRequest(_message.Message):
    __slots__ = ("principal", "why")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    principal: Principal
    why: Why
    def __init__(self, principal: _Optional[_Union[Principal, _Mapping]] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class CreatePrincipalResponse(_message.Message):
    __slots__ = ("principal",)
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    principal: Principal
    def __init__(self, principal: _Optional[_Union[Principal, _Mapping]] = ...) -> None: ...

class UpdatePrincipalRequest(_message.Message):
    __slots__ = ("principal", "why")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    principal: Principal
    why: Why
    def __init__(self, principal: _Optional[_Union[Principal, _Mapping]] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class UpdatePrincipalResponse(_message.Message):
    __slots__ = ("principal",)
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    principal: Principal
    def __init__(self, principal: _Optional[_Union[Principal, _Mapping]] = ...) -> None: ...

class GetPrincipalRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetPrincipalResponse(_message.Message):
    __slots__ = ("principal",)
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    principal: Principal
    def __init__(self, principal: _Optional[_Union[Principal, _Mapping]] = ...) -> None: ...

class ListPrincipalsRequest(_message.Message):
    __slots__ = ("page",)
    PAGE_FIELD_NUMBER: _ClassVar[int]
    page: _core_pb2.Page
    def __init__(self, page: _Optional[_Union[_core_pb2.Page, _Mapping]] = ...) -> None: ...

class ListPrincipalsResponse(_message.Message):
    __slots__ = ("principal", "cursor")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    principal: Principal
    cursor: str
    def __init__(self, principal: _Optional[_Union[Principal, _Mapping]] = ..., cursor: _Optional[str] = ...) -> None: ...

class QuarantinePrincipalRequest(_message.Message):
    __slots__ = ("id", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: str
    why: Why
    def __init__(self, id: _Optional[str] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class QuarantinePrincipalResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class ReleasePrincipalRequest(_message.Message):
    __slots__ = ("id", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: str
    why: Why
    def __init__(self, id: _Optional[str] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class ReleasePrincipalResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class RetirePrincipalRequest(_message.Message):
    __slots__ = ("id", "dry_run", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: str
    dry_run: bool
    why: Why
    def __init__(self, id: _Optional[str] = ..., dry_run: bool = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class RetirePrincipalResponse(_message.Message):
    __slots__ = ("credentials", "powers", "relationships")
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    POWERS_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIPS_FIELD_NUMBER: _ClassVar[int]
    credentials: int
    powers: int
    relationships: int
    def __init__(self, credentials: _Optional[int] = ..., powers: _Optional[int] = ..., relationships: _Optional[int] = ...) -> None: ...

class Narrowing(_message.Message):
    __slots__ = ("resource_type", "permissions", "resource_ids")
    RESOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_IDS_FIELD_NUMBER: _ClassVar[int]
    resource_type: str
    permissions: _containers.RepeatedScalarFieldContainer[str]
    resource_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, resource_type: _Optional[str] = ..., permissions: _Optional[_Iterable[str]] = ..., resource_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class IssueCredentialRequest(_message.Message):
    __slots__ = ("principal", "ttl", "scope", "why", "store")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    principal: str
    ttl: _duration_pb2.Duration
    scope: _containers.RepeatedCompositeFieldContainer[Narrowing]
    why: Why
    store: str
    def __init__(self, principal: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., scope: _Optional[_Iterable[_Union[Narrowing, _Mapping]]] = ..., why: _Optional[_Union[Why, _Mapping]] = ..., store: _Optional[str] = ...) -> None: ...

class IssueCredentialResponse(_message.Message):
    __slots__ = ("id", "token", "expires_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    token: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., token: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RotateCredentialRequest(_message.Message):
    __slots__ = ("id", "ttl", "overlap", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: str
    ttl: _duration_pb2.Duration
    overlap: _duration_pb2.Duration
    why: Why
    def __init__(self, id: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., overlap: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class RotateCredentialResponse(_message.Message):
    __slots__ = ("id", "token", "expires_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    token: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., token: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RevokeCredentialRequest(_message.Message):
    __slots__ = ("id", "all_of", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    ALL_OF_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: str
    all_of: str
    why: Why
    def __init__(self, id: _Optional[str] = ..., all_of: _Optional[str] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class RevokeCredentialResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class ListCredentialsRequest(_message.Message):
    __slots__ = ("principal",)
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    principal: str
    def __init__(self, principal: _Optional[str] = ...) -> None: ...

class ListCredentialsResponse(_message.Message):
    __slots__ = ("credentials",)
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    credentials: _containers.RepeatedCompositeFieldContainer[Credential]
    def __init__(self, credentials: _Optional[_Iterable[_Union[Credential, _Mapping]]] = ...) -> None: ...

class Credential(_message.Message):
    __slots__ = ("id", "principal", "issued_at", "expires_at", "revoked", "scope", "store")
    ID_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    id: str
    principal: str
    issued_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    revoked: bool
    scope: _containers.RepeatedCompositeFieldContainer[Narrowing]
    store: str
    def __init__(self, id: _Optional[str] = ..., principal: _Optional[str] = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revoked: bool = ..., scope: _Optional[_Iterable[_Union[Narrowing, _Mapping]]] = ..., store: _Optional[str] = ...) -> None: ...

class Power(_message.Message):
    __slots__ = ("name", "server", "store", "group")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    name: str
    server: bool
    store: PowerOverStore
    group: str
    def __init__(self, name: _Optional[str] = ..., server: bool = ..., store: _Optional[_Union[PowerOverStore, _Mapping]] = ..., group: _Optional[str] = ...) -> None: ...

class PowerOverStore(_message.Message):
    __slots__ = ("store", "resource_type", "relation")
    STORE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    store: str
    resource_type: str
    relation: str
    def __init__(self, store: _Optional[str] = ..., resource_type: _Optional[str] = ..., relation: _Optional[str] = ...) -> None: ...

class GivePowerRequest(_message.Message):
    __slots__ = ("holder", "power", "why")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    holder: Holder
    power: Power
    why: Why
    def __init__(self, holder: _Optional[_Union[Holder, _Mapping]] = ..., power: _Optional[_Union[Power, _Mapping]] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class GivePowerResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class TakePowerRequest(_message.Message):
    __slots__ = ("holder", "power", "why")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    holder: Holder
    power: Power
    why: Why
    def __init__(self, holder: _Optional[_Union[Holder, _Mapping]] = ..., power: _Optional[_Union[Power, _Mapping]] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class TakePowerResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class ListPowersRequest(_message.Message):
    __slots__ = ("principal",)
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    principal: str
    def __init__(self, principal: _Optional[str] = ...) -> None: ...

class ListPowersResponse(_message.Message):
    __slots__ = ("powers",)
    POWERS_FIELD_NUMBER: _ClassVar[int]
    powers: _containers.RepeatedCompositeFieldContainer[Power]
    def __init__(self, powers: _Optional[_Iterable[_Union[Power, _Mapping]]] = ...) -> None: ...

class Delegation(_message.Message):
    __slots__ = ("principal", "actor", "types", "permissions", "expires_at")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    principal: str
    actor: str
    types: _containers.RepeatedScalarFieldContainer[str]
    permissions: _containers.RepeatedScalarFieldContainer[str]
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, principal: _Optional[str] = ..., actor: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ..., permissions: _Optional[_Iterable[str]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DelegateRequest(_message.Message):
    __slots__ = ("principal", "actor", "types", "permissions", "ttl", "why")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    principal: str
    actor: str
    types: _containers.RepeatedScalarFieldContainer[str]
    permissions: _containers.RepeatedScalarFieldContainer[str]
    ttl: _duration_pb2.Duration
    why: Why
    def __init__(self, principal: _Optional[str] = ..., actor: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ..., permissions: _Optional[_Iterable[str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class DelegateResponse(_message.Message):
    __slots__ = ("delegation",)
    DELEGATION_FIELD_NUMBER: _ClassVar[int]
    delegation: Delegation
    def __init__(self, delegation: _Optional[_Union[Delegation, _Mapping]] = ...) -> None: ...

class UndelegateRequest(_message.Message):
    __slots__ = ("principal", "actor", "why")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    principal: str
    actor: str
    why: Why
    def __init__(self, principal: _Optional[str] = ..., actor: _Optional[str] = ..., why: _Optional[_Union[Why, _Mapping]] = ...) -> None: ...

class UndelegateResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class ListDelegationsRequest(_message.Message):
    __slots__ = ("principal",)
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    principal: str
    def __init__(self, principal: _Optional[str] = ...) -> None: ...

class ListDelegationsResponse(_message.Message):
    __slots__ = ("delegations",)
    DELEGATIONS_FIELD_NUMBER: _ClassVar[int]
    delegations: _containers.RepeatedCompositeFieldContainer[Delegation]
    def __init__(self, delegations: _Optional[_Iterable[_Union[Delegation, _Mapping]]] = ...) -> None: ...

class ReplaceSubjectRequest(_message.Message):
    __slots__ = ("store", "to", "why")
    STORE_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    store: str
    to: _core_pb2.ObjectRef
    why: Why
    def __init__(self, store: _Optional[str] = ..., to: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., why: _Optional[_Union[Why, _Mapping]] = ..., **kwargs) -> None: ...

class ReplaceSubjectResponse(_message.Message):
    __slots__ = ("moved", "token")
    MOVED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    moved: int
    token: str
    def __init__(self, moved: _Optional[int] = ..., token: _Optional[str] = ...) -> None: ...

class WhoAmIRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WhoAmIResponse(_message.Message):
    __slots__ = ("principal", "proof", "expires_at", "scope", "server_permissions", "store_permissions")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SERVER_PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    STORE_PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    principal: Principal
    proof: str
    expires_at: _timestamp_pb2.Timestamp
    scope: _containers.RepeatedCompositeFieldContainer[Narrowing]
    server_permissions: _containers.RepeatedScalarFieldContainer[str]
    store_permissions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, principal: _Optional[_Union[Principal, _Mapping]] = ..., proof: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., scope: _Optional[_Iterable[_Union[Narrowing, _Mapping]]] = ..., server_permissions: _Optional[_Iterable[str]] = ..., store_permissions: _Optional[_Iterable[str]] = ...) -> None: ...
