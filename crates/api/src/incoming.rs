//! What a request says besides its message: who calls, until when, under which request id.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Extensions;
use prost_types::Struct;
use serde_json::Value;
use stonetown_authorizer::justification::{REASON, TICKET};
use stonetown_authorizer::{BulkMode, Call, Caller, Chain, Given, Notes};
use stonetown_tuple::{StoreId, SubjectRef};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::convert::{At, FieldError, context};
use crate::status;
use crate::trailers::Cost;

/// Chosen by a client so that a write that is sent again is not done again.
const WRITE_ID: &str = "stonetown-request-id";
/// Names those who act for the subject of a check.
const CHAIN: &str = "stonetown-chain";
/// How an import treats relationships that exist already: `create`, as the interface has it, or `touch`.
const IMPORT_MODE: &str = "stonetown-import-mode";
/// Say why relationships are changed, and where that was asked for: kept with the transaction under these names. As the metadata of
/// gRPC has only ASCII, other texts come in UTF-8 under the second name.
const WHY: [(&str, &str, &str); 2] =
    [("stonetown-reason", "stonetown-reason-bin", REASON), ("stonetown-ticket", "stonetown-ticket-bin", TICKET)];
/// Longest id of a write, in bytes.
const WRITE_ID_BYTES_MAX: usize = 128;

/// The longest that a call may take, whatever its caller says. Whoever bounds calls puts it among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationMax(pub Duration);

/// The address that a request came from. Whoever accepts connections puts it among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerIp(pub IpAddr);

/// A request without its message.
pub(crate) struct Incoming {
    /// Who calls and until when.
    pub(crate) call: Call,
    /// Where the cost of the call is noted.
    pub(crate) cost: Arc<Cost>,
}

impl Incoming {
    /// Takes a request apart. Whoever authenticates calls has put a [`Caller`] among its extensions.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when there is none, `INVALID_ARGUMENT` for a chain, which only checks take.
    pub(crate) fn open<T>(request: Request<T>) -> Result<(Incoming, MetadataMap, T), Status> {
        if request.metadata().contains_key(CHAIN) {
            return Err(FieldError::new("only checks take a chain of those who act for another").within(CHAIN).into());
        }
        Incoming::parts(request)
    }

    /// The same for a check, whose metadata may name those who act for its subject: `agent:7, agent:9`, the nearest to the
    /// subject first.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when nobody calls, `INVALID_ARGUMENT` for what is no chain.
    pub(crate) fn open_check<T>(request: Request<T>) -> Result<(Incoming, MetadataMap, T), Status> {
        let named = chain(request.metadata())?;
        let (mut incoming, metadata, message) = Incoming::parts(request)?;
        incoming.call.chain = named;
        Ok((incoming, metadata, message))
    }

    fn parts<T>(request: Request<T>) -> Result<(Incoming, MetadataMap, T), Status> {
        let (metadata, mut extensions, message) = request.into_parts();
        let call = call(&metadata, &mut extensions)?;
        let cost = extensions.remove::<Arc<Cost>>().unwrap_or_default();
        Ok((Incoming { call, cost }, metadata, message))
    }

    /// Ends the work of this call when what is returned is dropped: when the client has left.
    pub(crate) fn cancel_on_drop(&mut self) -> CancelOnDrop {
        CancelOnDrop::of(&mut self.call)
    }
}

