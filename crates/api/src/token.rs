//! The text of zedtokens: base64 of the message that SpiceDB's tokens are, so that tools which take those apart read these
//! too. Tokens are bound to the instance that made them. Its id is longer than the eight characters that the shape has room
//! for: they hold its beginning, and a field of our own the whole.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use stonetown_tuple::{InstanceId, Revision, ZedToken};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::convert::FieldError;
use crate::proto::authzed::api::v1 as wire;

/// Longest text that is looked at, in bytes. Own tokens have less than 100.
const TEXT_BYTES_MAX: usize = 4096;

/// Stands for every instance but one's own.
const FOREIGN: InstanceId = InstanceId(0);

#[derive(Clone, PartialEq, Message)]
struct DecodedZedToken {
    /// The oldest tokens of SpiceDB.
    #[prost(message, optional, tag = "2")]
    deprecated_v1_zookie: Option<Zookie>,
    #[prost(message, optional, tag = "3")]
    v1: Option<V1>,
}

#[derive(Clone, PartialEq, Message)]
struct Zookie {
    #[prost(uint64, tag = "1")]
    revision: u64,
}

#[derive(Clone, PartialEq, Message)]
struct V1 {
    #[prost(string, tag = "1")]
    revision: String,
    #[prost(string, tag = "2")]
    datastore_unique_id_prefix: String,
    #[prost(bytes = "vec", tag = "3")]
    schema_hash: Vec<u8>,
    /// Only in tokens of this server, as the next.
    #[prost(fixed64, optional, tag = "1000")]
    instance: Option<u64>,
    /// Tells a token that was damaged on its way. It is no signature: a token grants nothing.
    #[prost(fixed64, optional, tag = "1001")]
    checksum: Option<u64>,
}

/// The token for a client.
pub(crate) fn encode(token: ZedToken) -> wire::ZedToken {
    thread_local! {
        static LAST: RefCell<Option<(ZedToken, String)>> = const { RefCell::new(None) };
    }
    // All results of a stream come with the same one, and so do most answers between two writes.
    let token = LAST.with_borrow_mut(|last| match last {
        Some((known, text)) if *known == token => text.clone(),
        _ => last.insert((token, text(token))).1.clone(),
    });
    wire::ZedToken { token }
}

fn text(token: ZedToken) -> String {
    let v1 = V1 {
        revision: token.revision.to_string(),
        datastore_unique_id_prefix: prefix(token.instance),
        schema_hash: Vec::new(),
        instance: Some(token.instance.0),
        checksum: Some(checksum(token)),
    };
    let decoded = DecodedZedToken { deprecated_v1_zookie: None, v1: Some(v1) };
    STANDARD.encode(decoded.encode_to_vec())
}

/// Reads a client's token. One of SpiceDB is a token, of an instance that is never one's own.
///
/// # Errors
/// When the text is no token at all.
pub(crate) fn decode(text: &str) -> Result<ZedToken, FieldError> {
    let refused = || FieldError::new("is not a zedtoken: expected one that a server returned").within("token");
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(refused());
    }
    let bytes = STANDARD.decode(text).map_err(|_| refused())?;
    let decoded = DecodedZedToken::decode(&*bytes).map_err(|_| refused())?;
    // A damaged tag would hide a field, and make a token of one's own look foreign.
    if decoded.encode_to_vec() != bytes {
        return Err(refused());
    }
    match (decoded.v1, decoded.deprecated_v1_zookie) {
        (Some(v1), _) => own(&v1).or_else(|| foreign(&v1)).ok_or_else(refused),
        (None, Some(zookie)) => Ok(ZedToken { instance: FOREIGN, revision: Revision(zookie.revision) }),
        (None, None) => Err(refused()),
    }
}

/// A token that says which of our instances made it. It must be exactly what that instance wrote.
fn own(v1: &V1) -> Option<ZedToken> {
    let token = ZedToken { instance: InstanceId(v1.instance?), revision: Revision(v1.revision.parse().ok()?) };
    (v1.checksum == Some(checksum(token)) && v1.datastore_unique_id_prefix == prefix(token.instance)).then_some(token)
}

/// A token of SpiceDB. What its revision means only its datastore knows.
fn foreign(v1: &V1) -> Option<ZedToken> {
    let plain = v1.instance.is_none() && v1.checksum.is_none() && !v1.revision.is_empty();
    plain.then_some(ZedToken { instance: FOREIGN, revision: Revision(0) })
}

fn checksum(token: ZedToken) -> u64 {
    xxh3_64_with_seed(token.revision.to_string().as_bytes(), token.instance.0)
}

fn prefix(instance: InstanceId) -> String {
    format!("{:08x}", instance.0 >> 32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TOKEN: ZedToken = ZedToken { instance: InstanceId(0xfedc_ba98_0000_0001), revision: Revision(4711) };

    #[test]
    fn tokens_come_back_as_they_were_given_out() {
        for token in [TOKEN, ZedToken { instance: InstanceId(u64::MAX), revision: Revision(u64::MAX) }] {
            assert_eq!(decode(&encode(token).token), Ok(token));
        }
    }

    #[test]
    fn tools_for_spicedbs_tokens_find_the_revision_and_the_prefix() {
        let bytes = STANDARD.decode(encode(TOKEN).token).unwrap();
        let decoded = DecodedZedToken::decode(&*bytes).unwrap().v1.unwrap();
        assert_eq!((decoded.revision.as_str(), decoded.datastore_unique_id_prefix.as_str()), ("4711", "fedcba98"));
    }

    #[test]
    fn tokens_of_instances_that_share_a_prefix_are_told_apart() {
        let other = ZedToken { instance: InstanceId(0xfedc_ba98_0000_0002), ..TOKEN };
        assert_ne!(decode(&encode(other).token).unwrap().instance, TOKEN.instance);
    }

    #[test]
    fn tokens_of_spicedb_are_foreign() {
        let text = |token: &DecodedZedToken| STANDARD.encode(token.encode_to_vec());
        let v1 = |revision: &str| DecodedZedToken {
            deprecated_v1_zookie: None,
            v1: Some(V1 {
                revision: revision.to_owned(),
                datastore_unique_id_prefix: "fedcba98".to_owned(),
                schema_hash: vec![1, 2],
                instance: None,
                checksum: None,
            }),
        };
        for revision in ["4711", "1693540940373045727.0000000001", "CAESAggB"] {
            assert_eq!(decode(&text(&v1(revision))).unwrap().instance, FOREIGN);
        }
        let zookie = DecodedZedToken { deprecated_v1_zookie: Some(Zookie { revision: 3 }), v1: None };
        assert_eq!(decode(&text(&zookie)).unwrap(), ZedToken { instance: FOREIGN, revision: Revision(3) });
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "not-a-token", "AAAA", "GgA=", &"A".repeat(TEXT_BYTES_MAX + 4)] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_with_a_changed_byte_is_refused() {
        let bytes = STANDARD.decode(encode(TOKEN).token).unwrap();
        for position in 0..bytes.len() {
            for flip in 1..=255 {
                let mut changed = bytes.clone();
                changed[position] ^= flip;
                assert!(decode(&STANDARD.encode(&changed)).is_err(), "byte {position}, flip {flip}");
            }
        }
    }
}
