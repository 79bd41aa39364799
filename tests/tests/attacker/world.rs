//! A server with something in it of each kind that has a name, and agents that hold what they are given.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stonetown_tests::server::{KEY, Server, Store, binary};
use tempfile::TempDir;

use crate::wire::{Answer, Caller};

const SCHEMA: &str = "use expiration
definition agent {}
definition folder {
  relation viewer: agent
  permission view = viewer
}
definition document {
  relation viewer: agent | agent with expiration
  relation editor: agent | agent with expiration
  permission view = viewer + editor
}";

/// What stands behind a `$` in a request.
pub(crate) type Names = BTreeMap<&'static str, String>;

pub(crate) struct World {
    pub(crate) server: Server,
    /// With the preshared key, who may do everything.
    pub(crate) root: Caller,
    directory: TempDir,
    credential: String,
    grant: String,
}

impl World {
    pub(crate) async fn start() -> World {
        let directory = tempfile::tempdir().unwrap();
        let flags = ["--materialize-permission", "document#view@agent", "--watch-api-heartbeat", "100ms"];
        let data = directory.path().join("data");
        let server = Server::start(&binary().unwrap(), Store::RocksDb(&data), &flags, &[]).await.unwrap();
        let root = Caller::new(&server.address, KEY).await;
        root.get("authzed.api.v1.SchemaService/WriteSchema", &json!({ "schema": SCHEMA }).to_string()).await;
        let mut world = World { server, root, directory, credential: String::new(), grant: String::new() };
        for text in ["document:readme#viewer@agent:seven", "folder:readme#viewer@agent:seven"] {
            world.touch(text).await;
        }
        for id in ["asker", "voter", "victim-1"] {
            world.principal(id).await;
        }
        world.credential =
            world.root.get("stonetown.v1.PrincipalService/IssueCredential", r#"{"principal":"victim-1"}"#).await["id"]
                .as_str()
                .unwrap()
                .to_owned();
        for (path, message) in [
            (
                "PrincipalService/GivePower",
                r#"{"holder":{"principal":"voter"},"power":{"name":"member","group":"grp-1"}}"#,
            ),
            ("StoreService/CreateStore", r#"{"name":"qqone"}"#),
            ("AdminService/Checkpoint", r#"{"name":"cp-1"}"#),
        ] {
            world.root.get(&format!("stonetown.v1.{path}"), message).await;
        }
        let row = crate::CALLS.iter().find(|row| row.2 == "put_template").unwrap();
        world.root.get(row.0, &put(row.3, &world.names(true))).await;
        let asker = world.caller("asker").await;
        let asked = r#"{"template":"xreach","parameters":{"thing":"readme"},"task":"task-1"}"#;
        let grant = asker.get("stonetown.v1.GrantService/RequestGrant", asked).await;
        world.grant = grant["grant"]["id"].as_str().unwrap().to_owned();
        let counter = r#"{"name":"counter_1","relationshipFilter":{"resourceType":"document"}}"#;
        world.root.get("authzed.api.v1.ExperimentalService/ExperimentalRegisterRelationshipCounter", counter).await;
        world
    }

    /// Names of what there is, or others of the same length.
    pub(crate) fn names(&self, exists: bool) -> Names {
        let changed = |id: &str| {
            let last = if id.ends_with('0') { "1" } else { "0" };
            format!("{}{last}", &id[..id.len().saturating_sub(1)])
        };
        let schema = serde_json::to_string(SCHEMA).unwrap();
        let mut names = Names::from([("$schema", schema[1..schema.len() - 1].to_owned())]);
        for (name, there, not_there) in [
            ("$type", "document", "zocument"),
            ("$object", "readme", "zzadme"),
            ("$relation", "viewer", "zzewer"),
            ("$permission", "view", "zzew"),
            ("$subject", "seven", "zeven"),
            ("$principal", "victim-1", "victim-0"),
            ("$template", "xreach", "xteach"),
            ("$store", "qqone", "qqtwo"),
            ("$checkpoint", "cp-1", "cp-0"),
            ("$counter", "counter_1", "counter_0"),
            ("$group", "grp-1", "grp-0"),
            ("$task", "task-1", "task-0"),
        ] {
            names.insert(name, if exists { there } else { not_there }.to_owned());
        }
        for (name, id) in [("$credential", &self.credential), ("$grant", &self.grant)] {
            names.insert(name, if exists { id.clone() } else { changed(id) });
        }
        names
    }

    /// An agent with a credential and these powers.
    pub(crate) async fn agent(&self, id: &str, powers: &[&str]) -> Caller {
        self.principal(id).await;
        for power in powers {
            self.power("Give", id, power).await;
        }
        self.caller(id).await
    }

    async fn principal(&self, id: &str) {
        let subjects = json!([{ "store": "default", "subject": { "type": "agent", "id": id } }]);
        let principal = json!({ "id": id, "kind": "PRINCIPAL_KIND_AGENT", "owner": { "principal": "key-1" },
            "subjects": subjects });
        let message = json!({ "principal": principal }).to_string();
        self.root.get("stonetown.v1.PrincipalService/CreatePrincipal", &message).await;
    }

    /// A principal that is there, with a credential of its own.
    pub(crate) async fn caller(&self, id: &str) -> Caller {
        self.narrowed(id, json!([])).await
    }

    /// As [`World::caller`], with a credential that is narrowed.
    pub(crate) async fn narrowed(&self, id: &str, scope: Value) -> Caller {
        let message = json!({ "principal": id, "scope": scope }).to_string();
        let issued = self.root.get("stonetown.v1.PrincipalService/IssueCredential", &message).await;
        self.root.with(issued["token"].as_str().unwrap())
    }

    /// Gives or takes a power, as `calls.rs` names them.
    pub(crate) async fn power(&self, act: &str, id: &str, power: &str) {
        let (name, over) = match power.split_once('@') {
            Some((name, "type")) => (name, json!({ "store": "default", "resourceType": "document" })),
            Some((name, _)) => (name, json!({ "store": "default", "resourceType": "document", "relation": "viewer" })),
            None => (power, json!({ "store": "default" })),
        };
        let power = match name {
            "operator" => json!({ "name": name, "server": true }),
            _ => json!({ "name": name, "store": over }),
        };
        let message = json!({ "holder": { "principal": id }, "power": power }).to_string();
        self.root.get(&format!("stonetown.v1.PrincipalService/{act}Power"), &message).await;
    }

    /// Writes a relationship.
    pub(crate) async fn touch(&self, text: &str) {
        let relationship: stonetown_tuple::Relationship = text.parse().unwrap();
        let (resource, subject) = (relationship.resource, relationship.subject);
        let subject = json!({ "objectType": subject.object_type().as_str(), "objectId": subject.object_id().as_str() });
        let relationship = json!({
            "resource": { "objectType": resource.object_type.as_str(), "objectId": resource.object_id.as_str() },
            "relation": relationship.relation.as_str(),
            "subject": { "object": subject },
        });
        let updates = json!({ "updates": [{ "operation": "OPERATION_TOUCH", "relationship": relationship }] });
        self.root.get("authzed.api.v1.PermissionsService/WriteRelationships", &updates.to_string()).await;
    }

    /// Whether an agent may view or, by a relation, edit a document.
    pub(crate) async fn may(&self, agent: &str, permission: &str, document: &str) -> bool {
        let message = json!({ "resource": { "type": "document", "id": document }, "permission": permission,
            "subject": { "type": "agent", "id": agent } });
        let answer = self.root.get("stonetown.v1.DecisionService/Check", &message.to_string()).await;
        answer["outcome"] == "OUTCOME_ALLOWED"
    }

    /// Stops the server, and gives what the log of decisions has of a caller.
    pub(crate) async fn records_of(self, caller: &str) -> Vec<Value> {
        let World { mut server, directory, .. } = self;
        server.terminate().await.unwrap();
        while !server.has_ended().unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let mut command = std::process::Command::new(binary().unwrap());
        command.args(["--json", "audit", "search", "--caller", caller]);
        let output = command.env("STONETOWN_DATA_DIR", directory.path().join("data")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A request with its names.
pub(crate) fn put(text: &str, names: &Names) -> String {
    names.iter().fold(text.to_owned(), |text, (mark, name)| text.replace(mark, name))
}

/// An answer in which the names that were sent are marks again.
pub(crate) fn without(answer: Answer, names: &Names) -> Answer {
    let marked = |text: &str| {
        // The longest first: one name can be part of another.
        let mut names: Vec<_> = names.iter().collect();
        names.sort_by_key(|(_, name)| std::cmp::Reverse(name.len()));
        names.into_iter().fold(text.to_owned(), |text, (mark, name)| text.replace(name.as_str(), mark))
    };
    let own = |value: &Value| serde_json::from_str(&marked(&value.to_string())).unwrap();
    Answer {
        code: answer.code,
        message: marked(&answer.message),
        details: marked(&String::from_utf8_lossy(&answer.details)).into_bytes(),
        trailers: answer.trailers.iter().map(|(name, value)| (name.clone(), marked(value))).collect(),
        messages: answer.messages.iter().map(own).collect(),
    }
}
