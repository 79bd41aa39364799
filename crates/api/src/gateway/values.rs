//! Finds the JSON objects in a body that arrives in pieces: one, or any number, either one after the other (newlines between
//! them are customary) or as an array. Only where an object ends is looked for here; whether it is JSON its reader says.

use bytes::{Buf, Bytes, BytesMut};
use tonic::Status;

use crate::status;

/// Levels of objects and arrays in one value. Deeper ones could not be decoded from their binary form, in which a level of a
/// caveat's context takes three.
pub(super) const DEPTH_MAX: usize = 32;

/// See the module.
pub(super) struct Values {
    /// What has arrived and was not given out; the value that is being read begins at its beginning.
    buffer: BytesMut,
    /// Bytes of the buffer that were looked at.
    seen: usize,
    place: Place,
    inside: Inside,
    many: bool,
    bytes_max: usize,
}

/// Where in the body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before anything but white space.
    Start,
    /// After a value that stands by itself.
    Between,
    /// After the bracket of an array.
    ArrayStart,
    /// After a value of an array.
    ArrayBetween,
    /// After a comma of an array.
    ArrayComma,
    /// After everything.
    End,
}

/// Where in a value the next byte stands.
#[derive(Debug, Clone, Copy, Default)]
struct Inside {
    depth: usize,
    string: bool,
    escape: bool,
}

impl Values {
    /// Of one value, or of `many`, each of at most `bytes_max` bytes.
    pub(super) fn new(many: bool, bytes_max: usize) -> Values {
        Values { buffer: BytesMut::new(), seen: 0, place: Place::Start, inside: Inside::default(), many, bytes_max }
    }

    /// Adds what arrived. To be called only when [`Values::next`] has no more, so that what is kept stays bounded.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next value that has arrived whole.
    ///
    /// # Errors
    /// When something stands where none may, or a value is too large or too deep.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Status> {
        while let Some(&byte) = self.buffer.get(self.seen) {
            self.seen += 1;
            if self.seen > self.bytes_max {
                return Err(status::too_large(self.bytes_max));
            }
            if self.inside.depth == 0 {
                self.outside(byte)?;
                if self.inside.depth > 0 {
                    // A value begins: what stood before it is of no more use.
                    self.buffer.advance(self.seen - 1);
                    self.seen = 1;
                }
            } else if self.inside.step(byte)? {
                let value = self.buffer.split_to(self.seen).freeze();
                self.seen = 0;
                return Ok(Some(value));
            }
        }
        if self.inside.depth == 0 {
            self.buffer.clear();
            self.seen = 0;
        }
        Ok(None)
    }

    /// To be called when everything has arrived. Whether there was nothing at all.
    ///
    /// # Errors
    /// When a value, or the array of them, has no end.
    pub(super) fn end(&self) -> Result<bool, Status> {
        let whole = matches!(self.place, Place::Start | Place::Between | Place::End) && self.inside.depth == 0;
        if whole { Ok(self.place == Place::Start) } else { Err(status::malformed("the body ends within a value")) }
    }

    /// A byte between values.
    fn outside(&mut self, byte: u8) -> Result<(), Status> {
        use Place::{ArrayBetween, ArrayComma, ArrayStart, Between, End, Start};
        self.place = match (byte, self.place) {
            (b' ' | b'\t' | b'\r' | b'\n', place) => place,
            (b'{', Start | Between) => {
                self.inside.depth = 1;
                if self.many { Between } else { End }
            }
            (b'{', ArrayStart | ArrayComma) => {
                self.inside.depth = 1;
                ArrayBetween
            }
            (b'[', Start) if self.many => ArrayStart,
            (b',', ArrayBetween) => ArrayComma,
            (b']', ArrayStart | ArrayBetween) => End,
            (byte, End) => return Err(unexpected(byte, "the end")),
            (byte, ArrayBetween) => return Err(unexpected(byte, "`,` or `]`")),
            (byte, _) => return Err(unexpected(byte, "an object")),
        };
        Ok(())
    }
}

