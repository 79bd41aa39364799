//! Permission sets as a file: newline-delimited JSON, one `PermissionSetChange` a line, behind a URL that is signed.
//!
//! No file is kept: what it holds is read when it is fetched, at the revision that the URL names. The URL is all that is
//! needed to fetch it, so it is good for a short time only, and only with the process that signed it.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::TryStreamExt;
use futures::future::{BoxFuture, Either};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use ring::{hmac, rand};
use serde_json::{Map, Value, json};
use stonetown_authorizer::materialize::LookupSetsRequest;
use stonetown_authorizer::{Authorizer, Call, Caller};
use stonetown_tuple::{Revision, ZedToken};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::change;
use crate::calls::{Outlet, streamed};
use crate::incoming::CancelOnDrop;
use crate::proto::authzed::api::materialize::v0 as wire;
use crate::proto::authzed::api::materialize::v0::permission_set_change::{Child, SetOperation};
use crate::status::status;

/// Where files are, followed by the revision.
const PATH: &str = "/materialize/v0/permission-sets/";
const EXTENSION: &str = ".ndjson";
/// Bytes that are sent at once, roughly.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks between the thread that reads and the connection that sends.
const CHUNKS_AHEAD: usize = 4;
/// Files that are sent at the same time.
const DOWNLOADS_MAX: usize = 16;

/// Offers files, and knows its own offers again. Clones are the same.
#[derive(Clone)]
pub struct Downloads(Arc<Offers>);

struct Offers {
    base: String,
    good_for: Duration,
    key: hmac::Key,
}

impl Downloads {
    /// Files under `base`, such as `https://authz.example.com:50051`; each URL is good for `good_for`.
    ///
    /// # Errors
    /// When the system has no randomness for the key.
    pub fn new(base: &str, good_for: Duration) -> Result<Downloads, std::io::Error> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
        Ok(Downloads(Arc::new(Offers { base: base.trim_end_matches('/').to_owned(), good_for, key })))
    }

    /// The file of all sets at a revision.
    pub(super) fn offer(&self, revision: Revision, now: SystemTime) -> wire::File {
        let until = seconds(now).saturating_add(self.0.good_for.as_secs());
        let name = format!("permission-sets-{revision}{EXTENSION}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0.key, signed(revision, until).as_bytes()));
        let base = &self.0.base;
        let url = format!("{base}{PATH}{revision}{EXTENSION}?until={until}&signature={signature}");
        wire::File { name, url }
    }

    /// The revision that a path and a query were signed for.
    fn accept(&self, path: &str, query: &str, now: SystemTime) -> Option<Revision> {
        let revision = path.strip_prefix(PATH)?.strip_suffix(EXTENSION)?;
        let revision = Revision(revision.parse().ok()?);
        let (until, signature) = query.strip_prefix("until=")?.split_once("&signature=")?;
        let until: u64 = until.parse().ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        // Compares in constant time.
        hmac::verify(&self.0.key, signed(revision, until).as_bytes(), &signature).ok()?;
        (seconds(now) < until).then_some(revision)
    }
}

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloads").field("base", &self.0.base).finish_non_exhaustive()
    }
}

impl PartialEq for Downloads {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Downloads {}

fn signed(revision: Revision, until: u64) -> String {
    format!("GET {PATH}{revision}{EXTENSION} until {until}")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Puts the files before a service; everything else goes through untouched.
#[derive(Clone)]
pub struct DownloadLayer {
    authorizer: Arc<Authorizer>,
    downloads: Downloads,
    places: Arc<Semaphore>,
    idle_max: Duration,
}

impl DownloadLayer {
    /// Serves what `downloads` offers. A client that takes nothing for `idle_max` is left.
    #[must_use]
    pub fn new(authorizer: Arc<Authorizer>, downloads: Downloads, idle_max: Duration) -> DownloadLayer {
        DownloadLayer { authorizer, downloads, places: Arc::new(Semaphore::new(DOWNLOADS_MAX)), idle_max }
    }

    fn answer(&self, request: &Request<Body>) -> Response<Body> {
        if request.method() != Method::GET {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "expected GET");
        }
        let query = request.uri().query().unwrap_or_default();
        let Some(revision) = self.downloads.accept(request.uri().path(), query, SystemTime::now()) else {
            return refusal(
                StatusCode::FORBIDDEN,
                "the URL is not good, or no longer: call DownloadPermissionSets again",
            );
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many downloads at once: try again later");
        };
        let (outlet, chunks) = Outlet::new(CHUNKS_AHEAD, self.idle_max);
        // The call that offered the file was judged.
        let caller = Caller::on_behalf_of(&Caller::named("download"));
        let mut call = Call { caller, ..Call::new("download") };
        let cancel = CancelOnDrop::of(&mut call);
        let authorizer = Arc::clone(&self.authorizer);
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            write(&authorizer, &call, revision, outlet)
        });
        let lines = streamed(chunks, work, Some(cancel), None).map_ok(Frame::data);
        let mut response = Response::new(Body::new(StreamBody::new(lines)));
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn refusal(code: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::new(format!("{message}\n")));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// See [`DownloadLayer`].
#[derive(Clone)]
pub struct Download<S> {
    files: DownloadLayer,
    inner: S,
}

impl<S> Layer<S> for DownloadLayer {
    type Service = Download<S>;
    fn layer(&self, inner: S) -> Download<S> {
        Download { files: self.clone(), inner }
    }
}

impl<S> Service<Request<Body>> for Download<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !request.uri().path().starts_with(PATH) {
            return Either::Left(self.inner.call(request));
        }
        let response = self.files.answer(&request);
        Either::Right(Box::pin(std::future::ready(Ok(response))))
    }
}

