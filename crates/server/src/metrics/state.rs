//! Everything that is read when it is asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use stonetown_audit::Recorder;
use stonetown_authorizer::Authorizer;
use stonetown_authorizer::upkeep::Upkeep;
use stonetown_grants::Desk;
use stonetown_storage::{Distribution, Usage};

use crate::housekeeping::{Collections, process_memory_bytes};
use crate::oidc::{Issuers, KeysState};
use crate::tls::{Tls, TlsState};
use crate::traces::Traces;
use crate::webhooks::{WebhookState, Webhooks};

/// Whom the state is asked of.
pub(crate) struct Sources {
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) collections: Arc<Collections>,
    /// Of each port that speaks TLS.
    pub(crate) tls: Vec<Arc<Tls>>,
    pub(crate) traces: Option<Traces>,
    pub(crate) desk: Option<Arc<Desk>>,
    pub(crate) issuers: Issuers,
    pub(crate) webhooks: Webhooks,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.put_authorizer(&mut page)?;
        put_usage(&mut page, &self.authorizer.datastore().usage())?;
        let takes_writes = u64::from(self.authorizer.refuses_writes().is_none());
        page.gauge("datastore_takes_writes", "1 while writes are taken", takes_writes)?;
        self.put_limits(&mut page)?;
        if let Some(recorder) = self.authorizer.recorder() {
            put_audit(&mut page, recorder, self.authorizer.datastore().head().0)?;
        }
        let open = self.desk.as_ref().map(|desk| desk.open_counts()).unwrap_or_default();
        page.gauge("grants_pending", "Requests for access that wait for votes", open.pending as u64)?;
        page.gauge("grants_active", "Grants whose access has not ended", open.approved as u64)?;
        page.gauge("grants_unreviewed", "Emergencies that nobody has reviewed", open.unreviewed as u64)?;
        self.collections.put(&mut page)?;
        self.put_upkeep(&mut page)?;
        // Without TLS and traces the numbers are there as well, so that a dashboard has no holes.
        let tls: Vec<_> = self.tls.iter().map(|tls| tls.state()).collect();
        let sum = |count: fn(&TlsState) -> u64| tls.iter().map(count).sum();
        page.count("tls_reloads", "Times that changed TLS files were taken", sum(|tls| tls.reloads))?;
        let refused = sum(|tls| tls.reloads_refused);
        page.count("tls_reloads_refused", "Times that changed TLS files could not be used", refused)?;
        if let Some(first) = tls.iter().map(|tls| tls.expires_at).min() {
            let seconds = u64::try_from(first).unwrap_or(0);
            page.gauge("tls_certificate_expiry_timestamp_seconds", "When the first certificate expires", seconds)?;
        }
        put_issuers(&mut page, &self.issuers)?;
        put_webhooks(&mut page, &self.webhooks, self.authorizer.head().0)?;
        let (ended, exported, failed) = self.traces.as_ref().map_or((0, 0, 0), Traces::counts);
        page.count("trace_spans", "Spans that were to be exported", ended)?;
        page.count("trace_spans_exported", "Spans that the collector took", exported)?;
        page.count("trace_exports_failed", "Exports of spans that failed", failed)?;
        page.gauge("process_resident_memory_bytes", "Resident memory of the process", process_memory_bytes())
    }
}

impl Sources {
    fn put_upkeep(&self, page: &mut Page<'_>) -> fmt::Result {
        let Upkeep { checkpoints, scrubs, differences } = self.authorizer.upkeep();
        for (one, what, rounds) in [("checkpoint", "Checkpoints", checkpoints), ("scrub", "Scrubs", scrubs)] {
            let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
            page.count(&format!("{one}s"), &format!("{what} done since the start"), load(&rounds.done))?;
            page.count(&format!("{one}s_failed"), &format!("{what} that failed"), load(&rounds.failed))?;
            let last = u64::try_from(rounds.last_done_seconds.load(Ordering::Relaxed)).unwrap_or(0);
            let when = format!("{what}: when the last one was done; 0 without one since the start");
            page.gauge(&format!("{one}_last_success_timestamp_seconds"), &when, last)?;
            let took = Duration::from_micros(load(&rounds.last_took_micros));
            page.seconds(&format!("{one}_last_duration_seconds"), &format!("{what}: how long that one took"), took)?;
        }
        let found = differences.load(Ordering::Relaxed);
        page.gauge("scrub_differences", "What the last scrub found not to agree", found)
    }

