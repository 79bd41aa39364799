//! Avro's object container files: a header of metadata, then blocks of records with a marker after each.
//!
//! Strict where libraries are lenient: a block holds exactly as many records as it says, in exactly as many bytes; a file ends
//! after a block or not at all; each compressed block carries a checksum. So a damaged file is an error, never a shorter one.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use anyhow::{Context, bail, ensure};

/// What a file begins with.
const MAGIC: &[u8] = b"Obj\x01";
/// Bytes of a marker.
pub(super) const MARKER_BYTES: usize = 16;
/// Largest key or value of a header, in bytes.
const METADATA_BYTES_MAX: usize = 16 << 20;
/// Most entries of a header.
const METADATA_ENTRIES_MAX: usize = 1_000;
/// Largest block, compressed or not, in bytes.
const BLOCK_BYTES_MAX: usize = 256 << 20;

/// The header of a file.
#[derive(Debug)]
pub(super) struct Header {
    /// Named values.
    pub(super) metadata: BTreeMap<String, Vec<u8>>,
    /// Where in the file each value begins.
    pub(super) offsets: BTreeMap<String, u64>,
    /// What stands after each block.
    pub(super) marker: [u8; MARKER_BYTES],
}

/// Some records.
#[derive(Debug)]
pub(super) struct Block {
    /// How many.
    pub(super) count: u64,
    /// Their bytes.
    pub(super) data: Vec<u8>,
}

/// The blocks of a file, in order.
pub(super) struct Blocks<R> {
    reader: Counted<R>,
    /// What stands before them.
    pub(super) header: Header,
    is_snappy: bool,
}

impl<R: Read> Blocks<R> {
    /// Reads the header of a file.
    pub(super) fn open(reader: R) -> anyhow::Result<Self> {
        let mut reader = Counted { reader, bytes: 0 };
        let header = Header::read(&mut reader)?;
        let is_snappy = match header.metadata.get("avro.codec").map(Vec::as_slice) {
            Some(b"snappy") => true,
            None | Some(b"null") => false,
            Some(other) => bail!("blocks are compressed with `{}`, not with snappy", String::from_utf8_lossy(other)),
        };
        Ok(Blocks { reader, header, is_snappy })
    }

    /// The next block, `None` at the end of the file.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Block>> {
        let Some(count) = self.reader.long_or_end()? else { return Ok(None) };
        let count =
            u64::try_from(count).ok().filter(|count| *count > 0).context("a block says that it has no records")?;
        let size = self.reader.size(BLOCK_BYTES_MAX, "block")?;
        let stored = self.reader.take(size)?;
        ensure!(self.reader.array::<MARKER_BYTES>()? == self.header.marker, "a block does not end where it says");
        let data = if self.is_snappy { decompress(&stored)? } else { stored };
        Ok(Some(Block { count, data }))
    }
}

impl Header {
    fn read<R: Read>(reader: &mut Counted<R>) -> anyhow::Result<Self> {
        ensure!(reader.array::<4>()? == MAGIC, "it does not begin as an Avro file does");
        let (mut metadata, mut offsets) = (BTreeMap::new(), BTreeMap::new());
        loop {
            let count = reader.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // The size of the entries in bytes, for those who pass over them.
                reader.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                ensure!(metadata.len() < METADATA_ENTRIES_MAX, "its header has too many entries");
                let size = reader.size(METADATA_BYTES_MAX, "key in the header")?;
                let key = String::from_utf8(reader.take(size)?).context("a key in the header is not text")?;
                let size = reader.size(METADATA_BYTES_MAX, "value in the header")?;
                offsets.insert(key.clone(), reader.bytes);
                metadata.insert(key, reader.take(size)?);
            }
        }
        Ok(Header { metadata, offsets, marker: reader.array()? })
    }
}

