//! Against the recursive definitions of RFC 6962, word for word.

use std::convert::Infallible;

use super::*;

/// RFC 6962 §2.1, as it is written.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

/// §2.1.1.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, sibling) =
        if m < k { (path(m, &leaves[..k]), mth(&leaves[k..])) } else { (path(m - k, &leaves[k..]), mth(&leaves[..k])) };
    proof.push(sibling);
    proof
}

/// §2.1.2.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, sibling) = if m <= k {
        (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    proof.push(sibling);
    proof
}

struct Plain<'a>(&'a [Hash]);

impl Subtrees for Plain<'_> {
    type Error = Infallible;
    fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, Infallible> {
        let size = 1_usize << level;
        let begin = usize::try_from(index).unwrap() * size;
        Ok(mth(&self.0[begin..begin + size]))
    }
}

fn leaves(count: u32) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

/// Larger than four levels and no power of two.
const SIZE: u32 = 69;

#[test]
fn the_frontier_has_the_root_of_the_definition() {
    let leaves = leaves(SIZE);
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), mth(&[]));
    for (n, leaf) in leaves.iter().enumerate() {
        frontier.push(*leaf);
        assert_eq!(frontier.root(), mth(&leaves[..=n]));
        assert_eq!(root(&mut Plain(&leaves), frontier.size()), Ok(frontier.root()));
        let copy = Frontier::from_parts(frontier.size(), frontier.peaks().to_vec());
        assert_eq!(copy, Some(frontier.clone()));
        assert_eq!(Frontier::from_parts(frontier.size(), frontier.peaks()[1..].to_vec()), None);
    }
}

#[test]
fn proofs_are_those_of_the_definition_and_hold_for_nothing_else() {
    let leaves = leaves(SIZE);
    for size in 1..=SIZE as usize {
        let root = mth(&leaves[..size]);
        for index in 0..size {
            let proof = inclusion(&mut Plain(&leaves), index as u64, size as u64).unwrap();
            assert_eq!(proof, path(index, &leaves[..size]));
            let holds = |leaf, at, of, proof: &[Hash]| is_included(leaf, at, of, proof, &root);
            assert!(holds(&leaves[index], index as u64, size as u64, &proof));
            assert!(!holds(&leaves[(index + 1) % SIZE as usize], index as u64, size as u64, &proof));
            assert!(!holds(&leaves[index], size as u64, size as u64, &proof));
            if size > 1 {
                assert!(!holds(&leaves[index], ((index + 1) % size) as u64, size as u64, &proof));
                assert!(!holds(&leaves[index], index as u64, size as u64, &proof[1..]));
            }
            let longer = [proof.clone(), vec![root]].concat();
            assert!(!holds(&leaves[index], index as u64, size as u64, &longer));
        }
    }
}

#[test]
fn a_tree_is_consistent_with_its_beginnings_only() {
    let leaves = leaves(SIZE);
    for new in 1..=SIZE as usize {
        let new_root = mth(&leaves[..new]);
        for old in 1..=new {
            let old_root = mth(&leaves[..old]);
            let proof = consistency(&mut Plain(&leaves), old as u64, new as u64).unwrap();
            assert_eq!(proof, subproof(old, &leaves[..new], true), "{old} of {new}");
            let holds =
                |old_root, new_root, proof: &[Hash]| is_consistent(old as u64, new as u64, old_root, new_root, proof);
            assert!(holds(&old_root, &new_root, &proof), "{old} of {new}");
            let other = leaf_hash(b"another");
            assert!(!holds(&other, &new_root, &proof) && !holds(&old_root, &other, &proof));
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at][7] ^= 1;
                assert!(!holds(&old_root, &new_root, &altered));
            }
            let longer = [proof.clone(), vec![other]].concat();
            assert!(!holds(&old_root, &new_root, &longer));
        }
    }
}

#[test]
fn the_hashes_are_those_of_the_standard() {
    let hex = |hash: Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    // The hash of an empty leaf, as RFC 6962's reference implementation has it.
    assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
}
