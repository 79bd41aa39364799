//! What `stonetown audit` prints. Nothing from a log reaches the screen as it is: a control character is shown by its number.

use serde_json::{Value, json};
use stonetown_audit::record::{Body, Entry};
use stonetown_audit::{Against, Report};

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
        println!(
            "{}",
            json!({
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
            })
        );
        return;
    }
    let verdict = if whole { "whole" } else { "NOT AS IT WAS WRITTEN" };
    println!("{}: {verdict}", one_line(&report.origin));
    let from = if report.first > 0 { format!(" from {} on", report.first) } else { String::new() };
    println!("  {} records{from}, {} of them signed for", report.size - report.first, report.signed - report.first);
    println!("  root {root}");
    let known = if against.keys.is_empty() { ", not compared: name it with --key" } else { "" };
    println!("  key {}{known}", report.key.fingerprint());
    if report.agreed > 0 {
        println!("  agrees with {} given checkpoint(s)", report.agreed);
    }
    if report.gaps.0 > 0 {
        println!("  says of itself that records are missing: {} gap(s), {} counted", report.gaps.0, report.gaps.1);
    }
    if report.sampled > 0 {
        println!("  {} refused log-in(s) were counted and not recorded one by one", report.sampled);
    }
    if report.erased > 0 {
        println!("  {} personal field(s) were erased", report.erased);
    }
    for problem in &report.problems {
        println!("  problem: {}", one_line(&problem.to_string()));
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
    println!("{} #{} {}", entry.time(), entry.index, one_line(&text));
}

fn text_of(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
