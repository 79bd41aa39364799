//! Records on their way to the log, in a file that is mapped into memory. What a process has put there outlives it: if it is
//! killed, the next one finds it. Putting something there is no system call, and nothing is allocated.
//!
//! The file has a page that says what it is, a table with a line for each log, and two halves: one is filled by those who answer
//! calls while the other is written to the logs. It lasts as long as the machine runs: after a restart of that the disk may have
//! any older state of it, so what is found is dropped.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{Ordering, compiler_fence};

use memmap2::{MmapMut, MmapOptions};
use stonetown_tuple::{InstanceId, StoreId};

use super::worker::{drafts, micros};
use crate::layout::LOGS_MAX;

const MAGIC: &[u8; 24] = b"stonetown audit queue 2\n";
const PAGE_BYTES: usize = 4096;
/// Where the page says for which run of the machine, which history and which size the file is.
const FOR_AT: usize = MAGIC.len();
const FOR_BYTES: usize = 16 + 8 + 8;
const TALLY_BYTES: usize = 24;
/// Bytes of a line of the table: what was left out of the log, and the record of the start of the process that writes it.
const LINE_BYTES: usize = Omitted::ALL.len() * TALLY_BYTES + 8;
const START_AT: usize = LINE_BYTES - 8;
const TABLE_BYTES: usize = (LOGS_MAX as usize * LINE_BYTES).next_multiple_of(PAGE_BYTES);
/// Bytes before the drafts of a half: its number, the bytes in use, and for each log one more than the index there of the first
/// record of this half.
const HALF_HEAD_BYTES: usize = BEGINS_AT + LOGS_MAX as usize * 8;
const NUMBER_AT: usize = 0;
const USED_AT: usize = 8;
const BEGINS_AT: usize = 16;
/// Blocks that the system counts a file in, in bytes.
const BLOCK_BYTES: u64 = 512;

/// Records that were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    /// When the first and the last were made, in microseconds since 1970.
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Tally {
    pub(crate) fn add(&mut self, micros: i64) {
        self.merge(Tally { count: 1, from: micros, until: micros });
    }

    pub(crate) fn merge(&mut self, other: Tally) {
        if self.count == 0 {
            *self = other;
        } else if other.count > 0 {
            self.count += other.count;
            (self.from, self.until) = (self.from.min(other.from), self.until.max(other.until));
        }
    }

    /// Takes away what has been told.
    pub(crate) fn forget(&mut self, told: Tally) {
        let count = self.count.saturating_sub(told.count);
        *self = if count == 0 { Tally::default() } else { Tally { count, ..*self } };
    }
}

/// Which records were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Omitted {
    /// There was no room in the queue.
    QueueFull = 0,
    /// The log could not be written.
    Unwritten = 1,
    /// Refused log-ins beyond those that are recorded one by one.
    LogIns = 2,
}

impl Omitted {
    pub(crate) const ALL: [Omitted; 3] = [Omitted::QueueFull, Omitted::Unwritten, Omitted::LogIns];

    /// The reason that a gap gives.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Omitted::QueueFull => "queue_full",
            Omitted::Unwritten => "write_failed",
            Omitted::LogIns => crate::record::LOG_INS_SAMPLED,
        }
    }
}

/// A line for each log: what was left out and is not told yet, and since which record it is written by whom.
pub(crate) struct Table(MmapMut);

/// One of the two places for drafts, each draft after its length.
pub(crate) struct Half {
    map: MmapMut,
    used: usize,
}

/// The file, mapped. Held by one process at a time.
pub(crate) struct Mapped {
    pub(crate) file: File,
    pub(crate) table: Table,
    /// In the order in which they were filled.
    pub(crate) halves: [Half; 2],
}

