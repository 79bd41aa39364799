//! Which permissions are answered only after their record is synced.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

/// A set of permissions, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strict {
    all: bool,
    permissions: HashMap<String, HashSet<String>>,
}

/// One of them: `TYPE#PERMISSION`, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictRule(Option<(String, String)>);

impl Strict {
    /// Whether it covers a permission.
    #[must_use]
    pub fn covers(&self, resource_type: &str, permission: &str) -> bool {
        self.all || self.permissions.get(resource_type).is_some_and(|permissions| permissions.contains(permission))
    }

    /// Whether it covers none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.permissions.is_empty()
    }
}

impl FromIterator<StrictRule> for Strict {
    fn from_iter<I: IntoIterator<Item = StrictRule>>(rules: I) -> Strict {
        let mut strict = Strict::default();
        for rule in rules {
            match rule.0 {
                None => strict.all = true,
                Some((resource_type, permission)) => {
                    strict.permissions.entry(resource_type).or_default().insert(permission);
                }
            }
        }
        strict
    }
}

impl FromStr for StrictRule {
    type Err = String;
    fn from_str(text: &str) -> Result<StrictRule, String> {
        if text == "*" {
            return Ok(StrictRule(None));
        }
        let parts = text.split_once('#').filter(|(resource_type, permission)| {
            stonetown_tuple::ObjectType::new(*resource_type).is_ok()
                && stonetown_tuple::RelationName::new(*permission).is_ok()
        });
        let (resource_type, permission) =
            parts.ok_or_else(|| format!("`{text}` is no permission: expected TYPE#PERMISSION, or * for all"))?;
        Ok(StrictRule(Some((resource_type.to_owned(), permission.to_owned()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(rules: &[&str]) -> Strict {
        rules.iter().map(|rule| rule.parse::<StrictRule>().unwrap()).collect()
    }

    #[test]
    fn a_rule_covers_one_permission_and_a_star_all() {
        let some = strict(&["document#view", "document#edit"]);
        assert!(some.covers("document", "view") && some.covers("document", "edit"));
        assert!(!some.covers("document", "own") && !some.covers("folder", "view"));
        assert!(strict(&["*"]).covers("folder", "view") && strict(&[]).is_empty() && !some.is_empty());
        for bad in ["document", "document#", "#view", "document:view", ""] {
            assert!(bad.parse::<StrictRule>().is_err(), "{bad}");
        }
    }
}
