//! The messages of PrincipalService to the values of the identity crate, and back.

use std::time::Duration;

use stonetown_authorizer::{Error, Narrowing, Scope};
use stonetown_identity::DEFAULT_STORE;
use stonetown_identity::manage::{Delegation, Described, Lease, Over, Power, Wanted, Why};
use stonetown_identity::principal::{External, Holder, PrincipalKind, StandIn, State};
use stonetown_tuple::{ObjectId, ObjectRef, ObjectType, RelationName};

use crate::convert::{At, FieldError, each, required, timestamp_to_wire};
use crate::proto::stonetown::v1 as wire;
use crate::stonetown::core;

pub(in crate::stonetown) fn why(why: Option<wire::Why>) -> Why {
    let wire::Why { reason, ticket } = why.unwrap_or_default();
    Why { reason, ticket }
}

/// An id of a principal, credential or group.
pub(in crate::stonetown) fn id(id: String) -> Result<String, FieldError> {
    Ok(ObjectId::new(id)?.to_string())
}

/// The name of a store.
pub(in crate::stonetown) fn store(name: String) -> String {
    if name.is_empty() { DEFAULT_STORE.to_owned() } else { name }
}

pub(in crate::stonetown) fn duration(duration: prost_types::Duration) -> Result<Duration, FieldError> {
    Duration::try_from(duration).map_err(|_| FieldError::new("expected a length of time that is not negative"))
}

pub(in crate::stonetown) fn holder(holder: Option<wire::Holder>) -> Result<Holder, FieldError> {
    match required(holder)?.holder {
        Some(wire::holder::Holder::Principal(name)) => Ok(Holder::Principal(id(name).at("principal")?)),
        Some(wire::holder::Holder::Group(name)) => Ok(Holder::Group(id(name).at("group")?)),
        None => Err(FieldError::new("one of `principal` and `group` is required")),
    }
}

pub(in crate::stonetown) fn wanted(principal: Option<wire::Principal>) -> Result<(String, Wanted), FieldError> {
    let principal = required(principal)?;
    let kind = match principal.kind() {
        wire::PrincipalKind::Service => PrincipalKind::Service,
        wire::PrincipalKind::Agent => PrincipalKind::Agent,
        wire::PrincipalKind::Build => PrincipalKind::Build,
        wire::PrincipalKind::Human => PrincipalKind::Human,
        wire::PrincipalKind::Key => PrincipalKind::Key,
        wire::PrincipalKind::Unspecified => return Err(FieldError::new("is required")).at("kind"),
    };
    let stand_in = |stand_in: wire::StandIn| {
        let subject = core::object(stand_in.subject).at("subject")?.to_string();
        Ok(StandIn { store: store(stand_in.store), subject })
    };
    let wanted = Wanted {
        kind,
        owner: principal.owner.map(|owner| holder(Some(owner))).transpose().at("owner")?,
        labels: principal.labels.into_iter().collect(),
        subjects: each("subjects", principal.subjects, stand_in)?,
        external: each("external_ids", principal.external_ids, external)?,
    };
    Ok((id(principal.id).at("id")?, wanted))
}

fn external(name: wire::ExternalId) -> Result<External, FieldError> {
    use wire::external_id::Id;
    Ok(match name.id {
        Some(Id::Spiffe(id)) => External::Spiffe(id),
        Some(Id::Dns(name)) => External::Dns(name),
        Some(Id::Oidc(wire::external_id::Oidc { issuer, subject })) => External::Oidc { issuer, subject },
        None => return Err(FieldError::new("one of `spiffe`, `dns` and `oidc` is required")),
    })
}

