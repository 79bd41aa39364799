//! What a server's first start writes into the system store, so that somebody can call it, and administer it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stonetown_authorizer::{Caller, Error};

use crate::authenticate::key_name;
use crate::credential::{Credential, Issued, TTL_MAX, Token};
use crate::lockout;
use crate::principal::{Principal, PrincipalKind};
use crate::stores::DEFAULT_STORE;
use crate::system::{Change, Kind, System};

/// The group of those who hold a preshared key.
pub const PRESHARED: &str = "preshared";
/// The principal that a server without preshared keys begins with.
pub const ROOT: &str = "root";
/// What whoever holds a preshared key may do with the default store, until somebody takes it away; and the holder that a store is made for.
pub(crate) const POWERS: [&str; 8] =
    ["admin", "checker", "lister", "writer", "revoker", "auditor", "author", "chain_asserter"];

/// How a server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// How many preshared keys it has.
    pub keys: usize,
    /// Whether the holders of preshared keys get all their powers back.
    pub regain_control: bool,
    /// How long a credential lasts at most.
    pub ttl_max: Duration,
}

impl Default for Start {
    fn default() -> Self {
        Start { keys: 0, regain_control: false, ttl_max: TTL_MAX }
    }
}

/// What is kept about the server as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Root {
    /// Whether the holders of preshared keys were given their powers.
    preshared_powers_given: bool,
}

/// Writes what is missing. Nothing that somebody took away comes back by itself.
///
/// # Errors
/// When the system store cannot be read or written.
pub(crate) fn start(system: &System, start: Start) -> Result<Option<Issued>, Error> {
    let mut change = system.change();
    let mut root = system.document::<Root>(Kind::Root, "self")?.unwrap_or_default();
    let mut is_new = false;
    for number in 1..=start.keys {
        is_new |= add_key(system, &mut change, &key_name(number))?;
    }
    let mut issued = None;
    if start.keys > 0 && (!root.preshared_powers_given || start.regain_control) {
        root.preshared_powers_given = true;
        give_powers(&mut change)?;
        change.put(Kind::Root, "self", &root)?;
        is_new = true;
    } else if start.keys == 0 && !lockout::anybody_administers(system)? {
        issued = Some(add_root(system, &mut change, start.ttl_max)?);
        is_new = true;
    }
    if is_new {
        change.touch(&format!("sys/store:{DEFAULT_STORE}#parent@sys/root:self"))?;
        change.commit(&Caller::internal(), Some(r#"{"stonetown.reason":"start of the server"}"#.to_owned()))?;
    }
    Ok(issued)
}

/// Makes the principal of a preshared key, if it is not there; whether it did.
fn add_key(system: &System, change: &mut Change<'_>, name: &str) -> Result<bool, Error> {
    if system.document::<Principal>(Kind::Principal, name)?.is_some() {
        return Ok(false);
    }
    change.put(Kind::Principal, name, &principal(system, PrincipalKind::Key))?;
    change.touch(&format!("sys/principal:{name}#parent@sys/root:self"))?;
    change.touch(&format!("sys/group:{PRESHARED}#member@sys/principal:{name}"))?;
    Ok(true)
}

fn give_powers(change: &mut Change<'_>) -> Result<(), Error> {
    let holders = format!("sys/group:{PRESHARED}#member");
    change.touch(&format!("sys/group:{PRESHARED}#parent@sys/root:self"))?;
    change.touch(&format!("sys/root:self#operator@{holders}"))?;
    for power in POWERS {
        change.touch(&format!("sys/store:{DEFAULT_STORE}#{power}@{holders}"))?;
    }
    Ok(())
}

/// Makes the first principal, with a credential. It administers, and can write what it declares; lists and the audit it has to
/// give to itself.
fn add_root(system: &System, change: &mut Change<'_>, ttl: Duration) -> Result<Issued, Error> {
    let (id, token) = Token::new()?;
    let credential = Credential::new(ROOT, &token, system.now(), ttl)?;
    change.put(Kind::Principal, ROOT, &principal(system, PrincipalKind::Human))?;
    change.touch(&format!("sys/principal:{ROOT}#parent@sys/root:self"))?;
    change.touch(&format!("sys/root:self#operator@sys/principal:{ROOT}"))?;
    for power in ["writer", "revoker"] {
        change.touch(&format!("sys/store:{DEFAULT_STORE}#{power}@sys/principal:{ROOT}"))?;
    }
    change.put(Kind::Credential, &id, &credential)?;
    change.touch(&format!("sys/credential:{id}#principal@sys/principal:{ROOT}"))?;
    Ok(Issued { id, token, expires_at: credential.expires_at })
}

fn principal(system: &System, kind: PrincipalKind) -> Principal {
    Principal {
        kind,
        owner: None,
        labels: BTreeMap::new(),
        subjects: Vec::new(),
        external: Vec::new(),
        retired: false,
        created_at: system.now(),
    }
}