/// Reads the sets and writes their lines. A file that cannot be finished is broken off, never ended as if it were whole.
fn write(authorizer: &Authorizer, call: &Call, revision: Revision, outlet: Outlet<Bytes>) -> Result<(), Status> {
    let mut to = Writer { outlet, waiting: Vec::new() };
    let at = ZedToken { instance: authorizer.instance(), revision };
    let request = LookupSetsRequest { at: Some(at), ..LookupSetsRequest::default() };
    let written = authorizer.lookup_permission_sets(call, &request, &mut |set, child, _| {
        to.line(&json_of(change(at, SetOperation::Added, set, child)))
    });
    if written.is_ok() {
        let _told_at_the_end = to.flush();
    }
    let ended = to.outlet.ended(written.map(drop).map_err(|error| status(&error)));
    if let Err(failed) = &ended
        && failed.code() != Code::Cancelled
    {
        tracing::warn!(revision = revision.0, error = failed.message(), "a download was broken off");
    }
    ended
}

struct Writer {
    outlet: Outlet<Bytes>,
    waiting: Vec<u8>,
}

impl Writer {
    fn line(&mut self, value: &Value) -> ControlFlow<()> {
        self.waiting.extend_from_slice(value.to_string().as_bytes());
        self.waiting.push(b'\n');
        if self.waiting.len() < CHUNK_BYTES { ControlFlow::Continue(()) } else { self.flush() }
    }

    fn flush(&mut self) -> ControlFlow<()> {
        self.outlet.send(Bytes::from(std::mem::take(&mut self.waiting)))
    }
}

/// A change as the JSON of its message.
fn json_of(change: wire::PermissionSetChange) -> Value {
    let mut line = Map::new();
    line.insert("atRevision".to_owned(), json!({ "token": change.at_revision.unwrap_or_default().token }));
    line.insert("operation".to_owned(), json!(SetOperation::Added.as_str_name()));
    line.insert("parentSet".to_owned(), set_json(change.parent_set.unwrap_or_default()));
    match change.child {
        Some(Child::ChildSet(set)) => line.insert("childSet".to_owned(), set_json(set)),
        Some(Child::ChildMember(member)) => {
            let mut json = json!({ "objectType": member.object_type, "objectId": member.object_id });
            if !member.optional_permission_or_relation.is_empty() {
                json["optionalPermissionOrRelation"] = json!(member.optional_permission_or_relation);
            }
            line.insert("childMember".to_owned(), json)
        }
        None => None,
    };
    Value::Object(line)
}

fn set_json(set: wire::SetReference) -> Value {
    json!({
        "objectType": set.object_type,
        "objectId": set.object_id,
        "permissionOrRelation": set.permission_or_relation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_good_for_its_own_file_until_it_ends_and_with_its_own_key_only() {
        let downloads = Downloads::new("http://host:1/", Duration::from_secs(60)).ok();
        let other = Downloads::new("http://host:1/", Duration::from_secs(60)).ok();
        let (Some(downloads), Some(other)) = (downloads, other) else { unreachable!("the system has randomness") };
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let file = downloads.offer(Revision(7), now);
        assert_eq!(file.name, "permission-sets-7.ndjson");
        let url = file.url.strip_prefix("http://host:1").and_then(|url| url.split_once('?'));
        let Some((path, query)) = url else { unreachable!("the URL has a query") };
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(downloads.accept(path, query, at(59)), Some(Revision(7)));
        assert_eq!(downloads.accept(path, query, at(60)), None, "too late");
        assert_eq!(other.accept(path, query, now), None, "another process");
        assert_eq!(downloads.accept(&path.replace('7', "8"), query, now), None, "another revision");
        let longer = query.replace("until=1000060", "until=1000061");
        assert_ne!(longer, query);
        assert_eq!(downloads.accept(path, &longer, now), None, "a later end");
        assert_eq!(downloads.accept(path, "", now), None, "no signature");
        assert!(!format!("{downloads:?}").contains("key"), "no secret is printed");
    }
}
