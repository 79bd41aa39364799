//! The Merkle tree of RFC 6962 with SHA-256: hashes, roots, inclusion and consistency proofs, and their verification.

#[cfg(test)]
mod tests;

use ring::digest::{Context, SHA256, digest};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The hash of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    to_hash(digest(&SHA256, bytes).as_ref())
}

/// The hash of several pieces as if they were one.
#[must_use]
pub fn sha256_of(pieces: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    to_hash(context.finish().as_ref())
}

/// The hash of a leaf: `SHA-256(0x00 ‖ entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256_of(&[&[0], entry])
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    sha256(&bytes)
}

pub(crate) fn to_hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(bytes);
    hash
}

/// The right edge of a growing tree: the roots of the largest complete subtrees, from left to right. All that is needed to add
/// leaves and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Puts a frontier together; `None` when the number of peaks does not fit the size.
    #[must_use]
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Frontier> {
        (size.count_ones() as usize == peaks.len()).then_some(Frontier { size, peaks })
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        let mut size = self.size;
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
            size >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root of the tree; that of the empty tree is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return sha256(&[]) };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// Knows the roots of complete subtrees.
pub trait Subtrees {
    /// Why a root is not known.
    type Error;

    /// The root over the `2^level` leaves from `index · 2^level` on.
    ///
    /// # Errors
    /// When it is not known.
    fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root over the first `size` leaves.
///
/// # Errors
/// Those of `source`.
pub fn root<S: Subtrees>(source: &mut S, size: u64) -> Result<Hash, S::Error> {
    if size == 0 { Ok(sha256(&[])) } else { range(source, 0, size) }
}

/// The proof that the leaf `index` is in the tree of the first `size` leaves (RFC 6962 §2.1.1). `index < size`.
///
/// # Errors
/// Those of `source`.
pub fn inclusion<S: Subtrees>(source: &mut S, index: u64, size: u64) -> Result<Vec<Hash>, S::Error> {
    let (mut begin, mut end) = (0, size);
    let mut path = Vec::new();
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            path.push(range(source, middle, end)?);
            end = middle;
        } else {
            path.push(range(source, begin, middle)?);
            begin = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of the first `old` leaves is the beginning of the one of the first `new` (RFC 6962 §2.1.2).
/// `0 < old <= new`.
///
/// # Errors
/// Those of `source`.
pub fn consistency<S: Subtrees>(source: &mut S, old: u64, new: u64) -> Result<Vec<Hash>, S::Error> {
    let (mut begin, mut end) = (0, new);
    let mut path = Vec::new();
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push(range(source, middle, end)?);
            end = middle;
        } else {
            path.push(range(source, begin, middle)?);
            begin = middle;
        }
    }
    // The old tree itself needs no proof, a part of it does.
    if begin > 0 {
        path.push(range(source, begin, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `proof` shows that `leaf` is at `index` in the tree of `size` leaves with this root.
#[must_use]
pub fn is_included(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let mut walk = Walk { node: index, last: size - 1 };
    let mut hash = *leaf;
    for step in proof {
        if walk.last == 0 {
            return false;
        }
        hash = if walk.is_right() { node_hash(step, &hash) } else { node_hash(&hash, step) };
        walk.up();
    }
    walk.last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `new` leaves begins with the one of `old` leaves.
#[must_use]
pub fn is_consistent(old: u64, new: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> bool {
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 || old > new {
        return old == 0 && proof.is_empty();
    }
    let mut walk = Walk { node: old - 1, last: new - 1 };
    while walk.node & 1 == 1 {
        walk.node >>= 1;
        walk.last >>= 1;
    }
    let whole = old.is_power_of_two().then_some(old_root);
    let mut steps = whole.into_iter().chain(proof);
    let Some(first) = steps.next() else { return false };
    let (mut before, mut after) = (*first, *first);
    for step in steps {
        if walk.last == 0 {
            return false;
        }
        if walk.is_right() {
            before = node_hash(step, &before);
            after = node_hash(step, &after);
        } else {
            after = node_hash(&after, step);
        }
        walk.up();
    }
    walk.last == 0 && before == *old_root && after == *new_root
}

/// The way from a node up to the root, level by level (RFC 9162 §2.1.3.2).
struct Walk {
    node: u64,
    last: u64,
}

impl Walk {
    /// Whether the sibling is on the left.
    fn is_right(&self) -> bool {
        self.node & 1 == 1 || self.node == self.last
    }

    fn up(&mut self) {
        if self.node & 1 == 0 && self.node == self.last {
            while self.node & 1 == 0 && self.node != 0 {
                self.node >>= 1;
                self.last >>= 1;
            }
        }
        self.node >>= 1;
        self.last >>= 1;
    }
}

/// The root over a range that begins where a complete subtree does.
fn range<S: Subtrees>(source: &mut S, begin: u64, end: u64) -> Result<Hash, S::Error> {
    let size = end - begin;
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return source.subtree(level, begin >> level);
    }
    let middle = begin + split(size);
    Ok(node_hash(&range(source, begin, middle)?, &range(source, middle, end)?))
}

/// The largest power of two less than `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}
