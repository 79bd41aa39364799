//! Whether the time of a refusal tells that something exists: each question is asked about a name that is there and about one that
//! is not, in a random order, and must be answered alike.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, ensure};
use rand::RngExt;
use stonetown_api::proto::authzed::api::v1 as wire;
use stonetown_api::proto::stonetown::v1 as pb;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use wire::permissions_service_client::PermissionsServiceClient;

use super::percentile;
use crate::client::{Client, object, relationship};
use crate::home::Home;
use crate::operated::Operated;
use crate::server::KEY;

const SCHEMA: &str = "definition agent {} definition document { relation viewer: agent; permission view = viewer }";
/// Names of equal length: of what is there, and of what is not.
const NAMES: [&str; 2] = ["known-one", "no-such-1"];
/// Questions before the time is taken.
const WARM_UP: usize = 200;

/// A question about one of [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// A check on an object that has relationships, by nobody in them.
    Resource,
    /// A check of somebody who has relationships, on an object that is another's.
    Subject,
    /// A principal, by who may see none.
    Principal,
    /// A credential, by who may revoke none.
    Credential,
    /// A check in a store, by who may do nothing there.
    Store,
    /// A token with the id of a credential and another secret.
    LogIn,
}

const QUESTIONS: [Question; 6] = [
    Question::Resource,
    Question::Subject,
    Question::Principal,
    Question::Credential,
    Question::Store,
    Question::LogIn,
];

/// How long the answers to one question took.
#[derive(Debug)]
pub struct Compared {
    question: Question,
    /// Of names that are there, and of those that are not; sorted.
    took: [Vec<Duration>; 2],
}

/// What a question is asked with.
struct World {
    channel: Channel,
    key: MetadataValue<Ascii>,
    /// Of a principal without any power.
    powerless: MetadataValue<Ascii>,
    /// Ids of credentials, for [`NAMES`].
    credentials: [String; 2],
}

/// Asks each question so many times about each name.
///
/// # Errors
/// If the answers are not alike.
pub async fn run(samples: usize) -> Result<Vec<Compared>> {
    let (home, server) = (Home::new(), Operated::start(&[]).await?);
    let said = async |args: &[&str]| home.said(&server.grpc, KEY, args).await.map_err(Error::msg);
    let mut client = Client::connect(&server.grpc).await?;
    client.write_schema(SCHEMA).await?;
    let [known, _] = NAMES;
    let viewers = [(known, "owner-one"), ("others", "owner-one"), ("elsewhere", known)];
    client.write(viewers.map(|(doc, agent)| relationship(("document", doc), "viewer", ("agent", agent))), []).await?;
    for name in [known, "powerless"] {
        said(&["principal", "create", name, "--kind", "human"]).await?;
    }
    said(&["store", "create", known]).await?;
    let issue = async |of: &str| said(&["credential", "issue", of, "--ttl", "4h"]).await;
    let (of_known, powerless) = (issue(known).await?, issue("powerless").await?);
    let id = of_known.trim().split('_').nth(1).unwrap_or_default().to_owned();
    let unknown: String = id.chars().rev().collect();
    let world = World {
        channel: Endpoint::from_shared(format!("http://{}", server.grpc))?.tcp_nodelay(true).connect().await?,
        key: format!("Bearer {KEY}").parse()?,
        powerless: format!("Bearer {}", powerless.trim()).parse()?,
        credentials: [id, unknown],
    };
    let mut found = Vec::new();
    for question in QUESTIONS {
        let mut took = [Vec::new(), Vec::new()];
        let mut answers = [None, None];
        for number in 0..samples * 2 + WARM_UP {
            let which = usize::from(rand::rng().random_bool(0.5));
            let begun = Instant::now();
            let answer = world.ask(question, which).await;
            let time = begun.elapsed();
            if number >= WARM_UP {
                took[which].push(time);
            }
            answers[which] = Some(answer);
        }
        ensure!(answers[0].is_some() && answers[0] == answers[1], "{question:?}: {answers:?}");
        took.iter_mut().for_each(|took| took.sort_unstable());
        found.push(Compared { question, took });
    }
    Ok(found)
}

