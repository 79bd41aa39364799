//! Principals, credentials and powers as text and JSON.

use prost_types::Timestamp;
use serde_json::{Value, json};
use stonetown_api::proto::stonetown::v1 as pb;

use crate::output::{Output, complain};

pub(super) fn principal(principal: Option<pb::Principal>, output: Output) {
    let principal = principal.unwrap_or_default();
    output.result(principal_text(&principal), || principal_json(&principal));
}

pub(super) fn delegation(delegation: Option<pb::Delegation>, output: Output) {
    let pb::Delegation { principal, actor, types, permissions, expires_at } = delegation.unwrap_or_default();
    let until = expires_at.map(|at| moment(Some(at)));
    let (of_types, of_permissions) = (types.join(","), permissions.join(","));
    let ends = until.as_ref().map(|until| format!("\tuntil {until}")).unwrap_or_default();
    output.result(format!("{actor} for {principal}\t{of_types}#{of_permissions}{ends}"), || {
        json!({
            "principal": principal,
            "actor": actor,
            "types": types,
            "permissions": permissions,
            "expiresAt": until,
        })
    });
}

pub(super) fn token(token: &str, output: Output) {
    output.result(token, || json!({ "token": token }));
}

pub(super) fn retired(answer: &pb::RetirePrincipalResponse, dry_run: bool, output: Output) {
    let pb::RetirePrincipalResponse { credentials, powers, relationships } = answer;
    let taken = if dry_run { "would be taken away" } else { "taken away" };
    let text = format!("{taken}: {credentials} credentials, {powers} powers, {relationships} relationships");
    output.result(
        text,
        || json!({ "dryRun": dry_run, "credentials": credentials, "powers": powers, "relationships": relationships }),
    );
}

/// The id goes to standard error, so that the token alone can be kept.
pub(super) fn issued(id: &str, token: &str, expires_at: Option<Timestamp>, output: Output) {
    let until = moment(expires_at);
    if !output.json {
        complain(&format!("credential {id}, until {until}"));
    }
    output.result(token, || json!({ "id": id, "token": token, "expiresAt": until }));
}

pub(super) fn credential(credential: &pb::Credential, output: Output) {
    let (issued, until) = (moment(credential.issued_at), moment(credential.expires_at));
    let state = if credential.revoked { "revoked" } else { "" };
    let scopes: Vec<_> = credential.scope.iter().map(scope).collect();
    let text = format!("{}\tuntil {until}\t{}\t{state}", credential.id, scopes.join(" ").escape_debug());
    output.result(text.trim_end(), || {
        json!({
            "id": credential.id,
            "principal": credential.principal,
            "issuedAt": issued,
            "expiresAt": until,
            "revoked": credential.revoked,
            "scope": scopes,
        })
    });
}

pub(super) fn power(power: &pb::Power, output: Output) {
    let over = over(power);
    output.result(format!("{}\t{over}", power.name), || json!({ "power": power.name, "over": over }));
}

pub(super) fn whoami(answer: pb::WhoAmIResponse, output: Output) {
    let principal = answer.principal.unwrap_or_default();
    let scopes: Vec<_> = answer.scope.iter().map(scope).collect();
    let until = answer.expires_at.map(|at| moment(Some(at)));
    let mut text = format!("{}\nproved by {}", principal_text(&principal), answer.proof);
    for (what, names) in [
        ("until", until.clone().into_iter().collect()),
        ("narrowed to", scopes.clone()),
        ("server", answer.server_permissions.clone()),
        ("store", answer.store_permissions.clone()),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("\n{what}: {}", names.join(", ").escape_debug()));
        }
    }
    output.result(text, || {
        json!({
            "principal": principal_json(&principal),
            "proof": answer.proof,
            "expiresAt": until,
            "scope": scopes,
            "serverPermissions": answer.server_permissions,
            "storePermissions": answer.store_permissions,
        })
    });
}

/// As it is written on the command line.
pub(super) fn scope(scope: &pb::Narrowing) -> String {
    let part = |mark: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!("{mark}{}", names.join(",")),
    };
    format!("{}{}{}", scope.resource_type, part(":", &scope.resource_ids), part("#", &scope.permissions))
}

fn principal_text(principal: &pb::Principal) -> String {
    let owner = principal.owner.as_ref().map(|owner| format!("\tof {}", holder(owner))).unwrap_or_default();
    format!("{}\t{}\t{}{owner}", principal.id, kind(principal), state(principal))
}

fn principal_json(principal: &pb::Principal) -> Value {
    use pb::external_id::Id;
    let subject = |stand_in: &pb::StandIn| {
        let subject = stand_in.subject.clone().unwrap_or_default();
        json!({ "store": stand_in.store, "subject": format!("{}:{}", subject.r#type, subject.id) })
    };
    let external = |name: &pb::ExternalId| match &name.id {
        Some(Id::Spiffe(id)) => json!({ "spiffe": id }),
        Some(Id::Dns(name)) => json!({ "dns": name }),
        Some(Id::Oidc(oidc)) => json!({ "issuer": oidc.issuer, "subject": oidc.subject }),
        None => Value::Null,
    };
    json!({
        "id": principal.id,
        "kind": kind(principal),
        "state": state(principal),
        "owner": principal.owner.as_ref().map(holder),
        "labels": principal.labels,
        "subjects": principal.subjects.iter().map(subject).collect::<Vec<_>>(),
        "externalIds": principal.external_ids.iter().map(external).collect::<Vec<_>>(),
        "createdAt": moment(principal.created_at),
    })
}

fn kind(principal: &pb::Principal) -> String {
    principal.kind().as_str_name().trim_start_matches("PRINCIPAL_KIND_").to_lowercase()
}

fn state(principal: &pb::Principal) -> String {
    principal.state().as_str_name().trim_start_matches("PRINCIPAL_STATE_").to_lowercase()
}

fn holder(holder: &pb::Holder) -> String {
    use pb::holder::Holder;
    match &holder.holder {
        Some(Holder::Principal(id)) => id.clone(),
        Some(Holder::Group(id)) => format!("group:{id}"),
        None => String::new(),
    }
}

/// As it is written on the command line, with the store before it where it is not the default one.
fn over(power: &pb::Power) -> String {
    use pb::power::Over;
    match &power.over {
        Some(Over::Server(_)) => "server".to_owned(),
        Some(Over::Group(id)) => format!("group:{id}"),
        Some(Over::Store(over)) if over.resource_type.is_empty() => format!("store:{}", over.store),
        Some(Over::Store(over)) if over.relation.is_empty() => over.resource_type.clone(),
        Some(Over::Store(over)) => format!("{}#{}", over.resource_type, over.relation),
        None => String::new(),
    }
}

fn moment(moment: Option<Timestamp>) -> String {
    moment.map(|moment| moment.to_string()).unwrap_or_default()
}
