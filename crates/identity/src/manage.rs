//! Changing who can call and what they may do. Each call is judged here, by the relationships of the system store, and says
//! nothing to those who may not ask; each change is kept with who made it and why.
//!
//! Reading order: this file (what all have in common), then `principals`, `leases` (credentials), `assign` (powers), `delegations`,
//! `stores`, `subjects` (what stands for a principal in stores), `whoami`.

mod assign;
mod delegations;
mod leases;
mod principals;
mod stores;
mod subjects;
mod whoami;

use serde_json::json;
use stonetown_authorizer::{Caller, Error, justification};
use stonetown_tuple::{CaveatContext, ObjectId, ObjectRef, SubjectRef};

pub use assign::{Over, Power};
pub use delegations::{DELEGATED_NAMES_MAX, DELEGATIONS_MAX, Delegation, Mandate};
pub use leases::{CREDENTIALS_MAX, Lease, SCOPE_ENTRIES_MAX, Terms};
pub use principals::{ALIASES_MAX, Described, ID_BYTES_MAX, LABELS_MAX, Retired, TEXT_BYTES_MAX, Wanted};
pub use stores::{Named, STORE_NAME_BYTES_MAX, STORES_MAX};
pub use subjects::{MOVED_MAX, Replaced};
pub use whoami::WhoAmI;

use crate::system::{Change, Kind, parsed};
use crate::{Identity, Refusal};

/// Bytes of a reason and of a ticket at most.
pub const WHY_BYTES_MAX: usize = justification::JUSTIFICATION_BYTES_MAX;
/// Results of one call of a list at most.
pub const LIST_MAX: usize = 1_000;

/// Why somebody changes something; kept with the change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Why {
    /// In words.
    pub reason: String,
    /// Where it was asked for.
    pub ticket: String,
}

impl Why {
    /// The metadata of a change.
    fn metadata(&self, change: &str) -> Result<Option<String>, Error> {
        if self.reason.len() > WHY_BYTES_MAX || self.ticket.len() > WHY_BYTES_MAX {
            return Err(Error::Invalid(format!("a reason or ticket has more than {WHY_BYTES_MAX} bytes")));
        }
        let mut metadata = json!({ "stonetown.change": change });
        for (name, text) in [(justification::REASON, &self.reason), (justification::TICKET, &self.ticket)] {
            if !text.is_empty() {
                metadata[name] = json!(text);
            }
        }
        Ok(Some(metadata.to_string()))
    }
}

impl Identity {
    /// Begins a change by a caller who is still let in when its turn comes: its credential may have been taken back while it
    /// waited. What the caller may do is asked after this, as nobody changes it any more then.
    fn change_by(&self, caller: &Caller) -> Result<Change<'_>, Error> {
        let change = self.system().change();
        let still = if caller.is_internal() { Ok(()) } else { self.still(caller) };
        match still {
            Ok(()) => Ok(change),
            Err(Refusal::Unavailable(error)) => Err(error),
            Err(refusal) => Err(caller.denied(&format!("change anything any more: {refusal}"))),
        }
    }

    /// Refuses those who have none of some permissions in the system store. A credential that is narrowed covers resources of
    /// stores, never the server; one for a store covers that store alone, whatever its principal may do.
    fn require(&self, caller: &Caller, act: &str, any_of: &[(ObjectRef, &str)]) -> Result<(), Error> {
        if caller.is_internal() {
            return Ok(());
        }
        let denied = || caller.denied(&act);
        let subject = Kind::Principal.object(&caller.name).map(SubjectRef::object).map_err(|_| denied())?;
        if caller.scope().is_none() {
            let own = caller.bound_to().map(|store| Kind::Store.object(store)).transpose()?;
            for (object, permission) in any_of.iter().filter(|(object, _)| own.as_ref().is_none_or(|own| own == object))
            {
                if self.system().holds(object, permission, &subject, CaveatContext::new())? {
                    return Ok(());
                }
            }
        }
        Err(denied())
    }

    fn require_administrator(&self, caller: &Caller, act: &str) -> Result<(), Error> {
        self.require(caller, act, &[(root()?, "administer")])
    }

    /// Refuses those who do not manage a principal, whether or not there is one.
    fn require_manager(&self, caller: &Caller, act: &str, principal: &str) -> Result<(), Error> {
        let act = format!("{act} `{principal}`");
        self.require(caller, &act, &[(principal_object(principal)?, "manage"), (root()?, "administer")])
    }
}

fn root() -> Result<ObjectRef, Error> {
    parsed("sys/root:self")
}

fn principal_object(id: &str) -> Result<ObjectRef, Error> {
    valid_id(id)?;
    Kind::Principal.object(id)
}

/// Refuses what is no id, before it is put into the text of a relationship.
fn valid_id(id: &str) -> Result<(), Error> {
    ObjectId::new(id).map(drop).map_err(|error| Error::Invalid(error.to_string()))
}
