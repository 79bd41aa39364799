//! `stonetown principal`, `credential` and `whoami`: who can call a server, and what they may do with it.

mod credential;
mod print;

use std::collections::HashMap;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_tuple::ObjectRef;

use crate::Outcome;
use crate::client::Client;
use crate::output::Output;
use crate::why::Why;

pub(crate) use credential::{Command as CredentialCommand, run as run_credential};

/// `principal`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a principal.
    Create(Described),
    /// Replace what is kept about a principal; what is not given is taken away.
    Update(Described),
    /// Show a principal.
    Get {
        /// Its id.
        id: String,
    },
    /// Show all principals.
    List {
        /// At most so many; 0 for all.
        #[arg(long, default_value_t = 0, value_name = "N")]
        limit: u32,
        /// Those behind this id.
        #[arg(long, default_value = "", value_name = "ID", hide_default_value = true)]
        after: String,
    },
    /// Cut a principal off at once.
    Quarantine(Changed),
    /// Let a quarantined principal in again.
    Release(Changed),
    /// Be done with a principal for good: takes its credentials, powers and relationships away.
    Retire {
        #[command(flatten)]
        changed: Changed,
        /// Say what would be taken away, and take nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Give a power to a principal or to a group's members.
    Give(Power),
    /// Take a power away.
    Take(Power),
    /// Show what a principal holds by itself.
    Powers {
        /// Its id.
        id: String,
    },
    /// Let a principal act for another, in the place of what it was let before.
    Delegate(Delegate),
    /// Take back that a principal may act for another.
    Undelegate {
        /// For whom.
        principal: String,
        /// Who may act no longer.
        actor: String,
        #[command(flatten)]
        why: Why,
    },
    /// Show who may act for a principal.
    Delegations {
        /// Its id.
        principal: String,
    },
    /// Give all relationships of one subject to another, all at once or none.
    ReplaceSubject {
        /// The one that loses them: `agent:7` in the default store, or `STORE//agent:7`.
        #[arg(value_parser = stand_in)]
        from: pb::StandIn,
        /// The one that gets them.
        to: ObjectRef,
        #[command(flatten)]
        why: Why,
    },
}

/// A principal as it is to be.
#[derive(Args)]
pub(crate) struct Described {
    /// Its id.
    id: String,
    /// What sort of caller it is.
    #[arg(long, value_enum)]
    kind: Kind,
    /// Who answers for it: a principal's id, or `group:ID`. Required for all but people.
    #[arg(long, value_name = "HOLDER", value_parser = holder)]
    owner: Option<pb::Holder>,
    /// A label. Repeat the flag for several.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A subject that stands for it in a store: `agent:7` in the default one, or `STORE//agent:7`. Repeat the flag for several.
    #[arg(long = "subject", value_name = "SUBJECT", value_parser = stand_in)]
    subjects: Vec<pb::StandIn>,
    /// A SPIFFE id in a client's certificate. Repeat the flag for several.
    #[arg(long, value_name = "URI")]
    spiffe: Vec<String>,
    /// A DNS name in a client's certificate. Repeat the flag for several.
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// A subject of an OpenID Connect issuer, as `ISSUER#SUBJECT`. Repeat the flag for several.
    #[arg(long, value_name = "ISSUER#SUBJECT", value_parser = oidc)]
    oidc: Vec<pb::external_id::Oidc>,
    #[command(flatten)]
    why: Why,
}

/// A principal that something happens to.
#[derive(Args)]
pub(crate) struct Changed {
    /// Its id.
    id: String,
    #[command(flatten)]
    why: Why,
}

/// A power and who holds it.
#[derive(Args)]
pub(crate) struct Power {
    /// A principal's id, or `group:ID` for the members of a group.
    #[arg(value_parser = holder)]
    holder: pb::Holder,
    /// Such as `checker`; see docs/identity.md.
    power: String,
    /// What it is over: `server`, `group:ID`, `store:NAME`, or a type (`document`) or relation (`document#viewer`) of the default
    /// store, or of another (`STORE//document`).
    over: String,
    #[command(flatten)]
    why: Why,
}

