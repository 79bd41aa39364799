//! Giving powers and taking them away.

use stonetown_authorizer::{Caller, Error};
use stonetown_tuple::{ObjectRef, ObjectType, RelationName, Relationship, ZedToken};

use super::{Why, root, valid_id};
use crate::Identity;
use crate::principal::Holder;
use crate::start::PRESHARED;
use crate::system::{Kind, System, parsed};

/// Relations of each type of the system store that are powers.
const POWERS: [(&str, &[&str]); 5] = [
    ("sys/root", &["operator"]),
    (
        "sys/store",
        &["admin", "checker", "lister", "writer", "revoker", "auditor", "author", "reader", "chain_asserter"],
    ),
    ("sys/type", &["checker", "lister"]),
    ("sys/rel", &["writer", "revoker"]),
    ("sys/group", &["member", "owner"]),
];

/// What a power is over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Over {
    /// The whole server.
    Server,
    /// A store.
    Store(String),
    /// A type of a store.
    Type(String, String),
    /// A relation of a store's type.
    Relation(String, String, String),
    /// A group of principals.
    Group(String),
}

/// A power that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Power {
    /// Such as `checker`.
    pub name: String,
    /// What it is over.
    pub over: Over,
}

impl Over {
    /// The object of the system store, and what else has to be written so that its store's powers reach it.
    fn object(&self, system: &System) -> Result<(ObjectRef, Vec<String>), Error> {
        let known = |store: &str| match system.store_id(store) {
            Some(_) => Ok(()),
            None => Err(Error::NoSuch(format!("store `{store}`"))),
        };
        let name = |error: stonetown_tuple::NameError| Error::Invalid(error.to_string());
        Ok(match self {
            Over::Server => (root()?, Vec::new()),
            Over::Store(store) => {
                known(store)?;
                (Kind::Store.object(store)?, Vec::new())
            }
            Over::Type(store, resource_type) => {
                known(store)?;
                ObjectType::new(resource_type.as_str()).map_err(name)?;
                let object = format!("sys/type:{store}|{resource_type}");
                (parsed(&object)?, vec![format!("{object}#store@sys/store:{store}")])
            }
            Over::Relation(store, resource_type, relation) => {
                known(store)?;
                ObjectType::new(resource_type.as_str()).map_err(name)?;
                RelationName::new(relation.as_str()).map_err(name)?;
                let object = format!("sys/rel:{store}|{resource_type}|{relation}");
                (parsed(&object)?, vec![format!("{object}#store@sys/store:{store}")])
            }
            Over::Group(group) => {
                valid_id(group)?;
                let object = format!("sys/group:{group}");
                (parsed(&object)?, vec![format!("{object}#parent@sys/root:self")])
            }
        })
    }
}

impl Power {
    fn check(&self, object: &ObjectRef) -> Result<(), Error> {
        let of_type = POWERS.into_iter().find(|(name, _)| *name == object.object_type.as_str());
        let known = of_type.map_or(&[][..], |(_, powers)| powers);
        if known.contains(&self.name.as_str()) {
            return Ok(());
        }
        Err(Error::Invalid(format!("there is no power `{}` over that: there are {}", self.name, known.join(", "))))
    }

    /// The power that a relationship of the system store is, if it is one.
    fn of(relationship: &Relationship) -> Option<Power> {
        let object = &relationship.resource;
        let name = relationship.relation.to_string();
        let (_, powers) = POWERS.into_iter().find(|(name, _)| *name == object.object_type.as_str())?;
        if !powers.contains(&name.as_str()) {
            return None;
        }
        let mut parts = object.object_id.as_str().splitn(3, '|').map(str::to_owned);
        let first = parts.next()?;
        let over = match object.object_type.as_str() {
            "sys/root" => Over::Server,
            "sys/store" => Over::Store(first),
            "sys/type" => Over::Type(first, parts.next()?),
            "sys/rel" => Over::Relation(first, parts.next()?, parts.next()?),
            _ => Over::Group(object.object_id.to_string()),
        };
        Some(Power { name, over })
    }
}

impl Identity {
    /// Gives a power to a principal or the members of a group.
    ///
    /// # Errors
    /// [`Error::Denied`] for who does not administer what it is over, [`Error::NoSuch`] for a holder or store that is not
    /// there, [`Error::Invalid`] for a power that nobody can have.
    pub fn give_power(&self, caller: &Caller, holder: &Holder, power: &Power, why: &Why) -> Result<ZedToken, Error> {
        let mut change = self.change_by(caller)?;
        self.require_power_over(caller, &power.over, "give")?;
        let (object, edges) = power.over.object(self.system())?;
        power.check(&object)?;
        self.holder_exists(holder)?;
        for edge in edges {
            change.touch(&edge)?;
        }
        change.touch(&format!("{object}#{}@{}", power.name, holder.subject()))?;
        change.commit(caller, why.metadata("give power")?)
    }

    /// Takes a power away, if it is there.
    ///
    /// # Errors
    /// As [`Identity::give_power`]; [`Error::Refused`] when nobody could administer any more.
    pub fn take_power(&self, caller: &Caller, holder: &Holder, power: &Power, why: &Why) -> Result<ZedToken, Error> {
        let mut change = self.change_by(caller)?;
        self.require_power_over(caller, &power.over, "take away")?;
        let (object, _) = power.over.object(self.system())?;
        power.check(&object)?;
        let (Holder::Principal(id) | Holder::Group(id)) = holder;
        valid_id(id)?;
        change.delete(&format!("{object}#{}@{}", power.name, holder.subject()))?;
        change.commit(caller, why.metadata("take power")?)
    }

    /// What a principal holds by itself, not through groups; memberships of groups are among it.
    ///
    /// # Errors
    /// [`Error::Denied`] for who neither manages the principal nor is it, whether or not it exists.
    pub fn powers_of(&self, caller: &Caller, principal: &str) -> Result<Vec<Power>, Error> {
        self.require_self_or_manager(caller, "see powers of principal", principal)?;
        self.described(principal)?;
        Ok(self.held_by(principal)?.iter().filter_map(Power::of).collect())
    }

    fn require_power_over(&self, caller: &Caller, over: &Over, act: &str) -> Result<(), Error> {
        let store = |name: &str| Ok::<_, Error>((Kind::Store.object(name)?, "administer"));
        let mut any_of = vec![(root()?, "administer")];
        match over {
            Over::Server => {}
            Over::Store(name) | Over::Type(name, _) | Over::Relation(name, _, _) => {
                valid_id(name)?;
                any_of.push(store(name)?);
            }
            // Its members administer the server.
            Over::Group(name) if name == PRESHARED => {}
            Over::Group(name) => {
                valid_id(name)?;
                any_of.push((parsed(&format!("sys/group:{name}"))?, "manage"));
            }
        }
        self.require(caller, &format!("{act} that power"), &any_of)
    }
}