impl World {
    /// Asks about the name at `which`, and says what was answered, without the name.
    async fn ask(&self, question: Question, which: usize) -> String {
        let (name, credential) = (NAMES[which], &self.credentials[which]);
        let request = |bearer: &MetadataValue<Ascii>| {
            let mut metadata = tonic::metadata::MetadataMap::new();
            metadata.insert("authorization", bearer.clone());
            metadata
        };
        let check = async |document: &str, agent: &str, metadata| {
            let asked = wire::CheckPermissionRequest {
                resource: Some(object("document", document)),
                permission: "view".to_owned(),
                subject: relationship(("document", document), "viewer", ("agent", agent)).subject,
                ..wire::CheckPermissionRequest::default()
            };
            let mut client = PermissionsServiceClient::new(self.channel.clone());
            let answer = client.check_permission(Request::from_parts(metadata, Default::default(), asked)).await;
            answer.map(|answer| answer.into_inner().permissionship().as_str_name().to_owned())
        };
        let mut principals = pb::principal_service_client::PrincipalServiceClient::new(self.channel.clone());
        let answer: Result<String, Status> = match question {
            Question::Resource => check(name, "nobody", request(&self.key)).await,
            Question::Subject => check("others", name, request(&self.key)).await,
            Question::Principal => {
                let asked = pb::GetPrincipalRequest { id: name.to_owned() };
                let asked = Request::from_parts(request(&self.powerless), Default::default(), asked);
                principals.get_principal(asked).await.map(|_| "seen".to_owned())
            }
            Question::Credential => {
                let which = Some(pb::revoke_credential_request::Which::Id(credential.clone()));
                let asked = pb::RevokeCredentialRequest { which, why: None };
                let asked = Request::from_parts(request(&self.powerless), Default::default(), asked);
                principals.revoke_credential(asked).await.map(|_| "revoked".to_owned())
            }
            Question::Store => {
                let mut metadata = request(&self.powerless);
                if let Ok(name) = name.parse() {
                    metadata.insert("stonetown-store", name);
                }
                check("others", "nobody", metadata).await
            }
            Question::LogIn => match format!("Bearer stonetown_{credential}_{}", "0".repeat(64)).parse() {
                Ok(bearer) => check("others", "nobody", request(&bearer)).await,
                Err(_) => Ok("no header".to_owned()),
            },
        };
        let said = answer.unwrap_or_else(|status| format!("{:?}: {}", status.code(), status.message()));
        said.replace(name, "NAME").replace(credential.as_str(), "ID")
    }
}

impl Compared {
    /// By how much the means differ, in standard deviations, and Welch's t. What took the longest, 1 of 100, is left out: that was
    /// another program.
    #[allow(clippy::cast_precision_loss)] // times and their numbers are far below 2^53
    fn difference(&self) -> (f64, f64) {
        let [one, other] = [0, 1].map(|which| {
            let kept = &self.took[which][..self.took[which].len() * 99 / 100];
            let (count, micros) = (kept.len() as f64, || kept.iter().map(|time| time.as_nanos() as f64 / 1e3));
            let mean = micros().sum::<f64>() / count;
            (count, mean, micros().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0))
        });
        let apart = one.1 - other.1;
        (apart / ((one.2 + other.2) / 2.0).sqrt(), apart / (one.2 / one.0 + other.2 / other.0).sqrt())
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most] = [50, 90].map(|percent| [0, 1].map(|which| percentile(&self.took[which], percent)));
        let (deviations, t) = self.difference();
        write!(
            f,
            "{:?}: p50 {} and {} us, p90 {} and {} us (there, absent); means apart by {:.1} % of a deviation, t = {t:.1}",
            self.question,
            half[0],
            half[1],
            most[0],
            most[1],
            deviations * 100.0
        )
    }
}