/// Writes the header of a file whose blocks are compressed.
pub(super) fn write_header(
    out: &mut impl Write,
    metadata: &[(&str, &[u8])],
    marker: &[u8; MARKER_BYTES],
) -> io::Result<()> {
    let mut header = MAGIC.to_vec();
    put_long(&mut header, i64::try_from(metadata.len() + 1).unwrap_or(i64::MAX));
    for (key, value) in metadata.iter().chain([&("avro.codec", &b"snappy"[..])]) {
        put_bytes(&mut header, key.as_bytes());
        put_bytes(&mut header, value);
    }
    put_long(&mut header, 0);
    header.extend_from_slice(marker);
    out.write_all(&header)
}

/// Writes a block.
pub(super) fn write_block(out: &mut impl Write, block: &Block, marker: &[u8; MARKER_BYTES]) -> anyhow::Result<()> {
    let mut stored = snap::raw::Encoder::new().compress_vec(&block.data)?;
    stored.extend_from_slice(&crc32fast::hash(&block.data).to_be_bytes());
    let mut bytes = Vec::with_capacity(stored.len() + 36);
    put_long(&mut bytes, i64::try_from(block.count)?);
    put_bytes(&mut bytes, &stored);
    bytes.extend_from_slice(marker);
    Ok(out.write_all(&bytes)?)
}

fn decompress(stored: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (compressed, checksum) = stored.split_last_chunk::<4>().context("a block is too short for its checksum")?;
    let size = snap::raw::decompress_len(compressed).context("a block cannot be decompressed")?;
    ensure!(size <= BLOCK_BYTES_MAX, "a block of {size} bytes is too large");
    let data = snap::raw::Decoder::new().decompress_vec(compressed).context("a block cannot be decompressed")?;
    ensure!(crc32fast::hash(&data) == u32::from_be_bytes(*checksum), "a block does not fit its checksum");
    Ok(data)
}

/// Appends a number.
pub(super) fn put_long(bytes: &mut Vec<u8>, number: i64) {
    #[allow(clippy::cast_sign_loss)] // zigzag: the sign goes to the lowest bit
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        #[allow(clippy::cast_possible_truncation)] // seven bits at a time
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)] // what is left has seven bits
    bytes.push(rest as u8);
}

/// Appends bytes or a text.
pub(super) fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_long(bytes, i64::try_from(value.len()).unwrap_or(i64::MAX));
    bytes.extend_from_slice(value);
}

/// Reads a number from the beginning of `bytes` and takes it off.
pub(super) fn take_long(bytes: &mut &[u8]) -> anyhow::Result<i64> {
    let mut long = Long::default();
    loop {
        let (byte, rest) = bytes.split_first().context("a record ends too early")?;
        *bytes = rest;
        if let Some(number) = long.add(*byte)? {
            return Ok(number);
        }
    }
}

/// Reads bytes or a text from the beginning of `bytes` and takes them off.
pub(super) fn take_bytes<'b>(bytes: &mut &'b [u8]) -> anyhow::Result<&'b [u8]> {
    let size = usize::try_from(take_long(bytes)?).context("a value of negative size")?;
    let (value, rest) = bytes.split_at_checked(size).context("a record ends too early")?;
    *bytes = rest;
    Ok(value)
}

/// A number that is being read byte by byte.
#[derive(Default)]
struct Long {
    bits: u64,
    shift: u32,
}

impl Long {
    fn add(&mut self, byte: u8) -> anyhow::Result<Option<i64>> {
        ensure!(self.shift < 64 && (self.shift < 63 || byte & 0x7e == 0), "a number is too large");
        self.bits |= u64::from(byte & 0x7f) << self.shift;
        self.shift += 7;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        #[allow(clippy::cast_possible_wrap)] // zigzag: the sign comes from the lowest bit
        let number = (self.bits >> 1) as i64 ^ -((self.bits & 1) as i64);
        Ok(Some(number))
    }
}

