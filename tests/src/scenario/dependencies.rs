//! What the schema calls say of a scenario: the schema in force is no change of itself, what depends on what is told alike from
//! both ends, and nobody has a permission that their type cannot lead to.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use stonetown_api::proto::authzed::api::v1 as wire;
use wire::check_permission_response::Permissionship;

use super::{Decisions, Members, Run};
use crate::client::fully_consistent;

/// A relation or permission, or without one the type itself.
type Node = (String, Option<String>);

impl Run {
    pub(super) async fn dependencies(
        &mut self,
        schema: &str,
        members: &BTreeMap<String, Members>,
        decisions: &Decisions,
    ) -> Result<()> {
        let request =
            wire::DiffSchemaRequest { consistency: Some(fully_consistent()), comparison_schema: schema.to_owned() };
        let diffs = self.client.schema.diff_schema(request).await?.into_inner().diffs;
        self.expect(|| "differences from the schema in force".to_owned(), &diffs, &Vec::new());

        let mut dependents: BTreeMap<Node, BTreeSet<Node>> = BTreeMap::new();
        let mut dependencies: BTreeMap<Node, BTreeSet<Node>> = BTreeMap::new();
        for (definition, members) in members {
            dependents.insert((definition.clone(), None), self.computable(definition, "").await?);
            for member in members.relations.iter().chain(&members.permissions) {
                let node = (definition.clone(), Some(member.clone()));
                dependents.insert(node, self.computable(definition, member).await?);
            }
            for permission in &members.permissions {
                let node = (definition.clone(), Some(permission.clone()));
                dependencies.insert(node, self.dependent(definition, permission).await?);
            }
        }
        for (permission, found) in &dependencies {
            let expected: BTreeSet<Node> = dependents
                .iter()
                .filter(|((_, member), found)| member.is_some() && found.contains(permission))
                .map(|(node, _)| node.clone())
                .collect();
            self.expect(|| format!("what {permission:?} depends on"), found, &expected);
        }
        for ((object, member), row) in decisions {
            let asked = (object.object_type.to_string(), Some(member.clone()));
            for (subject, permissionship) in row {
                let relation = subject.relation().map(ToString::to_string);
                let subject = (subject.object_type().to_string(), relation);
                if *permissionship != Permissionship::NoPermission && subject != asked {
                    let leads_there = dependents.get(&subject).is_some_and(|found| found.contains(&asked));
                    self.expect(|| format!("whether {subject:?} can lead to {asked:?}"), &leads_there, &true);
                }
            }
        }
        Ok(())
    }

    async fn computable(&mut self, definition: &str, relation: &str) -> Result<BTreeSet<Node>> {
        let request = wire::ComputablePermissionsRequest {
            consistency: Some(fully_consistent()),
            definition_name: definition.to_owned(),
            relation_name: relation.to_owned(),
            ..Default::default()
        };
        Ok(nodes(self.client.schema.computable_permissions(request).await?.into_inner().permissions))
    }

    async fn dependent(&mut self, definition: &str, permission: &str) -> Result<BTreeSet<Node>> {
        let request = wire::DependentRelationsRequest {
            consistency: Some(fully_consistent()),
            definition_name: definition.to_owned(),
            permission_name: permission.to_owned(),
        };
        Ok(nodes(self.client.schema.dependent_relations(request).await?.into_inner().relations))
    }
}

fn nodes(found: Vec<wire::ReflectionRelationReference>) -> BTreeSet<Node> {
    found.into_iter().map(|one| (one.definition_name, Some(one.relation_name))).collect()
}
