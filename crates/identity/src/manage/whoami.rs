//! Who one is to the server, and what one may do, as it is now.

use stonetown_authorizer::{Caller, Error};
use stonetown_tuple::{CaveatContext, ObjectRef, StoreId, SubjectRef};

use super::principals::Described;
use super::root;
use crate::Identity;
use crate::system::Kind;

/// What is asked of the whole server and of a store.
const OF_SERVER: [&str; 1] = ["administer"];
const OF_STORE: [&str; 10] = [
    "administer",
    "check_all",
    "enumerate_all",
    "write_all",
    "revoke_all",
    "audit",
    "assert_chain",
    "write_schema",
    "read_schema",
    "operate",
];

/// A caller as the server sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct WhoAmI {
    /// Its principal.
    pub described: Described,
    /// What it may do with the whole server.
    pub server: Vec<String>,
    /// What it may do with all of the store that it asks in, through groups, too.
    pub store: Vec<String>,
}

impl Identity {
    /// Who the caller is. Everybody may ask; what its credential is narrowed to is in its proof.
    ///
    /// # Errors
    /// When it cannot be known.
    pub fn who_am_i(&self, caller: &Caller, store: StoreId) -> Result<WhoAmI, Error> {
        let described = self.described(&caller.name)?;
        let subject = SubjectRef::object(Kind::Principal.object(&caller.name)?);
        let held = |object: ObjectRef, permissions: &[&str]| {
            let mut held = Vec::new();
            for permission in permissions {
                if self.system().holds(&object, permission, &subject, CaveatContext::new())? {
                    held.push((*permission).to_owned());
                }
            }
            Ok::<_, Error>(held)
        };
        let server = held(root()?, &OF_SERVER)?;
        let store = held(Kind::Store.object(&self.system().store_name(store))?, &OF_STORE)?;
        Ok(WhoAmI { described, server, store })
    }
}
