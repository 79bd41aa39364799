//! Webhooks of a whole server: what becomes of grants is told, signed, in order, again until it is taken, and never where it is
//! not to go; and nothing about grants waits for it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use parking_lot::Mutex;
use rcgen::{CertifiedKey, KeyPair};
use ring::hmac;
use serde_json::Value;
use stonetown_tests::answering::{Answering, Asked};
use stonetown_tests::certificates::localhost;
use stonetown_tests::home::Home;
use stonetown_tests::operated::{Operated, data_dir, fails_to_serve};
use stonetown_tests::server::KEY;

const TIMEOUT: Duration = Duration::from_secs(60);
const SECRET: [u8; 32] = [7; 32];
/// What a requester writes to be more than text where it is shown.
const HOSTILE: &str = "\u{1b}[2J\n\"}]{</script><img src=x onerror='alert(1)'>\u{202e}\u{9b}";
const SCHEMA: &str = "use expiration\ndefinition agent {}\ndefinition cluster {\n  relation scaler: agent with expiration\n  \
                      permission scale = scaler\n}\n";
const TEMPLATE: &str = "
name: scale
edges: ['cluster:${cluster}#scaler@${beneficiary}']
parameters: {cluster: {prefix: staging-}}
answers: ['cluster:${cluster}#scale']
ttl_max: 1h
total_max: 4h
stages: [{name: sre, approvers: ['sys/principal:rita'], need: 1, timeout: 15m}]
auto: [{name: short, when: ttl_seconds <= 5, approve: true}]
owner: key-1
requesters: ['sys/principal:bot']
";

/// One who is told, and answers as the test wants.
struct Receiver {
    answering: Answering,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Answers to the next messages; 200 after them.
    answers: VecDeque<u16>,
    told: Vec<(u16, Asked)>,
}

impl Receiver {
    async fn new(tls: &CertifiedKey<KeyPair>) -> Receiver {
        let seen = Arc::<Mutex<Seen>>::default();
        let telling = Arc::clone(&seen);
        let answer = move |asked: Asked| {
            let mut seen = telling.lock();
            let status = seen.answers.pop_front().unwrap_or(200);
            let answer = Response::builder().status(status).header("location", format!("{}/elsewhere", asked.url));
            seen.told.push((status, asked));
            answer.body(String::new()).unwrap()
        };
        Receiver { answering: Answering::start(Some(tls), answer).await.unwrap(), seen }
    }

    fn url(&self) -> String {
        format!("{}/hook?of=test", self.answering.url)
    }

    fn will_answer(&self, answers: impl IntoIterator<Item = u16>) {
        self.seen.lock().answers = answers.into_iter().collect();
    }

    fn told(&self) -> Vec<(u16, Asked)> {
        self.seen.lock().told.clone()
    }

    /// What it has taken, once each, as type and reason.
    fn taken(&self) -> Vec<(String, String)> {
        let mut bodies = HashMap::new();
        let mut taken = Vec::new();
        for (status, asked) in self.told() {
            let (id, told) = verified(&asked);
            assert_eq!(*bodies.entry(id.clone()).or_insert_with(|| asked.body.clone()), asked.body, "{id}");
            if status == 200 && !taken.iter().any(|(known, _)| *known == id) {
                taken.push((id, told));
            }
        }
        let said = |told: &Value, at: &str| told.pointer(at).unwrap().as_str().unwrap().to_owned();
        taken.iter().map(|(_, told)| (said(told, "/type"), said(told, "/data/grant/reason"))).collect()
    }

    async fn until(&self, what: &str, is: impl Fn(&Receiver) -> bool) {
        let begun = Instant::now();
        while !is(self) {
            assert!(begun.elapsed() < TIMEOUT, "{what}: {:?}", self.taken());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The id of a message, and what it says, after its signature was verified as by any receiver.
fn verified(asked: &Asked) -> (String, Value) {
    let header = |name: &str| asked.headers[name].to_str().unwrap().to_owned();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/hook?of=test"));
    assert_eq!(header("content-type"), "application/json");
    let (id, second) = (header("webhook-id"), header("webhook-timestamp"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(second.parse().unwrap()) < 300, "{second}");
    let signature = header("webhook-signature");
    let signature = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
    let message = [format!("{id}.{second}.").as_bytes(), &asked.body].concat();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), &message, &signature).expect("signed");
    assert!(asked.body.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"<>&'".contains(byte)), "inert");
    (id, serde_json::from_slice(&asked.body).unwrap())
}

/// A server whose webhook is a receiver, and who calls it.
struct World {
    home: Home,
    receiver: Receiver,
    data: String,
    secret: String,
    trusted: String,
    server: Option<Operated>,
    bot: String,
    rita: String,
    /// How long the log is kept, where it is not as long as by default.
    log_window: Option<&'static str>,
}

impl World {
    async fn new() -> World {
        let (home, tls) = (Home::new(), localhost().unwrap());
        let mut world = World {
            receiver: Receiver::new(&tls).await,
            data: home.path("data").to_str().unwrap().to_owned(),
            secret: home.write("secret", &format!("whsec_{}\n", STANDARD.encode(SECRET))),
            trusted: home.write("ca.pem", &tls.cert.pem()),
            home,
            server: None,
            bot: String::new(),
            rita: String::new(),
            log_window: None,
        };
        world.start().await;
        let (schema, template) = (world.home.write("schema.zed", SCHEMA), world.home.write("scale.yaml", TEMPLATE));
        world.said(KEY, &["schema", "write", &schema]).await;
        let bot = ["principal", "create", "bot", "--kind", "agent", "--owner", "key-1", "--subject", "agent:bot"];
        world.said(KEY, &bot).await;
        world.said(KEY, &["principal", "create", "rita", "--kind", "human"]).await;
        world.said(KEY, &["grant", "template", "put", &template]).await;
        world.bot = world.said(KEY, &["credential", "issue", "bot"]).await.trim().to_owned();
        world.rita = world.said(KEY, &["credential", "issue", "rita"]).await.trim().to_owned();
        world
    }

