//! Messages between their JSON text, their dynamic form and their bytes.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::status;

/// As the mapping of proto3 has it: names in lowerCamelCase, and a name that no field has is refused. A question whose
/// condition was misspelled must not be answered as if it had none.
const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(true);
/// Fields that are zero or empty are written, so that clients find them.
pub(crate) const WRITE: SerializeOptions = SerializeOptions::new().skip_default_fields(false);

/// Reads a message from JSON.
pub(super) fn parse(descriptor: &MessageDescriptor, text: &[u8]) -> Result<DynamicMessage, Status> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize_with_options(descriptor.clone(), &mut json, &READ)
        .and_then(|message| json.end().map(|()| message));
    message.map_err(|error| status::malformed(&format!("not a `{}`: {error}", descriptor.full_name())))
}

/// Writes a message as JSON, behind `prefix` and before `suffix`.
pub(super) fn write(message: &DynamicMessage, prefix: &str, suffix: &str) -> Result<Vec<u8>, Status> {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(prefix.as_bytes());
    let mut json = serde_json::Serializer::new(&mut text);
    message.serialize_with_options(&mut json, &WRITE).map_err(|error| {
        tracing::warn!(%error, "an answer has no form in JSON");
        Status::internal(format!("the answer has no form in JSON: {error}"))
    })?;
    text.extend_from_slice(suffix.as_bytes());
    Ok(text)
}

/// Writes a message as gRPC sends it.
pub(super) fn framed(message: &DynamicMessage) -> Result<Bytes, Status> {
    let bytes = message.encoded_len();
    let length = u32::try_from(bytes).map_err(|_| status::too_large(u32::MAX as usize))?;
    let mut frame = BytesMut::with_capacity(5 + bytes);
    // Not compressed.
    frame.put_u8(0);
    frame.put_u32(length);
    message.encode_raw(&mut frame);
    Ok(frame.freeze())
}

/// A gRPC codec for answers that are known by their descriptor only. Requests are framed by [`framed`], since what is wrong
/// with them is to reach the service as it is.
pub(super) struct JsonCodec {
    output: MessageDescriptor,
}

impl JsonCodec {
    /// A codec for calls that answer with `output`.
    pub(super) fn new(output: MessageDescriptor) -> JsonCodec {
        JsonCodec { output }
    }
}

impl Codec for JsonCodec {
    type Encode = ();
    type Decode = DynamicMessage;
    type Encoder = Nothing;
    type Decoder = Decode;

    fn encoder(&mut self) -> Nothing {
        Nothing
    }

    fn decoder(&mut self) -> Decode {
        Decode(self.output.clone())
    }
}

/// See [`JsonCodec`].
pub(super) struct Nothing;

impl Encoder for Nothing {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

/// See [`JsonCodec`].
pub(super) struct Decode(MessageDescriptor);

impl Decoder for Decode {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), from);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
