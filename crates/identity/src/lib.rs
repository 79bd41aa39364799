//! Who asks, and what they may do with the database itself: the system store, kept and judged by the same engine as all
//! others.
//!
//! Everything here is relationships in the store [`StoreId::SYSTEM`], under the schema in `system.zed`. What an object of that
//! store is beside its relationships is a *document*: JSON in the caveat context of a relationship of its own, so that it has
//! versions, a history and provenance, and is written in one transaction with the relationships that it explains.
//!
//! Reading order: `system.zed`, [`system`], `powers` (what a caller may do), `authenticate` (who a caller is), `chain` (who acts for whom), [`principal`],
//! [`credential`], `start` (what the first start writes), `lockout`, then [`manage`] (changing all of it).
//!
//! [`StoreId::SYSTEM`]: stonetown_tuple::StoreId::SYSTEM

mod authenticate;
mod chain;
pub mod credential;
pub mod jwt;
mod lockout;
pub mod manage;
mod memo;
pub mod moment;
mod powers;
pub mod principal;
mod start;
mod stores;
pub mod system;

use std::sync::Arc;
use std::time::Duration;

use stonetown_authorizer::{Authorizer, Caller, Error};

pub use authenticate::{CertificateNames, Refusal};
pub use credential::{Credential, Issued, Token};
pub use powers::Powers;
pub use principal::{Holder, Principal, PrincipalKind, State};
pub use start::{PRESHARED, ROOT, Start};
pub use stores::{DEFAULT_STORE, NO_STORE, Store};
pub use system::{Change, Kind, System};

use crate::authenticate::Known;
use crate::jwt::Issuer;
use crate::memo::Memo;

/// Everything about who calls a server, and what they may do.
pub struct Identity {
    system: Arc<System>,
    /// Those who show a preshared key, each at its number less one.
    keys: Vec<Caller>,
    credentials: Memo<Box<str>, Arc<Known>>,
    states: Memo<Box<str>, Option<State>>,
    /// By digests of other names.
    aliases: Memo<Box<str>, Option<Arc<str>>>,
    issuers: Vec<Arc<Issuer>>,
    /// How long a credential lasts at most.
    ttl_max: Duration,
}

impl Identity {
    /// Opens the system store, writes what a start in this way needs, and puts the gate before all calls of the engine. The
    /// credential is that of the first principal, where there was nobody to administer the server.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] where there is no system store and nothing can be written; nothing is judged then.
    pub fn open(authorizer: Arc<Authorizer>, start: Start) -> Result<(Identity, Option<Issued>), Error> {
        let system = Arc::new(System::open(Arc::clone(&authorizer))?);
        let issued = match start::start(&system, start) {
            // What an earlier start wrote has to do.
            Err(Error::ReadOnly(_)) => None,
            outcome => outcome?,
        };
        let gate = authorizer.set_gate(Arc::new(Powers::new(&system)));
        gate.map_err(|_| Error::Internal("the engine has a gate already".to_owned()))?;
        let identity = Identity {
            system,
            keys: authenticate::keys(start.keys),
            credentials: Memo::default(),
            states: Memo::default(),
            aliases: Memo::default(),
            issuers: Vec::new(),
            ttl_max: start.ttl_max,
        };
        Ok((identity, issued))
    }

    /// Lets in those about whom these issuers sign tokens.
    #[must_use]
    pub fn with_issuers(self, issuers: Vec<Arc<Issuer>>) -> Identity {
        Identity { issuers, ..self }
    }

    /// The system store.
    #[must_use]
    pub fn system(&self) -> &Arc<System> {
        &self.system
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}