impl Mapped {
    /// Opens the file, made if it is not there, and takes it for this process. What a process before left in it is kept if it
    /// can be trusted.
    ///
    /// # Errors
    /// When it cannot be made, or another process has it: [`io::ErrorKind::ResourceBusy`].
    pub(crate) fn open(path: &Path, instance: InstanceId, drafts_bytes_max: usize) -> io::Result<Mapped> {
        let half = (drafts_bytes_max / 2 + HALF_HEAD_BYTES).next_multiple_of(PAGE_BYTES);
        let length = PAGE_BYTES + TABLE_BYTES + 2 * half;
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        let known = known_by(instance, half);
        let mut page = Vec::new();
        (&mut file).take(PAGE_BYTES as u64).read_to_end(&mut page)?;
        let is_ours = known.is_some_and(|known| page.starts_with(&known));
        let left = left_by_older(&file, &page, instance, drafts_bytes_max)?;
        let metadata = file.metadata()?;
        // Pages without blocks would have to be found room for when they are written: then there may be none.
        let is_whole = metadata.len() == length as u64 && metadata.blocks() * BLOCK_BYTES >= length as u64;
        if !is_ours || !is_whole {
            file.set_len(0)?;
            let zeros = vec![0; PAGE_BYTES];
            for at in (0..length).step_by(PAGE_BYTES) {
                file.write_all_at(&zeros, at as u64)?;
            }
            // Written last: a file that is not whole is none.
            file.sync_all()?;
            file.write_all_at(&known.unwrap_or([0; FOR_AT + FOR_BYTES]), 0)?;
        }
        let capacity = drafts_bytes_max / 2;
        let open = |number: usize| Half::open(map(&file, PAGE_BYTES + TABLE_BYTES + number * half, half)?, capacity);
        let mut halves = [open(0)?, open(1)?];
        if halves[0].number() > halves[1].number() {
            halves.swap(0, 1);
        }
        let mut table = Table(map(&file, PAGE_BYTES, TABLE_BYTES)?);
        if left.count > 0 {
            table.set_tally(StoreId::DEFAULT, Omitted::Unwritten, left);
        }
        Ok(Mapped { file, table, halves })
    }
}

/// Takes the file for this process, if nobody has it and no records wait in it; `None` where there is no file.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] when another process has it or records wait.
pub(crate) fn lock_idle(path: &Path) -> io::Result<Option<File>> {
    let file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    file.try_lock().map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
    let number = |at: u64| -> io::Result<u64> {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).map(|()| u64::from_be_bytes(bytes))
    };
    let first_used = (PAGE_BYTES + TABLE_BYTES + USED_AT) as u64;
    let half = number((FOR_AT + 24) as u64)?;
    if number(first_used)? > 0 || number(first_used + half)? > 0 {
        return Err(io::Error::from(io::ErrorKind::ResourceBusy));
    }
    Ok(Some(file))
}

/// What a killed process of the version with one log for all stores left, which had a page and two halves with shorter heads: it
/// cannot be told apart by store, and is counted.
fn left_by_older(file: &File, page: &[u8], instance: InstanceId, drafts_bytes_max: usize) -> io::Result<Tally> {
    const OLDER: &[u8; 24] = b"stonetown audit queue 1\n";
    const HEAD_BYTES: usize = 24;
    let half_bytes = (drafts_bytes_max / 2 + HEAD_BYTES).next_multiple_of(PAGE_BYTES);
    let known = known_by(instance, half_bytes);
    let mut tally = Tally::default();
    if !known.is_some_and(|known| page.starts_with(OLDER) && page.get(FOR_AT..known.len()) == Some(&known[FOR_AT..])) {
        return Ok(tally);
    }
    let mut half = vec![0; half_bytes];
    for number in 0..2 {
        file.read_exact_at(&mut half, (PAGE_BYTES + number * half_bytes) as u64)?;
        let used = half[USED_AT..USED_AT + 8].try_into().map_or(0, u64::from_be_bytes);
        let bytes = half.get(HEAD_BYTES..HEAD_BYTES + usize::try_from(used).unwrap_or(0)).unwrap_or_default();
        // The time stands after the length of the head and the kind, as it does now.
        drafts(bytes).for_each(|draft| tally.add(micros(draft)));
    }
    Ok(tally)
}

/// The beginning of a file that can be trusted; `None` where the system does not say when it was started.
fn known_by(instance: InstanceId, half_bytes: usize) -> Option<[u8; FOR_AT + FOR_BYTES]> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot = u128::from_str_radix(&boot.trim().replace('-', ""), 16).ok()?;
    let mut known = [0; FOR_AT + FOR_BYTES];
    known[..FOR_AT].copy_from_slice(MAGIC);
    known[FOR_AT..FOR_AT + 16].copy_from_slice(&boot.to_be_bytes());
    known[FOR_AT + 16..FOR_AT + 24].copy_from_slice(&instance.0.to_be_bytes());
    known[FOR_AT + 24..].copy_from_slice(&(half_bytes as u64).to_be_bytes());
    Some(known)
}