/// Who may act for whom.
#[derive(Args)]
pub(crate) struct Delegate {
    /// For whom.
    principal: String,
    /// Who may act.
    actor: String,
    /// Types of resources that it covers; `*` for all. Repeat the flag for several.
    #[arg(long = "type", value_name = "TYPE", required = true)]
    types: Vec<String>,
    /// Permissions that it covers; `*` for all. Repeat the flag for several.
    #[arg(long = "permission", value_name = "PERMISSION", required = true)]
    permissions: Vec<String>,
    /// How long it lasts; until it is taken back without it.
    #[arg(long, value_name = "TIME")]
    ttl: Option<stonetown_server::config::Period>,
    #[command(flatten)]
    why: Why,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Service,
    Agent,
    Build,
    Human,
    Key,
}

pub(crate) async fn run(mut client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    let service = &mut client.principals;
    match command {
        Command::Create(described) => {
            let (principal, why) = described.into_wire();
            let request = pb::CreatePrincipalRequest { principal: Some(principal), why: Some(why) };
            print::principal(service.create_principal(request).await?.into_inner().principal, output);
        }
        Command::Update(described) => {
            let (principal, why) = described.into_wire();
            let request = pb::UpdatePrincipalRequest { principal: Some(principal), why: Some(why) };
            print::principal(service.update_principal(request).await?.into_inner().principal, output);
        }
        Command::Get { id } => {
            let answer = service.get_principal(pb::GetPrincipalRequest { id }).await?;
            print::principal(answer.into_inner().principal, output);
        }
        Command::List { limit, after } => {
            let page = Some(pb::Page { size: limit, cursor: after });
            let mut found = service.list_principals(pb::ListPrincipalsRequest { page }).await?.into_inner();
            while let Some(item) = found.message().await? {
                print::principal(item.principal, output);
            }
        }
        Command::Quarantine(Changed { id, why }) => {
            let request = pb::QuarantinePrincipalRequest { id, why: Some(why.into_wire()) };
            print::token(&service.quarantine_principal(request).await?.into_inner().token, output);
        }
        Command::Release(Changed { id, why }) => {
            let request = pb::ReleasePrincipalRequest { id, why: Some(why.into_wire()) };
            print::token(&service.release_principal(request).await?.into_inner().token, output);
        }
        Command::Retire { changed: Changed { id, why }, dry_run } => {
            let request = pb::RetirePrincipalRequest { id, dry_run, why: Some(why.into_wire()) };
            print::retired(&service.retire_principal(request).await?.into_inner(), dry_run, output);
        }
        Command::Give(power) => {
            let (holder, power, why) = power.into_wire()?;
            let request = pb::GivePowerRequest { holder: Some(holder), power: Some(power), why: Some(why) };
            print::token(&service.give_power(request).await?.into_inner().token, output);
        }
        Command::Take(power) => {
            let (holder, power, why) = power.into_wire()?;
            let request = pb::TakePowerRequest { holder: Some(holder), power: Some(power), why: Some(why) };
            print::token(&service.take_power(request).await?.into_inner().token, output);
        }
        Command::Powers { id } => {
            let answer = service.list_powers(pb::ListPowersRequest { principal: id }).await?.into_inner();
            answer.powers.iter().for_each(|power| print::power(power, output));
        }
        Command::Delegate(Delegate { principal, actor, types, permissions, ttl, why }) => {
            let ttl = ttl.map(period).transpose()?;
            let why = Some(why.into_wire());
            let request = pb::DelegateRequest { principal, actor, types, permissions, ttl, why };
            print::delegation(service.delegate(request).await?.into_inner().delegation, output);
        }
        Command::Undelegate { principal, actor, why } => {
            let request = pb::UndelegateRequest { principal, actor, why: Some(why.into_wire()) };
            print::token(&service.undelegate(request).await?.into_inner().token, output);
        }
        Command::Delegations { principal } => {
            let answer = service.list_delegations(pb::ListDelegationsRequest { principal }).await?.into_inner();
            answer.delegations.into_iter().for_each(|delegation| print::delegation(Some(delegation), output));
        }
        Command::ReplaceSubject { from: pb::StandIn { store, subject: from }, to, why } => {
            let to = Some(pb::ObjectRef { r#type: to.object_type.to_string(), id: to.object_id.to_string() });
            let why = Some(why.into_wire());
            let request = pb::ReplaceSubjectRequest { store, from, to, why };
            let answer = service.replace_subject(request).await?.into_inner();
            let text = format!("{} relationships moved", answer.moved);
            output.result(text, || json!({ "moved": answer.moved, "token": answer.token }));
        }
    }
    Ok(Outcome::Done)
}

/// `whoami`.
pub(crate) async fn whoami(mut client: Client, output: Output) -> anyhow::Result<Outcome> {
    print::whoami(client.principals.who_am_i(pb::WhoAmIRequest {}).await?.into_inner(), output);
    Ok(Outcome::Done)
}

impl Described {
    fn into_wire(self) -> (pb::Principal, pb::Why) {
        use pb::external_id::Id;
        let kind = match self.kind {
            Kind::Service => pb::PrincipalKind::Service,
            Kind::Agent => pb::PrincipalKind::Agent,
            Kind::Build => pb::PrincipalKind::Build,
            Kind::Human => pb::PrincipalKind::Human,
            Kind::Key => pb::PrincipalKind::Key,
        };
        let names = self.spiffe.into_iter().map(Id::Spiffe);
        let names = names.chain(self.dns.into_iter().map(Id::Dns)).chain(self.oidc.into_iter().map(Id::Oidc));
        let principal = pb::Principal {
            id: self.id,
            kind: kind.into(),
            owner: self.owner,
            labels: self.labels.into_iter().collect::<HashMap<_, _>>(),
            subjects: self.subjects,
            external_ids: names.map(|id| pb::ExternalId { id: Some(id) }).collect(),
            ..Default::default()
        };
        (principal, self.why.into_wire())
    }
}

impl Power {
    fn into_wire(self) -> anyhow::Result<(pb::Holder, pb::Power, pb::Why)> {
        use pb::power::Over;
        let of_store = |store: String, resource_type: &str, relation: &str| {
            let (resource_type, relation) = (resource_type.to_owned(), relation.to_owned());
            Over::Store(pb::PowerOverStore { store, resource_type, relation })
        };
        let (store, over) = match self.over.split_once("//") {
            Some((store, over)) if !store.is_empty() => (store, over),
            Some(_) => {
                bail!("`{}` names no store before the two slashes: leave them out for the default one", self.over)
            }
            None => ("", &*self.over),
        };
        let store = store.to_owned();
        let over = match (over.split_once(':'), over.split_once('#')) {
            // An empty name would be another power: that over the default store, or over all of one.
            _ if over.is_empty() || over.starts_with('#') || over.ends_with([':', '#']) => {
                bail!("`{}` ends or begins where a name belongs", self.over)
            }
            _ if over == "server" => Over::Server(true),
            (Some(("group", id)), _) => Over::Group(id.to_owned()),
            (Some(("store", name)), _) => of_store(name.to_owned(), "", ""),
            (Some(_), _) => bail!("`{}` is nothing that a power can be over: see --help", self.over),
            (None, Some((resource_type, relation))) => of_store(store, resource_type, relation),
            (None, None) => of_store(store, over, ""),
        };
        Ok((self.holder, pb::Power { name: self.power, over: Some(over) }, self.why.into_wire()))
    }
}

pub(crate) fn holder(text: &str) -> Result<pb::Holder, String> {
    use pb::holder::Holder;
    let holder = match text.split_once(':') {
        Some(("group", id)) => Holder::Group(id.to_owned()),
        Some(("principal", id)) => Holder::Principal(id.to_owned()),
        Some(_) => return Err("expected a principal's id or `group:ID`".to_owned()),
        None => Holder::Principal(text.to_owned()),
    };
    Ok(pb::Holder { holder: Some(holder) })
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn stand_in(text: &str) -> Result<pb::StandIn, String> {
    // Two slashes, as a type may have a prefix.
    let read = |text: &str| text.parse::<ObjectRef>().map_err(|error| error.to_string());
    let (store, subject) = match text.split_once("//") {
        Some(("", _)) => return Err("no store before the two slashes: leave them out for the default one".to_owned()),
        Some((store, subject)) => (store, read(subject)?),
        None => ("", read(text)?),
    };
    let subject = pb::ObjectRef { r#type: subject.object_type.to_string(), id: subject.object_id.to_string() };
    Ok(pb::StandIn { store: store.to_owned(), subject: Some(subject) })
}

fn oidc(text: &str) -> Result<pb::external_id::Oidc, String> {
    let (issuer, subject) = text.split_once('#').ok_or("expected ISSUER#SUBJECT")?;
    Ok(pb::external_id::Oidc { issuer: issuer.to_owned(), subject: subject.to_owned() })
}

/// A length of time as the wire has it.
fn period(period: stonetown_server::config::Period) -> anyhow::Result<prost_types::Duration> {
    period.0.try_into().context("a length of time")
}