    fn put_authorizer(&self, page: &mut Page<'_>) -> fmt::Result {
        let authorizer = &self.authorizer;
        let (datastore, counters) = (authorizer.datastore(), authorizer.counters());
        page.gauge("revision_head", "Newest revision", datastore.head().0)?;
        page.gauge("revision_floor", "Oldest readable revision", datastore.floor().0)?;

        let index = authorizer.index_stats();
        page.gauge("index_bytes", "Memory of the resident index", index.bytes as u64)?;
        page.gauge("index_relationships", "Relationships in the resident index", index.edges)?;
        page.gauge("index_stores_resident", "Stores that the index holds", index.resident as u64)?;
        page.gauge("index_stores_outgrown", "Stores that did not fit into the index", index.outgrown as u64)?;
        page.gauge("schemas_compiled", "Versions of schemas that are kept compiled", authorizer.plans_cached() as u64)?;
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        page.count("checks_resident", "Checks answered from the index", load(&counters.checks_resident))?;
        page.count("checks_stored", "Checks answered from the store", load(&counters.checks_stored))?;
        page.count("checks_rerun", "Checks moved to the pool", load(&counters.checks_rerun))?;
        let cut = load(&counters.explanations_cut);
        page.count("explanations_cut", "Explanations whose search ended at its limit", cut)?;
        page.count("foreign_tokens", "Tokens of other instances", load(&counters.foreign_tokens))?;

        let sets = &authorizer.sets().stats;
        let held = |gauge: &AtomicI64| u64::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0);
        page.gauge("materialize_sets", "Permission sets that have a child", held(&sets.sets))?;
        page.gauge("materialize_children", "Members and child sets of permission sets", held(&sets.members))?;
        page.gauge(
            "materialize_undecided",
            "Children left out of permission sets: a caveat, or a wildcard with exceptions",
            held(&sets.undecided),
        )?;
        let behind = datastore.head().0.saturating_sub(sets.completed.load(Ordering::Relaxed));
        let lag = if authorizer.materialized().is_empty() { 0 } else { behind };
        page.gauge("materialize_lag_revisions", "Revisions that the counts of permission sets are behind", lag)?;
        let failures = load(&sets.failures);
        page.count("materialize_failures", "Changes of permission sets that could not be followed", failures)?;

        let (streams, slowest) = authorizer.sets().streams();
        let stream_lag = slowest.map_or(0, |slowest| datastore.head().0.saturating_sub(slowest.0));
        page.gauge("materialize_streams", "Streams of changes of permission sets under way", streams)?;
        page.gauge(
            "materialize_stream_lag_revisions",
            "Revisions that the slowest stream of changes of permission sets is behind the newest",
            stream_lag,
        )?;
        let held = authorizer.sets().held_bytes();
        page.gauge("materialize_bytes", "Memory that all who follow permission sets hold together", held)?;

        let watches = authorizer.watchers().stats();
        let (registered, counter_lag) = authorizer.counter_stats();
        let watch_lag = watches.slowest.map_or(0, |slowest| datastore.head().0.saturating_sub(slowest.0));
        page.gauge("watchers", "Watches under way", watches.watchers)?;
        page.gauge("watch_lag_revisions", "Revisions that the slowest watch is behind the newest", watch_lag)?;
        page.count("watch_events", "Updates handed to watches", watches.events)?;
        page.count("watch_disconnects", "Watches ended because nobody read them", watches.disconnected)?;
        page.gauge("relationship_counters", "Relationship counters registered", registered)?;
        page.gauge(
            "relationship_counter_lag_revisions",
            "Revisions that the counters are behind the newest",
            counter_lag,
        )?;
        let passed = load(&counters.moments_passed);
        page.count("moments_passed", "Relationships that began or ended by the passing of time", passed)?;
        page.count("expired_removed", "Expired relationships removed from storage", load(&counters.expired_removed))?;

