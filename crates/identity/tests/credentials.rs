//! Credentials as leases: how long they hold, what they are narrowed to, and that taking one back is complete.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stonetown_authorizer::{Authorizer, Caller, Error, Narrowing, Options, Quota, Scope};
use stonetown_identity::manage::{Mandate, Over, Power, Terms, Wanted, Why};
use stonetown_identity::{Holder, Identity, Issued, PrincipalKind, Refusal, Start};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

thread_local! {
    static CLOCK: Cell<i64> = const { Cell::new(1_900_000_000) };
}

fn wait(seconds: i64) {
    CLOCK.set(CLOCK.get() + seconds);
}

/// A server with a key, and an agent that the key's holder answers for.
fn server() -> (Identity, Caller) {
    let wall = || Timestamp::from_second(CLOCK.get()).unwrap();
    let options = Options { wall_clock: Some(wall), ..Options::default() };
    let authorizer = Arc::new(Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap());
    let (identity, _) = Identity::open(authorizer, Start { keys: 1, ..Start::default() }).unwrap();
    let key = identity.by_key(1).unwrap();
    for (id, owner) in [("ada", None), ("agent", Some(Holder::Principal("ada".to_owned())))] {
        let kind = if owner.is_some() { PrincipalKind::Agent } else { PrincipalKind::Human };
        let wanted = Wanted { kind, owner, labels: BTreeMap::new(), subjects: Vec::new(), external: Vec::new() };
        identity.create_principal(&key, id, wanted, &Why::default()).unwrap();
    }
    (identity, key)
}

fn issue(
    identity: &Identity,
    caller: &Caller,
    principal: &str,
    ttl: Option<Duration>,
    scope: Option<Scope>,
) -> Result<Issued, Error> {
    identity.issue_credential(caller, principal, Terms { ttl, scope, store: None }, &Why::default())
}

fn shown(identity: &Identity, issued: &Issued) -> Result<Caller, Refusal> {
    identity.by_token(issued.token.reveal())
}

fn to(resource_type: &str, ids: &[&str]) -> Option<Scope> {
    let resource_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Some(Scope(vec![Narrowing { resource_type: resource_type.to_owned(), permissions: Vec::new(), resource_ids }]))
}

fn is_denied<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Denied { .. }))
}

#[test]
fn a_credential_holds_until_it_ends() {
    let (identity, key) = server();
    let issued = issue(&identity, &key, "agent", Some(MINUTE), None).unwrap();
    assert_eq!(&*shown(&identity, &issued).unwrap().name, "agent");
    wait(59);
    assert!(shown(&identity, &issued).is_ok());
    wait(1);
    assert!(matches!(shown(&identity, &issued), Err(Refusal::Expired)));
    // Nor does another token of its form or id pass for it.
    let text = issued.token.reveal();
    let other = text.chars().rev().collect::<String>();
    let flipped = format!("{}{}", &text[..text.len() - 1], if text.ends_with('0') { '1' } else { '0' });
    for forged in [other.as_str(), flipped.as_str(), &text[..text.len() - 1], ""] {
        assert!(matches!(identity.by_token(forged), Err(Refusal::Unknown)), "{forged}");
    }
    assert!(!format!("{issued:?}").contains(text));
}

#[test]
fn only_who_manages_a_principal_hands_out_its_credentials() {
    let (identity, key) = server();
    let ada = shown(&identity, &issue(&identity, &key, "ada", None, None).unwrap()).unwrap();
    let agent = shown(&identity, &issue(&identity, &ada, "agent", None, None).unwrap()).unwrap();
    assert!(is_denied(issue(&identity, &agent, "agent", None, None)));
    // In the same words whether or not there is such a principal.
    let of = |principal: &str| issue(&identity, &agent, principal, None, None).unwrap_err().to_string();
    assert_eq!(of("ada").replace("ada", "nobody"), of("nobody"));
    let ten_days = Some(Duration::from_secs(864_000));
    assert!(matches!(issue(&identity, &ada, "agent", ten_days, None), Err(Error::Invalid(_))));
}

