//! Backup files: written beside their name until they are whole, checked whole before anything is taken from them.
//!
//! The form is that of `zed`. The header has an entry of our own besides, of fixed length: how many relationships there are,
//! and a checksum over the whole file but for that entry. It is filled in last, so that an unfinished file tells what it is.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use stonetown_api::proto::authzed::api::v1 as pb;
use xxhash_rust::xxh3::Xxh3;

use super::ocf::{self, Block, Blocks, MARKER_BYTES};
use super::records::{self, Layout, Record};

/// The header's entry with the revision.
const TOKEN: &str = "com.authzed.spicedb.zedtoken.v1";
/// The header's entry with the checksum.
const CHECK: &str = "dev.stonetown.backup.check.v1";
/// What stands in the place of the checksum until the file is whole, and while the checksum is made.
const UNFINISHED: [u8; 64] = [b'-'; 64];
/// Relationships in a block.
const BLOCK_RECORDS: usize = 1_000;
/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What a whole file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) schema: String,
    /// The revision; files of old versions of `zed` may lack it.
    pub(super) token: Option<String>,
    pub(super) relationships: u64,
    /// Whether the file has a checksum over the whole. Those of `zed` have one for each block only, which cannot tell that
    /// blocks are missing at the end.
    pub(super) has_checksum: bool,
}

/// The relationships of a file, in order.
pub(super) struct Relationships {
    blocks: Blocks<BufReader<File>>,
    layout: Layout,
    block: Vec<u8>,
    /// Bytes of the block that were taken, and records that are left in it.
    taken: usize,
    left: u64,
}

/// Reads all of a file and tests it: checksums, form, and every relationship that is not `left_out`. `progress` is told the
/// bytes that were read.
pub(super) fn verify(
    path: &Path,
    left_out: &dyn Fn(&pb::Relationship) -> bool,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Contents> {
    let name = || format!("`{}`", path.display());
    let mut inner = || -> anyhow::Result<Contents> {
        let promised = verify_checksum(path, progress)?;
        let (schema, token, mut relationships) = open(path)?;
        let mut count = 0;
        while let Some(relationship) = relationships.next()? {
            count += 1;
            if left_out(&relationship) {
                continue;
            }
            stonetown_api::client::relationship_from_wire(relationship)
                .map_err(|why| anyhow::anyhow!("relationship {count}: {why}"))?;
        }
        if let Some(promised) = promised {
            ensure!(promised == count, "it has {count} relationships and promises {promised}");
        }
        Ok(Contents { schema, token, relationships: count, has_checksum: promised.is_some() })
    };
    inner().with_context(name)
}

/// Opens a file: its schema, its revision, its relationships.
pub(super) fn open(path: &Path) -> anyhow::Result<(String, Option<String>, Relationships)> {
    let file = File::open(path).context("it cannot be opened")?;
    let mut blocks = Blocks::open(BufReader::with_capacity(BUFFER_BYTES, file))?;
    let metadata = &blocks.header.metadata;
    let layout = Layout::parse(metadata.get("avro.schema").context("its header has no Avro schema")?)?;
    let token = metadata.get(TOKEN).map(|token| String::from_utf8(token.clone())).transpose()?;
    let block = blocks.next()?.context("it holds nothing, not even a schema")?;
    let mut relationships = Relationships { blocks, layout, block: block.data, taken: 0, left: block.count };
    match relationships.record()? {
        Some(Record::Schema(schema)) => Ok((schema, token, relationships)),
        _ => bail!("it does not begin with a schema"),
    }
}

impl Relationships {
    /// The next relationship, `None` after the last.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<pb::Relationship>> {
        match self.record()? {
            Some(Record::Relationship(relationship)) => Ok(Some(relationship)),
            Some(Record::Schema(_)) => bail!("it has a second schema"),
            None => Ok(None),
        }
    }

    fn record(&mut self) -> anyhow::Result<Option<Record>> {
        if self.left == 0 {
            ensure!(self.taken == self.block.len(), "a block is longer than its records");
            let Some(block) = self.blocks.next()? else { return Ok(None) };
            (self.block, self.taken, self.left) = (block.data, 0, block.count);
        }
        let mut rest = &self.block[self.taken..];
        let record = self.layout.take(&mut rest)?;
        self.taken = self.block.len() - rest.len();
        self.left -= 1;
        Ok(Some(record))
    }
}