        let counts = authorizer.admission().counts();
        page.gauge("calls_running", "Calls let in and not yet ended", counts.running)?;
        page.gauge("calls_running_heavy", "Heavy calls among them", counts.running_heavy)?;
        let refused = [("concurrency", counts.refused_for_calls), ("memory", counts.refused_for_memory)];
        page.counts("calls_refused", "Calls refused at the door, by reason", "reason", refused)?;

        let (backward, forward_refused) = authorizer.clock().steps();
        page.count("clock_backward_steps", "Readings of the clock before an earlier one", backward)?;
        page.count("clock_forward_steps_refused", "Readings of the clock too far ahead", forward_refused)?;
        let unkept = authorizer.clock().told_unkept();
        page.count("clock_told_unkept", "Readings of the clock beyond what is written down of it", unkept)
    }

    fn put_limits(&self, page: &mut Page<'_>) -> fmt::Result {
        let limits = self.authorizer.limits().named();
        page.gauges("limit", "Limits on calls and work, by name; 0 for none", "limit", limits)?;
        let mut hits = stonetown_api::limit_hits();
        for (name, _) in limits {
            hits.entry(name).or_default();
        }
        page.counts("limit_hits", "Calls and items refused at a limit, by its name", "limit", hits)
    }
}

/// The keys of issuers of tokens.
fn put_issuers(page: &mut Page<'_>, issuers: &Issuers) -> fmt::Result {
    let sum = |number: fn(&KeysState<'_>) -> u64| issuers.states().map(|state| number(&state)).sum();
    page.count("oidc_key_refreshes", "Times that the keys of an issuer were had", sum(|of| of.refreshes))?;
    let failed = sum(|of| of.failures);
    page.count("oidc_key_refreshes_failed", "Times that the keys of an issuer could not be had", failed)?;
    let ages = issuers.states().filter_map(|state| Some((state.issuer, state.age?.as_secs())));
    page.gauges("oidc_keys_age_seconds", "Time since the keys of an issuer were had", "issuer", ages)
}

/// Those who are told what becomes of grants, by their number among the settings.
fn put_webhooks(page: &mut Page<'_>, webhooks: &Webhooks, head: u64) -> fmt::Result {
    let states: Vec<_> = webhooks.states().map(|state| (state.number.to_string(), state)).collect();
    let sum = |number: fn(&WebhookState) -> u64| states.iter().map(|(_, state)| number(state)).sum();
    page.count("grant_webhook_deliveries", "Messages that webhooks have taken", sum(|of| of.delivered))?;
    let failed = sum(|of| of.failed);
    page.count("grant_webhook_deliveries_failed", "Times that a webhook did not take a message", failed)?;
    let given_up = sum(|of| of.given_up);
    page.count("grant_webhook_given_up", "Times that a webhook was not told in time", given_up)?;
    let by = |value: fn(&WebhookState) -> u64| states.iter().map(move |(number, state)| (&**number, value(state)));
    let help = "Age of what a webhook has not taken yet";
    let waiting = by(|of| of.waiting.unwrap_or_default().as_secs());
    page.gauges("grant_webhook_waiting_seconds", help, "webhook", waiting)?;
    let behind = by(|of| of.position).map(|(number, position)| (number, head.saturating_sub(position)));
    page.gauges("grant_webhook_revisions_behind", "Revisions that a webhook was not told of yet", "webhook", behind)
}

fn put_usage(page: &mut Page<'_>, usage: &Usage) -> fmt::Result {
    page.gauge("datastore_disk_bytes", "Bytes of the data on disk", usage.disk_bytes)?;
    if let Some(free) = usage.disk_free_bytes {
        page.gauge("datastore_disk_free_bytes", "Bytes that the disk of the data has left", free)?;
    }
    page.gauge("datastore_log_entries", "Entries of the transaction log", usage.log_entries)?;
    page.gauge("datastore_queued_writes", "Transactions waiting to be committed", usage.queued)?;
    page.count("datastore_commits", "Transactions committed", usage.commits)?;
    page.distribution("datastore_group_transactions", "Transactions synced at once", &usage.group_transactions)?;
    page.distribution("datastore_group_bytes", "Bytes synced at once", &usage.group_bytes)?;
    page.distribution("datastore_sync_duration_seconds", "Time of writing and syncing", &usage.group_seconds)?;
    page.gauge("datastore_snapshots_open", "Snapshots that hold garbage back", usage.snapshots)?;
    page.gauge("datastore_buffered_bytes", "Bytes written and not yet in tables", usage.buffered_bytes)?;
    page.gauge("datastore_block_cache_bytes", "Bytes of stored blocks kept in memory", usage.block_cache_bytes)?;
    page.gauge("datastore_name_cache_bytes", "Bytes of object names kept in memory", usage.name_cache_bytes)?;
    page.gauge(
        "datastore_pending_compaction_bytes",
        "Bytes that compaction has yet to rewrite",
        usage.pending_compaction_bytes,
    )?;
    page.gauge("datastore_uncompacted_files", "Files that no compaction has looked at", usage.uncompacted_files)?;
    page.gauge("datastore_writes_stalled", "1 while writes wait for compaction", u64::from(usage.writes_stalled))?;
    page.gauge("datastore_background_errors", "Failures of work in the background", usage.background_errors)
}

/// The logs of decisions and changes.
fn put_audit(page: &mut Page<'_>, recorder: &Recorder, head: u64) -> fmt::Result {
    let counters = recorder.counters();
    let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
    page.gauge("audit_queue_bytes", "Bytes of decisions that wait to be written", recorder.queued_bytes() as u64)?;
    page.gauge("audit_unsynced", "Decisions written and not synced", load(&counters.unsynced))?;
    let lag = head.saturating_sub(recorder.position().0);
    page.gauge("audit_changes_lag", "Commits that are not in the log of changes", lag)?;
    page.gauge("audit_failing", "1 while the logs cannot be written", load(&counters.failing))?;
    page.count("audit_decisions", "Records written to the log of decisions", load(&counters.decisions))?;
    page.count("audit_changes", "Records written to the log of changes", load(&counters.changes))?;
    page.count("audit_lost", "Decisions that the log lacks, of which it says so", load(&counters.lost))?;
    page.count("audit_strict", "Records that calls waited for", load(&counters.strict))?;
    page.count(
        "audit_strict_wait_microseconds",
        "Time that calls waited for them",
        load(&counters.strict_wait_micros),
    )?;
    page.gauge("audit_strict_waiting", "Calls that wait for their record", load(&counters.strict_waiting))?;
    page.count("audit_refused", "Calls refused as their record could not be synced", load(&counters.refused))?;
    page.count("audit_syncs", "Syncs of the log of decisions", load(&counters.syncs))?;
    page.count("audit_sync_microseconds", "Time that these syncs took", load(&counters.sync_micros))
}

/// What is written to.
pub(crate) struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        let metric = ConstGauge::new(value.as_secs_f64());
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    pub(crate) fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = ConstCounter::new(value);
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(family.encode_family(&[(label, of)])?)?;
        }
        Ok(())
    }

    fn counts(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&[(label, of)])?)?;
        }
        Ok(())
    }

    pub(crate) fn distribution(&mut self, name: &str, help: &str, values: &Distribution) -> fmt::Result {
        // Whoever measures nothing has no classes; the format wants the last one all the same.
        let none = [(f64::MAX, 0)];
        let classes = if values.classes.is_empty() { &none[..] } else { &values.classes };
        let mut encoder: MetricEncoder<'_> = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(values.sum, values.count(), classes, None)
    }
}