/// A reader that knows where it is.
struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Counted<R> {
    fn array<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let mut array = [0; N];
        self.reader.read_exact(&mut array).map_err(too_short)?;
        self.bytes += N as u64;
        Ok(array)
    }

    fn take(&mut self, size: usize) -> anyhow::Result<Vec<u8>> {
        // Grows with what is there, not with what a damaged size promises.
        let mut bytes = Vec::new();
        self.reader.by_ref().take(size as u64).read_to_end(&mut bytes)?;
        ensure!(bytes.len() == size, "it ends too early");
        self.bytes += size as u64;
        Ok(bytes)
    }

    fn size(&mut self, max: usize, what: &str) -> anyhow::Result<usize> {
        let size = usize::try_from(self.long()?).with_context(|| format!("a {what} of negative size"))?;
        ensure!(size <= max, "a {what} of {size} bytes is too large");
        Ok(size)
    }

    fn long(&mut self) -> anyhow::Result<i64> {
        self.long_or_end()?.context("it ends too early")
    }

    /// A number; `None` when there is nothing at all.
    fn long_or_end(&mut self) -> anyhow::Result<Option<i64>> {
        let mut long = Long::default();
        let mut byte = [0];
        loop {
            match self.reader.read_exact(&mut byte) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && long.shift == 0 => return Ok(None),
                read => read.map_err(too_short)?,
            }
            self.bytes += 1;
            if let Some(number) = long.add(byte[0])? {
                return Ok(Some(number));
            }
        }
    }
}

fn too_short(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => anyhow::anyhow!("it ends too early"),
        _ => error.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for number in [0, 1, -1, 63, -64, 64, 8191, -8192, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_long(&mut bytes, number);
            assert_eq!(take_long(&mut &bytes[..]).unwrap(), number);
        }
        // The examples of the specification.
        for (number, expected) in [(0, 0x00), (-1, 0x01), (1, 0x02), (-2, 0x03), (-64, 0x7f)] {
            let mut bytes = Vec::new();
            put_long(&mut bytes, number);
            assert_eq!(bytes, [expected]);
        }
        assert!(take_long(&mut &[0x80; 11][..]).is_err());
        assert!(take_long(&mut &[0x80][..]).is_err());
    }

    /// Sizes that promise much and files that grow much when they are read take no more memory than a block may have.
    #[test]
    fn what_promises_too_much_is_refused_by_its_size() {
        let marker = [7; MARKER_BYTES];
        let file = |data: &[u8]| {
            let mut file = Vec::new();
            write_header(&mut file, &[], &marker).unwrap();
            put_long(&mut file, 1);
            put_bytes(&mut file, data);
            file.extend_from_slice(&marker);
            file
        };
        let read = |file: &[u8]| Blocks::open(file).and_then(|mut blocks| blocks.next());
        let refused = |file: &[u8]| read(file).unwrap_err().to_string();
        // A few bytes that say they become four gigabytes; then as many as are allowed, which they do not.
        for (length, why) in
            [(u32::MAX, "too large"), (BLOCK_BYTES_MAX as u32 + 1, "too large"), (1 << 28, "decompressed")]
        {
            let mut stored = Vec::new();
            let mut rest = length;
            while rest >= 0x80 {
                stored.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            stored.push(rest as u8);
            stored.extend([0; 16]);
            assert!(refused(&file(&stored)).contains(why), "{length}: {}", refused(&file(&stored)));
        }
        // A block, and a header, that say they are larger than anything.
        let mut long = Vec::new();
        write_header(&mut long, &[], &marker).unwrap();
        put_long(&mut long, 1);
        for size in [i64::MAX, BLOCK_BYTES_MAX as i64 + 1] {
            let mut file = long.clone();
            put_long(&mut file, size);
            assert!(refused(&file).contains("too large"));
        }
        let mut entries = MAGIC.to_vec();
        put_long(&mut entries, i64::MIN);
        put_long(&mut entries, 0);
        for _ in 0..METADATA_ENTRIES_MAX + 1 {
            let name = entries.len().to_string();
            put_bytes(&mut entries, name.as_bytes());
            put_bytes(&mut entries, b"");
        }
        assert!(refused(&entries).contains("too many entries"));
    }
}