/// Tests the checksum over the whole file, where there is one: the number of relationships that it promises.
fn verify_checksum(path: &Path, progress: &mut dyn FnMut(u64)) -> anyhow::Result<Option<u64>> {
    let mut file = File::open(path).context("it cannot be opened")?;
    let header = Blocks::open(BufReader::new(&mut file))?.header;
    let (Some(stored), Some(offset)) = (header.metadata.get(CHECK), header.offsets.get(CHECK)) else { return Ok(None) };
    ensure!(*stored != UNFINISHED, "it is an unfinished backup: run `stonetown backup create` again to finish it");
    let promised = parse_check(stored).context("its checksum cannot be read")?;
    ensure!(check(promised, sum(&mut file, *offset, progress)?) == stored.as_slice(), "it does not fit its checksum");
    Ok(Some(promised))
}

/// The hash of a file as if its checksum were not filled in yet.
fn sum(file: &mut File, offset: u64, progress: &mut dyn FnMut(u64)) -> anyhow::Result<u128> {
    let mut hash = Xxh3::new();
    file.seek(SeekFrom::Start(0))?;
    let mut before = vec![0; usize::try_from(offset)?];
    file.read_exact(&mut before)?;
    hash.update(&before);
    hash.update(&UNFINISHED);
    let mut read = file.seek(SeekFrom::Current(UNFINISHED.len() as i64))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hash.digest128()),
            Ok(bytes) => {
                hash.update(&buffer[..bytes]);
                read += bytes as u64;
                progress(read);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn check(relationships: u64, sum: u128) -> Vec<u8> {
    format!("n={relationships:020};xxh3={sum:032x}....").into_bytes()
}

fn parse_check(stored: &[u8]) -> Option<u64> {
    std::str::from_utf8(stored).ok()?.strip_prefix("n=")?.split_once(';')?.0.parse().ok()
}

/// A backup that is being written.
pub(super) struct Writer {
    target: PathBuf,
    file: BufWriter<File>,
    marker: [u8; MARKER_BYTES],
    check_at: u64,
    /// How far it is, as of the last batch.
    pub(super) state: State,
}

/// How far an unfinished backup is; kept in a file beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Which relationships are asked for; another selection is another backup.
    pub(super) selection: String,
    /// The revision.
    pub(super) token: String,
    /// Bytes that are complete.
    bytes: u64,
    /// Relationships in them.
    pub(super) relationships: u64,
    /// Where the export goes on; empty at the beginning.
    pub(super) cursor: String,
}

impl Writer {
    /// Begins a file. It has another name until it is whole.
    pub(super) fn begin(target: &Path, schema: &str, token: &str, selection: &str) -> anyhow::Result<Self> {
        let marker: [u8; MARKER_BYTES] = std::array::from_fn(|_| rand::random());
        let file = File::options().read(true).write(true).create(true).truncate(true).open(incomplete(target))?;
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let avro = records::avro_schema();
        let metadata = [("avro.schema", avro.as_bytes()), (TOKEN, token.as_bytes()), (CHECK, &UNFINISHED[..])];
        ocf::write_header(&mut file, &metadata, &marker)?;
        let mut data = Vec::new();
        records::put_schema(&mut data, schema);
        ocf::write_block(&mut file, &Block { count: 1, data }, &marker)?;
        file.flush()?;
        let state = State { selection: selection.to_owned(), token: token.to_owned(), ..State::default() };
        Writer { target: target.to_owned(), check_at: 0, file, marker, state }.located()?.saved()
    }