pub(in crate::stonetown) fn principal(described: Described) -> Result<wire::Principal, Error> {
    use wire::external_id::{Id, Oidc};
    let Described { id, principal, state } = described;
    let kind = match principal.kind {
        PrincipalKind::Service => wire::PrincipalKind::Service,
        PrincipalKind::Agent => wire::PrincipalKind::Agent,
        PrincipalKind::Build => wire::PrincipalKind::Build,
        PrincipalKind::Human => wire::PrincipalKind::Human,
        PrincipalKind::Key => wire::PrincipalKind::Key,
    };
    let state = match state {
        State::Active => wire::PrincipalState::Active,
        State::Quarantined => wire::PrincipalState::Quarantined,
        State::Retired => wire::PrincipalState::Retired,
    };
    let stand_in = |StandIn { store, subject }: StandIn| {
        let ObjectRef { object_type, object_id } =
            subject.parse().map_err(|error| Error::Internal(format!("principal `{id}`: {error}")))?;
        let subject = Some(wire::ObjectRef { r#type: object_type.to_string(), id: object_id.to_string() });
        Ok(wire::StandIn { store, subject })
    };
    let external = |name: External| {
        let name = match name {
            External::Spiffe(id) => Id::Spiffe(id),
            External::Dns(name) => Id::Dns(name),
            External::Oidc { issuer, subject } => Id::Oidc(Oidc { issuer, subject }),
        };
        wire::ExternalId { id: Some(name) }
    };
    Ok(wire::Principal {
        kind: kind.into(),
        owner: principal.owner.map(holder_to_wire),
        labels: principal.labels.into_iter().collect(),
        subjects: principal.subjects.into_iter().map(stand_in).collect::<Result<_, Error>>()?,
        external_ids: principal.external.into_iter().map(external).collect(),
        state: state.into(),
        created_at: Some(timestamp_to_wire(principal.created_at)),
        id,
    })
}

fn holder_to_wire(holder: Holder) -> wire::Holder {
    let holder = match holder {
        Holder::Principal(id) => wire::holder::Holder::Principal(id),
        Holder::Group(id) => wire::holder::Holder::Group(id),
    };
    wire::Holder { holder: Some(holder) }
}

/// A scope; none of its alternatives set is none at all.
pub(in crate::stonetown) fn scope(entries: Vec<wire::Narrowing>) -> Option<Scope> {
    let narrowing = |entry: wire::Narrowing| Narrowing {
        resource_type: entry.resource_type,
        permissions: entry.permissions,
        resource_ids: entry.resource_ids,
    };
    (!entries.is_empty()).then(|| Scope(entries.into_iter().map(narrowing).collect()))
}

pub(in crate::stonetown) fn scope_to_wire(scope: Option<&Scope>) -> Vec<wire::Narrowing> {
    let narrowing = |entry: &Narrowing| wire::Narrowing {
        resource_type: entry.resource_type.clone(),
        permissions: entry.permissions.clone(),
        resource_ids: entry.resource_ids.clone(),
    };
    scope.map(|scope| scope.0.iter().map(narrowing).collect()).unwrap_or_default()
}

pub(in crate::stonetown) fn lease(lease: Lease) -> wire::Credential {
    wire::Credential {
        scope: scope_to_wire(lease.scope.as_ref()),
        id: lease.id,
        principal: lease.principal,
        issued_at: Some(timestamp_to_wire(lease.issued_at)),
        expires_at: Some(timestamp_to_wire(lease.expires_at)),
        revoked: lease.revoked,
        store: lease.store.unwrap_or_default(),
    }
}

pub(in crate::stonetown) fn delegation(delegation: Delegation) -> wire::Delegation {
    wire::Delegation {
        principal: delegation.principal,
        actor: delegation.actor,
        types: delegation.types,
        permissions: delegation.permissions,
        expires_at: delegation.expires_at.map(timestamp_to_wire),
    }
}

pub(in crate::stonetown) fn power(power: Option<wire::Power>) -> Result<Power, FieldError> {
    use wire::power::Over as WireOver;
    let power = required(power)?;
    let over = match power.over {
        Some(WireOver::Server(true)) => Over::Server,
        Some(WireOver::Group(name)) => Over::Group(id(name).at("group")?),
        Some(WireOver::Store(over)) => over_store(over).at("store")?,
        Some(WireOver::Server(false)) | None => {
            return Err(FieldError::new("one of `server`, `store` and `group` is required"));
        }
    };
    Ok(Power { name: RelationName::new(power.name).at("name")?.to_string(), over })
}

fn over_store(over: wire::PowerOverStore) -> Result<Over, FieldError> {
    let store = id(store(over.store)).at("store")?;
    let resource_type =
        crate::convert::optional(over.resource_type, ObjectType::new).at("resource_type")?.map(|name| name.to_string());
    let relation = crate::convert::optional(over.relation, RelationName::new).at("relation")?;
    match (resource_type, relation.map(|name| name.to_string())) {
        (None, None) => Ok(Over::Store(store)),
        (Some(resource_type), None) => Ok(Over::Type(store, resource_type)),
        (Some(resource_type), Some(relation)) => Ok(Over::Relation(store, resource_type, relation)),
        (None, Some(_)) => Err(FieldError::new("is required beside a relation")).at("resource_type"),
    }
}

pub(in crate::stonetown) fn power_to_wire(power: Power) -> wire::Power {
    use wire::power::Over as WireOver;
    let of_store =
        |store, resource_type, relation| WireOver::Store(wire::PowerOverStore { store, resource_type, relation });
    let over = match power.over {
        Over::Server => WireOver::Server(true),
        Over::Store(store) => of_store(store, String::new(), String::new()),
        Over::Type(store, resource_type) => of_store(store, resource_type, String::new()),
        Over::Relation(store, resource_type, relation) => of_store(store, resource_type, relation),
        Over::Group(name) => WireOver::Group(name),
    };
    wire::Power { name: power.name, over: Some(over) }
}
