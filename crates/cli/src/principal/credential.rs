//! `stonetown credential`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_server::config::Period;

use super::{Why, period, print};
use crate::Outcome;
use crate::client::Client;
use crate::output::Output;

/// `credential`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Hand out a credential; its token is printed once.
    Issue(Issue),
    /// Hand out a credential in the place of another; its token is printed once.
    Rotate {
        /// The id of the other.
        id: String,
        /// How long it lasts; as long as the other without it.
        #[arg(long, value_name = "TIME")]
        ttl: Option<Period>,
        /// How long the other may still be used.
        #[arg(long, default_value = "1m", value_name = "TIME")]
        overlap: Period,
        #[command(flatten)]
        why: Why,
    },
    /// Take a credential back, or all of a principal.
    Revoke {
        /// The id of the credential, or of the principal with --all.
        id: String,
        /// All credentials of the principal of that id.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Show the credentials of a principal.
    List {
        /// Its id.
        principal: String,
    },
}

/// `credential issue`.
#[derive(Args)]
pub(crate) struct Issue {
    /// The principal.
    principal: String,
    /// How long it lasts; 15 minutes without it.
    #[arg(long, value_name = "TIME")]
    ttl: Option<Period>,
    /// Narrow it: to a type (`document`), some permissions of it (`document#view,edit`), or some resources of it
    /// (`document:plan,memo` or `document:plan#view`). Repeat the flag for alternatives.
    #[arg(long, value_name = "SCOPE", value_parser = narrowing)]
    scope: Vec<pb::Narrowing>,
    /// The one store that it is for; every store without it.
    #[arg(long, value_name = "STORE", value_parser = NonEmptyStringValueParser::new())]
    for_store: Option<String>,
    #[command(flatten)]
    why: Why,
}

pub(crate) async fn run(mut client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    let service = &mut client.principals;
    match command {
        Command::Issue(Issue { principal, ttl, scope, for_store: store, why }) => {
            let ttl = ttl.map(period).transpose()?;
            let store = store.unwrap_or_default();
            let request = pb::IssueCredentialRequest { principal, ttl, scope, store, why: Some(why.into_wire()) };
            let issued = service.issue_credential(request).await?.into_inner();
            print::issued(&issued.id, &issued.token, issued.expires_at, output);
        }
        Command::Rotate { id, ttl, overlap, why } => {
            let (ttl, overlap) = (ttl.map(period).transpose()?, Some(period(overlap)?));
            let request = pb::RotateCredentialRequest { id, ttl, overlap, why: Some(why.into_wire()) };
            let issued = service.rotate_credential(request).await?.into_inner();
            print::issued(&issued.id, &issued.token, issued.expires_at, output);
        }
        Command::Revoke { id, all, why } => {
            use pb::revoke_credential_request::Which;
            let which = Some(if all { Which::AllOf(id) } else { Which::Id(id) });
            let request = pb::RevokeCredentialRequest { which, why: Some(why.into_wire()) };
            print::token(&service.revoke_credential(request).await?.into_inner().token, output);
        }
        Command::List { principal } => {
            let answer = service.list_credentials(pb::ListCredentialsRequest { principal }).await?.into_inner();
            answer.credentials.iter().for_each(|credential| print::credential(credential, output));
        }
    }
    Ok(Outcome::Done)
}

/// Reads `type`, `type#permissions`, `type:ids` or `type:ids#permissions`.
fn narrowing(text: &str) -> Result<pb::Narrowing, String> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let (resources, permissions) = text.split_once('#').map_or((text, Vec::new()), |(left, right)| (left, list(right)));
    let (resource_type, resource_ids) =
        resources.split_once(':').map_or((resources, Vec::new()), |(left, right)| (left, list(right)));
    let is_empty = |names: &[String]| names.iter().any(String::is_empty);
    if resource_type.is_empty() || is_empty(&permissions) || is_empty(&resource_ids) {
        return Err("expected TYPE, TYPE#PERMISSIONS, TYPE:IDS or TYPE:IDS#PERMISSIONS".to_owned());
    }
    Ok(pb::Narrowing { resource_type: resource_type.to_owned(), permissions, resource_ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        let shown = |text: &str| narrowing(text).map(|found| print::scope(&found));
        for text in ["document", "document#view", "document#view,edit", "document:plan,memo", "document:plan#view"] {
            assert_eq!(shown(text), Ok(text.to_owned()));
        }
        for text in ["", "#view", ":plan", "document#", "document:", "document:a,,b"] {
            assert!(shown(text).is_err(), "{text}");
        }
    }
}
