//! What `stonetown audit` prints. Nothing from a log reaches the screen as it is: a control character is shown by its number.

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use stonetown_audit::merkle::Hash;
use stonetown_audit::note::{Checkpoint, PublicKey};
use stonetown_audit::record::{Body, Entry};
use stonetown_audit::{Against, Consistency, Inclusion, Report};

use crate::output::{Output, line, one_line};

pub(super) fn report(report: &Report, against: &Against, output: Output) {
    let whole = report.problems.is_empty();
    let root: String = report.root.iter().map(|byte| format!("{byte:02x}")).collect();
    if output.json {
        let problems: Vec<_> = report
            .problems
            .iter()
            .map(|problem| {
                json!({
                    "file": problem.path.display().to_string(),
                    "byte": problem.offset,
                    "from": problem.from,
                    "until": problem.until,
                    "what": one_line(&problem.what),
                })
            })
            .collect();
        return line(json!({
            "log": report.origin,
            "whole": whole,
            "first": report.first,
            "size": report.size,
            "signed": report.signed,
            "root": root,
            "key": report.key.fingerprint(),
            "key_given": !against.keys.is_empty(),
            "checkpoints_agreed": report.agreed,
            "gaps": report.gaps.0,
            "missing": report.gaps.1,
            "log_ins_sampled": report.sampled,
            "erased": report.erased,
            "problems": problems,
        }));
    }
    let verdict = if whole { "whole" } else { "NOT AS IT WAS WRITTEN" };
    line(format_args!("{}: {verdict}", one_line(&report.origin)));
    let from = if report.first > 0 { format!(" from {} on", report.first) } else { String::new() };
    line(format_args!(
        "  {} records{from}, {} of them signed for",
        report.size - report.first,
        report.signed - report.first
    ));
    line(format_args!("  root {root}"));
    let known = if against.keys.is_empty() { ", not compared: name it with --key" } else { "" };
    line(format_args!("  key {}{known}", report.key.fingerprint()));
    if report.agreed > 0 {
        line(format_args!("  agrees with {} given checkpoint(s)", report.agreed));
    }
    if report.gaps.0 > 0 {
        line(format_args!(
            "  says of itself that records are missing: {} gap(s), {} counted",
            report.gaps.0, report.gaps.1
        ));
    }
    if report.sampled > 0 {
        line(format_args!("  {} refused log-in(s) were counted and not recorded one by one", report.sampled));
    }
    if report.erased > 0 {
        line(format_args!("  {} personal field(s) were erased", report.erased));
    }
    for problem in &report.problems {
        line(format_args!("  problem: {}", one_line(&problem.to_string())));
    }
}

pub(super) fn record(entry: &Entry<'_>, output: Output) {
    let value = entry.to_json();
    if output.json {
        line(&value);
        return;
    }
    let text = match &entry.body {
        Body::Decision(decision) => {
            let detail = if decision.detail.is_empty() { String::new() } else { format!(": {}", decision.detail) };
            format!(
                "{} {} {} {} by {} ({}, {}{detail}, revision {})",
                decision.outcome.name(),
                or_dash(&entry.subject()),
                or_dash(decision.permission),
                or_dash(&entry.resource()),
                or_dash(&text_of(&value, "caller")),
                decision.call,
                decision.reason,
                decision.revision,
            )
        }
        _ => {
            let mut rest = value.as_object().cloned().unwrap_or_default();
            rest.retain(|key, _| !["index", "time", "kind"].contains(&key.as_str()));
            format!("{} {}", text_of(&value, "kind"), Value::Object(rest))
        }
    };
    line(format_args!("{} #{} {}", entry.time(), entry.index, one_line(&text)));
}

/// A checkpoint, on the screen or to a file.
pub(super) fn checkpoint(
    note: &str,
    checkpoint: &Checkpoint,
    file: Option<&Path>,
    output: Output,
) -> anyhow::Result<()> {
    let Checkpoint { origin, size, root } = checkpoint;
    let value = || json!({ "origin": origin, "size": size, "root": BASE64.encode(root), "note": note });
    match file {
        None => output.result(note.trim_end_matches('\n'), value),
        Some(file) => {
            std::fs::write(file, note).with_context(|| format!("`{}`", file.display()))?;
            output.result(format_args!("{size} records of {origin}"), value);
        }
    }
    Ok(())
}

/// What is shown of a record beside its proof.
pub(super) fn proved(record: &Entry<'_>, entry: &[u8]) -> (Value, String) {
    (record.to_json(), BASE64.encode(entry))
}

pub(super) fn inclusion(proof: &Inclusion, (record, entry): (Value, String), output: Output) {
    output.result(proof.to_text().trim_end_matches('\n'), || {
        json!({
            "origin": proof.checkpoint.origin,
            "index": proof.index,
            "size": proof.checkpoint.size,
            "root": BASE64.encode(proof.checkpoint.root),
            "leaf_hash": BASE64.encode(proof.leaf),
            "entry": entry,
            "proof": base64(&proof.path),
            "checkpoint": proof.note,
            "record": record,
        })
    });
}

pub(super) fn consistency(proof: &Consistency, output: Output) {
    output.result(proof.to_text().trim_end_matches('\n'), || {
        json!({
            "origin": proof.checkpoint.origin,
            "old_size": proof.old_size,
            "old_root": BASE64.encode(proof.old_root),
            "size": proof.checkpoint.size,
            "root": BASE64.encode(proof.checkpoint.root),
            "proof": base64(&proof.path),
            "checkpoint": proof.note,
        })
    });
}

/// A record with the bytes that proofs are about.
pub(super) fn exported(record: &Entry<'_>, entry: &[u8], leaf: &Hash) {
    let (entry, leaf) = (BASE64.encode(entry), BASE64.encode(leaf));
    line(json!({ "record": record.to_json(), "entry": entry, "leaf_hash": leaf }));
}

pub(super) fn key(key: &PublicKey, origin: &str, output: Output) {
    let (verifier, fingerprint) = (key.verifier(origin), key.fingerprint());
    output.result(
        format_args!("{verifier} {fingerprint}"),
        || json!({ "origin": origin, "key": verifier, "fingerprint": fingerprint }),
    );
}

pub(super) fn erased(decisions: u64, changes: u64, output: Output) {
    output.result(
        format_args!("erased {decisions} field(s) of decisions and {changes} of changes"),
        || json!({ "decisions": decisions, "changes": changes }),
    );
}

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| BASE64.encode(hash)).collect()
}

fn text_of(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