#[test]
fn what_is_revoked_proves_nothing_from_then_on() {
    let (identity, key) = server();
    let one = issue(&identity, &key, "agent", None, None).unwrap();
    let two = issue(&identity, &key, "agent", None, None).unwrap();
    identity.revoke_credential(&key, &one.id, &Why::default()).unwrap();
    assert!(matches!(shown(&identity, &one), Err(Refusal::Revoked)));
    let agent = shown(&identity, &two).unwrap();
    // It may take its own back, and nobody else's.
    assert!(is_denied(identity.revoke_credentials(&agent, "ada", &Why::default())));
    identity.revoke_credentials(&agent, "agent", &Why::default()).unwrap();
    assert!(matches!(shown(&identity, &two), Err(Refusal::Revoked)));
    assert!(matches!(identity.still(&agent), Err(Refusal::Revoked)));
}

#[test]
fn a_rotation_overlaps_and_gains_nothing() {
    let (identity, key) = server();
    let old = issue(&identity, &key, "agent", Some(10 * MINUTE), to("doc", &["a"])).unwrap();
    let agent = shown(&identity, &old).unwrap();
    let new = identity.rotate_credential(&agent, &old.id, None, MINUTE, &Why::default()).unwrap();
    assert_eq!(shown(&identity, &new).unwrap().scope(), agent.scope());
    wait(59);
    assert!(shown(&identity, &old).is_ok());
    wait(1);
    assert!(matches!(shown(&identity, &old), Err(Refusal::Expired)));
    assert!(shown(&identity, &new).is_ok());
    assert!(identity.rotate_credential(&key, &old.id, None, MINUTE, &Why::default()).is_err());
}

#[test]
fn who_holds_a_credential_gains_no_time_by_rotating_it_and_loses_all_of_it_with_the_first() {
    let (identity, key) = server();
    let first = issue(&identity, &key, "agent", Some(10 * MINUTE), None).unwrap();
    let agent = shown(&identity, &first).unwrap();
    let why = Why::default();
    let longer = identity.rotate_credential(&agent, &first.id, Some(11 * MINUTE), MINUTE, &why);
    assert!(matches!(&longer, Err(Error::Refused(why)) if why.contains("600 s")), "{longer:?}");
    // An answer that got lost is asked for again: no shorter for the first having an end already.
    let lost = identity.rotate_credential(&agent, &first.id, None, MINUTE, &why).unwrap();
    wait(30);
    let second = identity.rotate_credential(&agent, &first.id, None, MINUTE, &why).unwrap();
    assert_eq!(second.expires_at, lost.expires_at + Duration::from_secs(30));
    wait(30);
    let third =
        identity.rotate_credential(&shown(&identity, &second).unwrap(), &second.id, None, MINUTE, &why).unwrap();
    let third_agent = shown(&identity, &third).unwrap();
    let narrow = issue(&identity, &third_agent, "agent", None, to("doc", &["a"])).unwrap();

    // Its holder puts earlier ones away without losing what it calls with.
    identity.revoke_credential(&third_agent, &second.id, &why).unwrap();
    assert!(matches!(shown(&identity, &second), Err(Refusal::Revoked)));
    assert!(shown(&identity, &third).is_ok() && shown(&identity, &narrow).is_ok());
    // The first was stolen: whatever came of it is.
    identity.revoke_credential(&key, &first.id, &why).unwrap();
    for issued in [&lost, &second, &third, &narrow] {
        assert!(matches!(shown(&identity, issued), Err(Refusal::Revoked)), "{}", issued.id);
    }

    // Who answers for it hands out anew, in its place and for longer, and that stands by itself.
    let old = issue(&identity, &key, "agent", Some(MINUTE), None).unwrap();
    let new = identity.rotate_credential(&key, &old.id, Some(10 * MINUTE), MINUTE, &why).unwrap();
    identity.revoke_credential(&key, &old.id, &why).unwrap();
    assert!(shown(&identity, &new).is_ok());
}