/// Maps a part of a file.
// There is no other way to have a file in memory that outlives the process.
#[allow(unsafe_code)]
fn map(file: &File, offset: usize, length: usize) -> io::Result<MmapMut> {
    // SAFETY: the file is locked for this process, which maps each part of it once and never makes it shorter while it is mapped.
    unsafe { MmapOptions::new().offset(offset as u64).len(length).map_mut(file) }
}

fn get(map: &MmapMut, at: usize) -> u64 {
    map.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

fn put(map: &mut MmapMut, at: usize, number: u64) {
    map[at..at + 8].copy_from_slice(&number.to_be_bytes());
}

impl Table {
    /// What was left out of a log and is not told.
    pub(crate) fn tally(&self, of: StoreId, omitted: Omitted) -> Tally {
        let at = tally_at(of, omitted);
        let read = |field: usize| get(&self.0, at + 8 * field);
        Tally { count: read(0), from: read(1).cast_signed(), until: read(2).cast_signed() }
    }

    pub(crate) fn set_tally(&mut self, of: StoreId, omitted: Omitted, tally: Tally) {
        let at = tally_at(of, omitted);
        put(&mut self.0, at + 8, tally.from.cast_unsigned());
        put(&mut self.0, at + 16, tally.until.cast_unsigned());
        put(&mut self.0, at, tally.count);
    }

    /// The logs of which something was left out that is not told.
    pub(crate) fn untold(&self) -> impl Iterator<Item = StoreId> + '_ {
        let all = (0..LOGS_MAX).map(StoreId);
        all.filter(|of| Omitted::ALL.iter().any(|omitted| self.tally(*of, *omitted).count > 0))
    }

    /// The record of the start of the process that writes, or wrote, a log, where it has written one.
    pub(crate) fn start(&self, of: StoreId) -> Option<u64> {
        get(&self.0, of.0 as usize * LINE_BYTES + START_AT).checked_sub(1)
    }

    pub(crate) fn set_start(&mut self, of: StoreId, start: Option<u64>) {
        put(&mut self.0, of.0 as usize * LINE_BYTES + START_AT, start.map_or(0, |start| start + 1));
    }
}

fn tally_at(of: StoreId, omitted: Omitted) -> usize {
    of.0 as usize * LINE_BYTES + omitted as usize * TALLY_BYTES
}

impl Half {
    fn open(map: MmapMut, capacity: usize) -> io::Result<Half> {
        let used = usize::try_from(get(&map, USED_AT)).unwrap_or(usize::MAX);
        if used > capacity {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        Ok(Half { map, used })
    }

    /// Adds a draft that fits.
    pub(crate) fn push(&mut self, draft: &[u8]) {
        let begin = HALF_HEAD_BYTES + self.used;
        let length = u32::try_from(draft.len()).unwrap_or(u32::MAX);
        self.map[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
        self.map[begin + 4..begin + 4 + draft.len()].copy_from_slice(draft);
        // A process that is killed has done a first part of what it was to do, in this order.
        compiler_fence(Ordering::SeqCst);
        self.used += 4 + draft.len();
        put(&mut self.map, USED_AT, self.used as u64);
    }

    /// The drafts.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[HALF_HEAD_BYTES..HALF_HEAD_BYTES + self.used]
    }

    /// Bytes of the drafts.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    fn number(&self) -> u64 {
        get(&self.map, NUMBER_AT)
    }

    /// Which index the first of its drafts for a log has there, where they are being written.
    pub(crate) fn begins(&self, of: StoreId) -> Option<u64> {
        get(&self.map, BEGINS_AT + of.0 as usize * 8).checked_sub(1)
    }

    /// Says that its drafts for a log are being written, the first one at `index`.
    pub(crate) fn begin_at(&mut self, of: StoreId, index: u64) {
        put(&mut self.map, BEGINS_AT + of.0 as usize * 8, index + 1);
        compiler_fence(Ordering::SeqCst);
    }

    /// Forgets its drafts, and what they said: no copy is left of what may be erased from the log.
    pub(crate) fn clear(&mut self) {
        let end = HALF_HEAD_BYTES + std::mem::take(&mut self.used);
        put(&mut self.map, USED_AT, 0);
        compiler_fence(Ordering::SeqCst);
        self.map[BEGINS_AT..end].fill(0);
    }

    /// Says that it is filled after `other`.
    pub(crate) fn follow(&mut self, other: &Half) {
        put(&mut self.map, NUMBER_AT, other.number() + 1);
        compiler_fence(Ordering::SeqCst);
    }
}