/// Sets a call's cancel flag when it goes.
pub(crate) struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    /// The guard of a call.
    pub(crate) fn of(call: &mut Call) -> CancelOnDrop {
        CancelOnDrop(Arc::clone(call.cancelled.get_or_insert_default()))
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn call(metadata: &MetadataMap, extensions: &mut Extensions) -> Result<Call, Status> {
    let caller = extensions.remove::<Caller>().ok_or_else(status::nobody)?;
    let asked = metadata.get("grpc-timeout").and_then(|text| timeout(text.to_str().ok()?));
    let max = extensions.remove::<DurationMax>().map(|max| max.0);
    let shorter = asked.into_iter().chain(max).min();
    let deadline = shorter.and_then(|timeout| Instant::now().checked_add(timeout));
    let notes = extensions.remove::<Arc<Notes>>();
    // Whoever authenticates calls has looked up the store that this one is in.
    let store = extensions.remove::<StoreId>().unwrap_or(StoreId::DEFAULT);
    let given = Given::Call { peer_ip: extensions.remove::<PeerIp>().map(|peer| peer.0) };
    Ok(Call { caller, store, chain: Chain::default(), given, deadline, cancelled: None, notes })
}

/// Those who act for the subject of a check.
fn chain(metadata: &MetadataMap) -> Result<Chain, Status> {
    let mut actors = Vec::new();
    for value in metadata.get_all(CHAIN) {
        let text = value.to_str().map_err(|_| FieldError::new("has characters that no name has").within(CHAIN))?;
        for name in text.split(',') {
            let actor = name.trim().parse::<SubjectRef>();
            actors.push(actor.map_err(|error| FieldError::new(error.to_string()).within(CHAIN))?);
        }
    }
    Chain::new(actors).map_err(|error| status::status(&error))
}

/// The timeout of a gRPC call, such as `100m`: up to eight digits and a unit. What is malformed is no timeout.
fn timeout(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let digits = &text[..unit_at];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The id under which a write may be sent again.
pub(crate) fn write_id(metadata: &MetadataMap) -> Result<Option<String>, FieldError> {
    let Some(id) = metadata.get(WRITE_ID) else { return Ok(None) };
    match id.to_str() {
        Ok(id) if !id.is_empty() && id.len() <= WRITE_ID_BYTES_MAX => Ok(Some(id.to_owned())),
        _ => Err(FieldError::new("expected 1 to 128 printable characters").within(WRITE_ID)),
    }
}

/// What is kept with a transaction, as JSON: what the request's own field has, and what the call's metadata says of why.
pub(crate) fn transaction_metadata(
    metadata: &MetadataMap,
    field: Option<Struct>,
) -> Result<Option<String>, FieldError> {
    let mut kept =
        field.map(|field| context::from_wire(Some(field))).transpose().at("optional_transaction_metadata")?;
    for (header, binary, name) in WHY {
        let Some(said) = said(metadata, header, binary)? else { continue };
        let kept = kept.get_or_insert_default();
        if kept.get(name).is_some_and(|other| *other != said) {
            return Err(FieldError::new(format!("`{name}` of the request is another")).within(header));
        }
        kept.insert(name.to_owned(), said.into());
    }
    Ok(kept.map(|kept| Value::Object(kept).to_string()))
}

fn said(metadata: &MetadataMap, header: &str, binary: &str) -> Result<Option<String>, FieldError> {
    let wrong = |name| FieldError::new("expected printable ASCII, or UTF-8 in the form that ends in -bin").within(name);
    let bytes = match (metadata.get(header), metadata.get_bin(binary)) {
        (Some(text), None) => return Ok(Some(text.to_str().map_err(|_| wrong(header))?.to_owned())),
        (None, Some(bytes)) => bytes.to_bytes().map_err(|_| wrong(binary))?,
        (Some(_), Some(_)) => return Err(FieldError::new("is said in two forms").within(header)),
        (None, None) => return Ok(None),
    };
    String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| wrong(binary))
}

/// What an import does with relationships that exist already.
pub(crate) fn import_mode(metadata: &MetadataMap) -> Result<BulkMode, FieldError> {
    match metadata.get(IMPORT_MODE).map(|mode| mode.to_str()) {
        None | Some(Ok("create")) => Ok(BulkMode::Create),
        Some(Ok("touch")) => Ok(BulkMode::Touch),
        Some(_) => Err(FieldError::new("expected create or touch").within(IMPORT_MODE)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn why_is_said_by_the_request_or_by_the_metadata_of_the_call() {
        let field = |reason: &str| {
            let object = serde_json::json!({ "stonetown.reason": reason, "more": 1 });
            Some(context::to_wire(object.as_object().unwrap().clone()))
        };
        let mut headers = MetadataMap::new();
        assert_eq!(transaction_metadata(&headers, None).unwrap(), None);
        let kept = |text: Option<String>| serde_json::from_str::<Value>(&text.unwrap()).unwrap();
        assert_eq!(kept(transaction_metadata(&headers, field("a")).unwrap())["stonetown.reason"], "a");
        headers.insert("stonetown-reason", "leaves us".parse().unwrap());
        headers.insert_bin("stonetown-ticket-bin", tonic::metadata::MetadataValue::from_bytes("Prüfung 7".as_bytes()));
        let both = kept(transaction_metadata(&headers, None).unwrap());
        assert_eq!(both, serde_json::json!({ "stonetown.reason": "leaves us", "stonetown.ticket": "Prüfung 7" }));
        let both = kept(transaction_metadata(&headers, field("leaves us")).unwrap());
        assert_eq!((&both["more"], &both["stonetown.ticket"]), (&1.into(), &"Prüfung 7".into()));
        // Two answers to one question are none.
        assert!(transaction_metadata(&headers, field("another")).is_err());
        headers.insert("stonetown-ticket", "8".parse().unwrap());
        assert!(transaction_metadata(&headers, None).is_err());
        let mut headers = MetadataMap::new();
        headers.insert_bin("stonetown-reason-bin", tonic::metadata::MetadataValue::from_bytes(&[0xff]));
        assert!(transaction_metadata(&headers, None).is_err());
    }

    #[test]
    fn timeouts_have_up_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("250m", Duration::from_millis(250)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(timeout(text), Some(expected), "{text}");
        }
        for text in ["", "S", "5", "5x", "-5S", "+5S", "123456789S", "5µ"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }

    #[test]
    fn a_call_without_a_caller_is_refused_and_one_with_a_timeout_has_a_deadline() {
        let refused = Incoming::open(Request::new(())).err().map(|status| status.code());
        assert_eq!(refused, Some(tonic::Code::Unauthenticated));

        let mut request = Request::new(());
        request.extensions_mut().insert(Caller::named("key-1"));
        request.metadata_mut().insert("grpc-timeout", "5S".parse().unwrap());
        let (incoming, ..) = Incoming::open(request).unwrap();
        let left = incoming.call.deadline.unwrap().duration_since(Instant::now());
        assert!(left > Duration::from_secs(4) && left <= Duration::from_secs(5), "{left:?}");
    }

    #[test]
    fn the_shorter_of_the_callers_and_the_servers_bound_is_the_deadline() {
        for (asked, max, expected) in [(None, 5, 5), (Some("9S"), 5, 5), (Some("3S"), 5, 3)] {
            let mut request = Request::new(());
            request.extensions_mut().insert(Caller::named("key-1"));
            request.extensions_mut().insert(DurationMax(Duration::from_secs(max)));
            if let Some(asked) = asked {
                request.metadata_mut().insert("grpc-timeout", asked.parse().unwrap());
            }
            let (incoming, ..) = Incoming::open(request).unwrap();
            let left = incoming.call.deadline.unwrap().duration_since(Instant::now());
            assert!(left.as_secs_f64() > (expected - 1) as f64 && left <= Duration::from_secs(expected), "{left:?}");
        }
    }

    #[test]
    fn a_call_is_cancelled_when_its_guard_goes() {
        let mut incoming = Incoming { call: Call::new("key-1"), cost: Arc::default() };
        let guard = incoming.cancel_on_drop();
        let flag = incoming.call.cancelled.clone().unwrap();
        assert!(!flag.load(Ordering::Relaxed));
        drop(guard);
        assert!(flag.load(Ordering::Relaxed));
    }

    #[test]
    fn an_import_creates_unless_it_is_told_to_touch() {
        let mut metadata = MetadataMap::new();
        assert_eq!(import_mode(&metadata), Ok(BulkMode::Create));
        metadata.insert(IMPORT_MODE, "touch".parse().unwrap());
        assert_eq!(import_mode(&metadata), Ok(BulkMode::Touch));
        metadata.insert(IMPORT_MODE, "delete".parse().unwrap());
        assert!(import_mode(&metadata).is_err());
    }

    #[test]
    fn a_write_id_has_a_bounded_length() {
        let mut metadata = MetadataMap::new();
        assert_eq!(write_id(&metadata), Ok(None));
        metadata.insert(WRITE_ID, "order-17".parse().unwrap());
        assert_eq!(write_id(&metadata), Ok(Some("order-17".to_owned())));
        metadata.insert(WRITE_ID, "x".repeat(129).parse().unwrap());
        assert!(write_id(&metadata).is_err());
    }
}