#[test]
fn a_holder_makes_narrower_ones_that_end_with_its_own() {
    let (identity, key) = server();
    let own = issue(&identity, &key, "agent", Some(10 * MINUTE), None).unwrap();
    let agent = shown(&identity, &own).unwrap();
    let child = issue(&identity, &agent, "agent", Some(60 * MINUTE), to("doc", &["a", "b"])).unwrap();
    assert_eq!(child.expires_at, own.expires_at);
    let narrow = shown(&identity, &child).unwrap();
    // Not wider, not for others, not longer by turning it over.
    for scope in [None, to("doc", &[]), to("doc", &["c"]), to("secret", &["a"])] {
        assert!(is_denied(issue(&identity, &narrow, "agent", None, scope)));
    }
    assert!(is_denied(issue(&identity, &narrow, "ada", None, to("doc", &["a"]))));
    let turned = identity.rotate_credential(&narrow, &child.id, Some(60 * MINUTE), MINUTE, &Why::default());
    assert!(matches!(turned, Err(Error::Refused(_))), "{turned:?}");
    let grandchild = issue(&identity, &narrow, "agent", None, to("doc", &["a"])).unwrap();
    assert!(shown(&identity, &grandchild).is_ok());
    // What is revoked takes along what was made from it.
    identity.revoke_credential(&key, &own.id, &Why::default()).unwrap();
    for issued in [&own, &child, &grandchild] {
        assert!(matches!(shown(&identity, issued), Err(Refusal::Revoked)), "{}", issued.id);
    }
}

/// A call may have been let in, and have to wait for its turn, while its credential is taken back.
#[test]
fn who_was_let_in_before_its_credential_ended_changes_nothing_after() {
    let (identity, key) = server();
    let why = Why::default;
    let operator = Power { name: "operator".to_owned(), over: Over::Server };
    let ada = Holder::Principal("ada".to_owned());
    identity.give_power(&key, &ada, &operator, &why()).unwrap();
    let agents = issue(&identity, &key, "agent", None, None).unwrap();
    let agent = shown(&identity, &agents).unwrap();
    let mandate = Mandate { types: vec!["*".to_owned()], permissions: vec!["*".to_owned()], ttl: None };
    let wanted = || Wanted {
        kind: PrincipalKind::Human,
        owner: None,
        labels: BTreeMap::new(),
        subjects: Vec::new(),
        external: Vec::new(),
    };
    let revoked = issue(&identity, &key, "ada", None, None).unwrap();
    let other = issue(&identity, &key, "ada", None, None).unwrap();
    let by_revoked = shown(&identity, &revoked).unwrap();
    identity.revoke_credential(&key, &revoked.id, &why()).unwrap();
    let short = issue(&identity, &key, "ada", Some(MINUTE), None).unwrap();
    let by_expired = shown(&identity, &short).unwrap();
    wait(60);
    for stale in [&by_revoked, &by_expired] {
        assert!(is_denied(issue(&identity, stale, "ada", None, None)));
        assert!(is_denied(issue(&identity, stale, "ada", None, to("doc", &["a"]))));
        assert!(is_denied(issue(&identity, stale, "agent", None, None)));
        assert!(is_denied(identity.rotate_credential(stale, &other.id, None, MINUTE, &why())));
        assert!(is_denied(identity.revoke_credential(stale, &other.id, &why())));
        assert!(is_denied(identity.revoke_credentials(stale, "ada", &why())));
        assert!(is_denied(identity.give_power(stale, &ada, &operator, &why())));
        assert!(is_denied(identity.take_power(stale, &ada, &operator, &why())));
        assert!(is_denied(identity.delegate(stale, "ada", "agent", &mandate, &why())));
        assert!(is_denied(identity.undelegate(stale, "ada", "agent", &why())));
        assert!(is_denied(identity.create_principal(stale, "eve", wanted(), &why())));
        assert!(is_denied(identity.update_principal(stale, "ada", wanted(), &why())));
        assert!(is_denied(identity.quarantine(stale, "agent", &why())));
        assert!(is_denied(identity.release(stale, "agent", &why())));
        assert!(is_denied(identity.retire(stale, "agent", false, &why())));
        assert!(is_denied(identity.create_store(stale, "shop", None, Quota::default(), &why())));
        assert!(is_denied(identity.set_quota(stale, "shop", Quota::default(), &why())));
        assert!(is_denied(identity.delete_store(stale, "shop", &why())));
    }
    // What narrows its own needs no manager: it, too, has to be alive when its turn comes.
    identity.revoke_credential(&key, &agents.id, &why()).unwrap();
    assert!(is_denied(issue(&identity, &agent, "agent", None, to("doc", &["a"]))));
}