impl Inside {
    /// A byte of a value; whether it is its last.
    fn step(&mut self, byte: u8) -> Result<bool, Status> {
        if self.string {
            match byte {
                _ if self.escape => self.escape = false,
                b'\\' => self.escape = true,
                b'"' => self.string = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        if self.depth > DEPTH_MAX {
            return Err(status::malformed(&format!("a value is nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(self.depth == 0)
    }
}

fn unexpected(byte: u8, expected: &str) -> Status {
    status::malformed(&format!("not JSON as expected here: `{}` where {expected} belongs", byte.escape_ascii()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tonic::Code;

    /// The values of a body that arrives in pieces of `step` bytes, and whether it was empty.
    fn values(body: &str, many: bool, step: usize) -> Result<(Vec<String>, bool), Status> {
        let mut values = Values::new(many, 40);
        let mut found = Vec::new();
        for piece in body.as_bytes().chunks(step) {
            values.push(piece);
            while let Some(value) = values.next()? {
                found.push(String::from_utf8(value.to_vec()).unwrap());
            }
        }
        Ok((found, values.end()?))
    }

    #[test]
    fn objects_are_found_however_the_body_is_cut() {
        for step in 1..12 {
            let one = values(" {\"a\": \"}\\\"]\", \"b\": [{}]}\n ", false, step).unwrap();
            assert_eq!(one, (vec!["{\"a\": \"}\\\"]\", \"b\": [{}]}".to_owned()], false));
            for body in
                ["{\"n\":1}\n{\"n\":2}\n", "{\"n\":1}{\"n\":2}", "[{\"n\":1},{\"n\":2}]", " [ {\"n\":1} , {\"n\":2} ] "]
            {
                let (found, empty) = values(body, true, step).unwrap();
                assert_eq!((found.join(";").as_str(), empty), ("{\"n\":1};{\"n\":2}", false), "{body}");
            }
            for (body, empty) in [("", true), ("  \n", true), ("[]", false), ("[ ]\n", false)] {
                assert_eq!(values(body, true, step).unwrap(), (vec![], empty), "{body}");
            }
        }
    }

    #[test]
    fn what_is_no_object_or_has_no_end_is_refused() {
        for (body, many) in [
            ("[{}]", false),
            ("{}{}", false),
            ("{} x", false),
            ("true", false),
            ("\"{}\"", true),
            ("{", false),
            ("{\"a\":\"}", true),
            ("[{}", true),
            ("[{},", true),
            ("[{},]", true),
            ("[,{}]", true),
            ("[{} {}]", true),
            ("[{}]{}", true),
            ("{},{}", true),
            ("]", true),
            ("}", true),
            ("{\"a\":\"0123456789012345678901234567890123456789\"}", true),
        ] {
            for step in [1, 3, 100] {
                let code = values(body, many, step).unwrap_err().code();
                let expected = if body.len() > 40 { Code::OutOfRange } else { Code::InvalidArgument };
                assert_eq!(code, expected, "{body}");
            }
        }
    }

    #[test]
    fn sizes_and_depths_are_fine_up_to_the_limit() {
        let exactly = format!("{{\"a\":\"xx{}\"}}", "y".repeat(40 - 10));
        assert_eq!(exactly.len(), 40);
        assert!(values(&exactly, false, 7).is_ok());
        assert_eq!(values(&exactly.replace("xx", "xxx"), false, 7).unwrap_err().code(), Code::OutOfRange);
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let find = |body: &str| {
            let mut values = Values::new(false, 1000);
            values.push(body.as_bytes());
            values.next().map(|value| value.is_some())
        };
        assert!(find(&nested(DEPTH_MAX)).unwrap());
        assert_eq!(find(&nested(DEPTH_MAX + 1)).unwrap_err().code(), Code::InvalidArgument);
    }
}