    async fn start(&mut self) {
        let url = self.receiver.url();
        let mut flags = vec!["--grant-webhook", &url, "--grant-webhook-secret-file", &self.secret];
        flags.push("--grant-webhook-allow-private-addresses");
        flags.extend(self.log_window.into_iter().flat_map(|window| ["--log-window", window]));
        flags.extend(data_dir(self.data.as_ref()));
        self.server = Some(Operated::start_in(&[("SSL_CERT_FILE", &self.trusted)], &flags).await.unwrap());
    }

    fn server(&self) -> &Operated {
        self.server.as_ref().unwrap()
    }

    async fn end(&mut self, signal: &str) {
        let server = self.server.take().unwrap();
        server.signal(signal).unwrap();
        let ended = server.ended().await.unwrap();
        assert!(
            !ended.stderr.contains(&STANDARD.encode(SECRET)) && !ended.stderr.contains("of=test"),
            "{}",
            ended.stderr
        );
    }

    async fn said(&self, token: &str, args: &[&str]) -> String {
        self.home.said(&self.server().grpc, token, args).await.unwrap()
    }

    /// Asks for access, and gives the id of the grant.
    async fn request(&self, ttl: &str, reason: &str) -> String {
        let args = ["grant", "request", "scale", "--param", "cluster=staging-1", "--ttl", ttl, "--reason", reason];
        let said = self.said(&self.bot, &[&args[..], &["--json"]].concat()).await;
        let grant: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        grant["id"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

fn told(kinds: &[(&str, &str)]) -> Vec<(String, String)> {
    kinds.iter().map(|(kind, reason)| (format!("grant.{kind}"), (*reason).to_owned())).collect()
}

#[tokio::test]
async fn what_becomes_of_grants_is_told_in_order_and_again_until_it_is_taken() {
    let mut world = World::new().await;
    // Not taken, and elsewhere is not where it goes.
    world.receiver.will_answer([500, 302, 429]);
    let first = world.request("30m", HOSTILE).await;
    let second = world.request("30m", "second").await;
    let mut expected = vec![("requested", HOSTILE), ("requested", "second")];
    world.receiver.until("requests", |receiver| receiver.taken() == told(&expected)).await;
    let statuses: Vec<_> = world.receiver.told().iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [500, 302, 429, 200, 200]);
    assert_eq!(world.server().metric("stonetown_grant_webhook_deliveries_failed_total").await.unwrap(), 3.0);

    // Away when there is something to tell: grants go on, and so does the rest after a kill.
    world.receiver.will_answer(std::iter::repeat_n(503, 1_000));
    world.said(&world.rita, &["grant", "approve", &first]).await;
    world.said(&world.rita, &["grant", "deny", &second]).await;
    world.receiver.until("an attempt", |receiver| receiver.told().len() > 5).await;
    let shown = world.said(&world.bot, &["grant", "show", &first]).await;
    assert!(shown.contains("approved"), "{shown}");
    world.server().until("stonetown_grant_webhook_waiting_seconds{webhook=\"1\"}", |age| age >= 1.0).await.unwrap();
    world.end("KILL").await;
    world.receiver.will_answer([]);
    world.start().await;
    expected.extend([("approved", HOSTILE), ("denied", "second")]);
    world.receiver.until("the rest", |receiver| receiver.taken() == told(&expected)).await;

    // An end in good order loses nothing either, and tells nothing anew that was taken long ago.
    world
        .server()
        .until("stonetown_grant_webhook_revisions_behind{webhook=\"1\"}", |behind| behind == 0.0)
        .await
        .unwrap();
    let before = world.receiver.told().len();
    world.end("TERM").await;
    world.start().await;
    world.said(&world.bot, &["grant", "revoke", &first]).await;
    world.request("2s", "short").await;
    expected.extend([("revoked", HOSTILE), ("approved", "short"), ("expired", "short")]);
    world.receiver.until("what ends", |receiver| receiver.taken() == told(&expected)).await;
    assert_eq!(world.receiver.told().len(), before + 3, "nothing that was kept as told is told again");
    world.server().until("stonetown_grant_webhook_deliveries_total", |taken| taken == 3.0).await.unwrap();
    assert_eq!(world.server().metric("stonetown_grant_webhook_given_up_total").await.unwrap(), 0.0);
    let page = world.server().scrape().await.unwrap();
    assert!(!page.contains("of=test") && !page.contains("localhost"), "URLs are for nobody's dashboard");
    world.end("TERM").await;
}

/// Who never takes a message holds back what follows for as long as the log is kept, and no longer.
#[tokio::test]
async fn a_message_as_old_as_the_log_is_given_up_and_the_next_one_told() {
    let mut world = World::new().await;
    world.end("TERM").await;
    world.log_window = Some("3s");
    world.start().await;
    world.receiver.will_answer(std::iter::repeat_n(503, 1_000));
    world.request("30m", "never taken").await;
    let given_up = "stonetown_grant_webhook_given_up_total";
    world.receiver.until("attempts", |receiver| receiver.told().len() >= 2).await;
    assert_eq!(world.server().metric(given_up).await.unwrap(), 0.0, "not before its time");
    world.server().until(given_up, |given_up| given_up >= 1.0).await.unwrap();
    assert!(world.server().log().unwrap().contains("as old as the log is kept"), "{}", world.server().log().unwrap());
    world.receiver.will_answer([]);
    world.request("30m", "the next").await;
    world.receiver.until("the next", |receiver| receiver.taken() == told(&[("requested", "the next")])).await;
    world.end("TERM").await;
}

#[tokio::test]
async fn nothing_is_told_in_ones_own_network_unless_it_may_be() {
    let (home, tls) = (Home::new(), localhost().unwrap());
    let receiver = Receiver::new(&tls).await;
    let secret = home.write("secret", &format!("whsec_{}", STANDARD.encode(SECRET)));
    let trusted = home.write("ca.pem", &tls.cert.pem());
    // Addresses are refused at the start, names when they are resolved, which is each time.
    for url in
        ["https://127.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest", "http://127.0.0.1/"]
    {
        let flags = ["--datastore-engine", "memory", "--grant-webhook", url, "--grant-webhook-secret-file", &secret];
        let ended = fails_to_serve(&flags).await.unwrap();
        assert!(ended.code != Some(0) && ended.stderr.contains("not public"), "{url}: {}", ended.stderr);
    }
    let url = receiver.url();
    let flags = ["--datastore-engine", "memory", "--grant-webhook", &url, "--grant-webhook-secret-file", &secret];
    let server = Operated::start_in(&[("SSL_CERT_FILE", &trusted)], &flags).await.unwrap();
    let said = async |args: &[&str]| home.said(&server.grpc, KEY, args).await.unwrap();
    let template = TEMPLATE.replace("sys/principal:bot", "sys/principal:key-1");
    said(&["schema", "write", &home.write("schema.zed", SCHEMA)]).await;
    said(&["principal", "create", "bot", "--kind", "agent", "--owner", "key-1", "--subject", "agent:bot"]).await;
    said(&["principal", "create", "rita", "--kind", "human"]).await;
    said(&["grant", "template", "put", &home.write("scale.yaml", &template)]).await;
    said(&["grant", "request", "scale", "--for", "bot", "--param", "cluster=staging-1", "--ttl", "1h"]).await;
    server.until("stonetown_grant_webhook_deliveries_failed_total", |failed| failed >= 1.0).await.unwrap();
    assert!(server.log().unwrap().contains("not public"), "{}", server.log().unwrap());
    assert!(receiver.told().is_empty());
}

#[tokio::test]
async fn webhooks_that_nobody_could_trust_are_an_error_at_the_start() {
    const CANARY: &str = "canary-9b17";
    let home = Home::new();
    let bad = home.write("bad", &format!("whsec_{CANARY}\n"));
    let none = home.path("none").to_str().unwrap().to_owned();
    let url = "https://hooks.example.com/";
    for (flags, why) in [
        (vec!["--grant-webhook", url], "needs `grant-webhook-secret-file`"),
        (vec!["--grant-webhook", url, "--grant-webhook-secret-file", &none], "No such file"),
        (vec!["--grant-webhook", url, "--grant-webhook-secret-file", &bad], "24 to 64 bytes"),
        (vec!["--grant-webhook", "http://hooks.example.com/", "--grant-webhook-secret-file", &bad], "not https"),
        (vec!["--grant-webhook", url, "--grant-webhook", url, "--grant-webhook-secret-file", &bad], "twice"),
    ] {
        let ended = fails_to_serve(&[&["--datastore-engine", "memory"], &flags[..]].concat()).await.unwrap();
        assert!(ended.code != Some(0) && ended.stderr.contains(why), "{flags:?}: {}", ended.stderr);
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(CANARY), "{}", ended.stderr);
    }
}