    /// Goes on with a file that was begun, where there is one.
    pub(super) fn resume(target: &Path, selection: &str) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(state_of(target)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let begin_anew = || format!("remove `{}` to begin anew", state_of(target).display());
        let state: State = serde_json::from_str(&text).with_context(begin_anew)?;
        ensure!(
            state.selection == selection,
            "`{}` was begun with another selection of relationships; {}",
            incomplete(target).display(),
            begin_anew()
        );
        let file = File::options().read(true).write(true).open(incomplete(target)).with_context(begin_anew)?;
        ensure!(
            file.metadata()?.len() >= state.bytes,
            "`{}` lacks bytes; {}",
            incomplete(target).display(),
            begin_anew()
        );
        // What came after the last complete batch is asked for again.
        file.set_len(state.bytes)?;
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        file.seek(SeekFrom::End(0))?;
        let writer = Writer { target: target.to_owned(), check_at: 0, file, marker: [0; MARKER_BYTES], state };
        writer.located().with_context(begin_anew).map(Some)
    }

    /// Adds relationships, and remembers where the export goes on.
    pub(super) fn batch(&mut self, relationships: &[pb::Relationship], cursor: &str) -> anyhow::Result<()> {
        for some in relationships.chunks(BLOCK_RECORDS) {
            let mut data = Vec::new();
            some.iter().for_each(|relationship| records::put_relationship(&mut data, relationship));
            ocf::write_block(&mut self.file, &Block { count: some.len() as u64, data }, &self.marker)?;
        }
        self.state.relationships += relationships.len() as u64;
        cursor.clone_into(&mut self.state.cursor);
        self.file.flush()?;
        self.save()
    }

    /// Fills in the checksum and gives the file its name.
    pub(super) fn finish(self) -> anyhow::Result<u64> {
        let mut file = self.file.into_inner().map_err(|error| error.into_error())?;
        let sum = sum(&mut file, self.check_at, &mut |_| {})?;
        file.seek(SeekFrom::Start(self.check_at))?;
        file.write_all(&check(self.state.relationships, sum))?;
        file.sync_all()?;
        refuse_existing(&self.target)?;
        fs::rename(incomplete(&self.target), &self.target)?;
        fs::remove_file(state_of(&self.target))?;
        // The name is to last as the bytes do.
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(self.state.relationships)
    }

    /// Finds the marker and the place of the checksum in what is written.
    fn located(mut self) -> anyhow::Result<Self> {
        let header = Blocks::open(BufReader::new(File::open(incomplete(&self.target))?))?.header;
        self.marker = header.marker;
        self.check_at = *header.offsets.get(CHECK).context("it has no place for a checksum")?;
        Ok(self)
    }

    fn saved(mut self) -> anyhow::Result<Self> {
        self.save()?;
        Ok(self)
    }

    /// Makes what is written durable, then says so.
    fn save(&mut self) -> anyhow::Result<()> {
        self.file.get_ref().sync_data()?;
        self.state.bytes = self.file.get_ref().metadata()?.len();
        let (path, new) = (state_of(&self.target), with_suffix(&self.target, ".incomplete.json.new"));
        fs::write(&new, serde_json::to_vec(&self.state)?)?;
        fs::rename(new, path)?;
        Ok(())
    }
}

/// Fails when a file of that name is there.
pub(super) fn refuse_existing(path: &Path) -> anyhow::Result<()> {
    ensure!(path.symlink_metadata().is_err(), "`{}` is there already: it is not overwritten", path.display());
    Ok(())
}

/// The name of a file until it is whole.
pub(super) fn incomplete(target: &Path) -> PathBuf {
    with_suffix(target, ".incomplete")
}

fn state_of(target: &Path) -> PathBuf {
    with_suffix(target, ".incomplete.json")
}

fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
