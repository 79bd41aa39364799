//! The transactions: writes, deletes by filter, imports, new schemas, and what expires.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use rand::RngExt;
use rand::rngs::StdRng;
use stonetown_api::client::relationship_to_wire;
use stonetown_api::proto::authzed::api::v1 as wire;
use tonic::Request;

use crate::client::Client;

/// The documents.
pub(super) const DOCUMENTS: [&str; 6] = ["d1", "d2", "d3", "d4", "d5", "d6"];
/// The users.
pub(super) const USERS: [&str; 6] = ["u1", "u2", "u3", "u4", "u5", "u6"];
const GROUPS: [&str; 4] = ["g1", "g2", "g3", "g4"];
const FOLDERS: [&str; 4] = ["f1", "f2", "f3", "f4"];
/// The relationship that comes and goes at checkpoints. No other transaction touches it.
pub(super) const MARK: &str = "group:mark#member@user:mark";

/// The schema, or another in which a permission is computed otherwise.
pub(super) fn schema(other: bool) -> &'static str {
    const RULES: [&str; 2] = [
        "
use expiration
caveat workday(day string) { day != 'Sunday' }
definition user {}
definition group { relation member: user | group#member }
definition folder {
  relation parent: folder
  relation viewer: user | group#member
  permission view = viewer + parent->view
}
definition document {
  relation parent: folder
  relation viewer: user | user:* | group#member | user with workday | user with expiration
  relation banned: user
  permission view = viewer + parent->view
  permission read = view - banned
}",
        "
use expiration
caveat workday(day string) { day != 'Sunday' }
definition user {}
definition group { relation member: user | group#member }
definition folder {
  relation parent: folder
  relation viewer: user | group#member
  permission view = viewer + parent->view
}
definition document {
  relation parent: folder
  relation viewer: user | user:* | group#member | user with workday | user with expiration
  relation banned: user
  permission view = viewer
  permission read = (viewer + parent->view) - banned
}",
    ];
    RULES[usize::from(other)]
}

/// Who writes.
#[derive(Debug, Default)]
pub(super) struct Author {
    /// When the last relationship that was written with an end will have ended.
    end: Option<SystemTime>,
    has_other_schema: bool,
    is_marked: bool,
}

impl Author {
    /// Writes a random transaction.
    pub(super) async fn write(&mut self, client: &mut Client, random: &mut StdRng) -> Result<()> {
        match random.random_range(0..100) {
            0..70 => {
                let updates: BTreeMap<String, Option<wire::Relationship>> =
                    (0..random.random_range(1..7)).map(|_| self.update(random)).collect();
                let touched: Vec<_> = updates.values().flatten().cloned().collect();
                let gone = updates.iter().filter(|(_, touched)| touched.is_none());
                let gone: Result<Vec<_>> = gone.map(|(key, _)| parse(key)).collect();
                client.write(touched, gone?).await?;
            }
            70..80 => {
                let mut filter =
                    wire::RelationshipFilter { resource_type: "document".to_owned(), ..Default::default() };
                if random.random_range(0..4) > 0 {
                    filter.optional_resource_id = pick(random, &DOCUMENTS).to_owned();
                }
                filter.optional_relation = pick(random, &["viewer", "banned", "parent"]).to_owned();
                client.delete(filter).await?;
            }
            80..95 => {
                let count = random.random_range(1..40);
                let imported: BTreeMap<String, Option<wire::Relationship>> =
                    (0..count).map(|_| self.update(random)).collect();
                let relationships: Vec<_> = imported.into_values().flatten().collect();
                let message = wire::ImportBulkRelationshipsRequest { relationships };
                let mut request = Request::new(futures::stream::iter([message]));
                request.metadata_mut().insert("stonetown-import-mode", "touch".parse()?);
                client.permissions.import_bulk_relationships(request).await?;
            }
            _ => {
                self.has_other_schema = !self.has_other_schema;
                client.write_schema(schema(self.has_other_schema)).await?;
            }
        }
        Ok(())
    }

    /// The text of a relationship, and the relationship to be touched, or none where it is to be deleted.
    fn update(&mut self, random: &mut StdRng) -> (String, Option<wire::Relationship>) {
        let (document, user) = (pick(random, &DOCUMENTS), pick(random, &USERS));
        let (group, folder) = (pick(random, &GROUPS), pick(random, &FOLDERS));
        let key = match random.random_range(0..12) {
            0..4 => format!("document:{document}#viewer@user:{user}"),
            4 => format!("document:{document}#viewer@user:*"),
            5 => format!("document:{document}#viewer@group:{group}#member"),
            6 => format!("document:{document}#banned@user:{user}"),
            7 => format!("document:{document}#parent@folder:{folder}"),
            8 => format!("folder:{folder}#parent@folder:{}", pick(random, &FOLDERS)),
            9 => format!("folder:{folder}#viewer@group:{group}#member"),
            10 => format!("group:{group}#member@group:{}#member", pick(random, &GROUPS)),
            _ => format!("group:{group}#member@user:{user}"),
        };
        if random.random_range(0..100) < 35 {
            return (key, None);
        }
        let is_plain_viewer = key.contains("#viewer@user:u") && key.starts_with("document:");
        let condition = match random.random_range(0..8) {
            0 if is_plain_viewer => "[workday]".to_owned(),
            1 if is_plain_viewer => "[workday:{\"day\":\"Monday\"}]".to_owned(),
            2 if is_plain_viewer => self.ending(random),
            _ => String::new(),
        };
        let relationship = parse(&format!("{key}{condition}")).ok();
        (key, relationship)
    }

    fn ending(&mut self, random: &mut StdRng) -> String {
        let end = SystemTime::now() + Duration::from_millis(random.random_range(20..400));
        self.end = self.end.max(Some(end));
        let end = stonetown_tuple::Timestamp::try_from(end).unwrap_or(stonetown_tuple::Timestamp::MAX);
        format!("[expiration:{end}]")
    }

    /// Waits until everything that was written with an end has ended.
    pub(super) async fn wait_for_ends(&mut self) {
        if let Some(end) = self.end.take() {
            tokio::time::sleep(end.duration_since(SystemTime::now()).unwrap_or_default()).await;
            // The end itself is past, whatever a clock is read in.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Makes a transaction that is known again; whether the mark is there after it.
    pub(super) async fn mark(&mut self, client: &mut Client) -> Result<bool> {
        self.is_marked = !self.is_marked;
        let mark = [parse(MARK)?];
        if self.is_marked {
            client.write(mark, []).await?;
        } else {
            client.write([], mark).await?;
        }
        Ok(self.is_marked)
    }
}

fn parse(text: &str) -> Result<wire::Relationship> {
    Ok(relationship_to_wire(text.parse()?))
}

fn pick(random: &mut StdRng, among: &[&'static str]) -> &'static str {
    among[random.random_range(0..among.len())]
}
