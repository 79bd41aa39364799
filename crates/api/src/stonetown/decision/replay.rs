//! Explain of a decision out of the log.

use stonetown_authorizer::replay::{Logged, Obstacle, Outcome as Recorded, Replay};
use tonic::{Response, Status};

use super::explain;
use crate::calls::{Calls, Pool};
use crate::convert::{At, FieldError, timestamp_to_wire};
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::proto::stonetown::v1::freshness::Requirement::AtLeast;
use crate::token;

pub(super) async fn answer(
    calls: &Calls,
    mut incoming: Incoming,
    number: u64,
    message: wire::ExplainRequest,
) -> Result<Response<wire::ExplainResponse>, Status> {
    let misses = explain::misses(message.misses);
    // That the answer is not to be older than something is what clients say of every question; a decision has its own state.
    let freshness = message.freshness.clone().filter(|freshness| matches!(freshness.requirement, Some(AtLeast(_))));
    let alone =
        wire::ExplainRequest { decision: Some(number), misses: message.misses, freshness, ..Default::default() };
    if message != alone {
        return Err(FieldError::new("goes with no question")).at("decision")?;
    }
    let _cancel = incoming.cancel_on_drop();
    let call = incoming.call.clone();
    let replay = calls.run(Pool::Heavy, move |authorizer| authorizer.explain_decision(&call, number, misses)).await?;
    if let Ok(again) = &replay.again {
        let work = again.reasons.answer.work;
        incoming.cost.add(work.subproblems.max(1), work.cached);
    }
    Ok(Response::new(to_wire(replay)))
}

fn to_wire(replay: Replay) -> wire::ExplainResponse {
    let Replay { decision, again, reproduces } = replay;
    let told = told(decision);
    match again {
        Ok(again) => {
            let replay = Some(wire::Replay { reproduces, ..told });
            wire::ExplainResponse { replay, ..explain::to_wire(again) }
        }
        Err(obstacle) => {
            let why_not = obstacle.to_string();
            let (obstacle, masked) = match obstacle {
                Obstacle::Masked(names) => (wire::Obstacle::Masked, names),
                Obstacle::Erased => (wire::Obstacle::Erased, Vec::new()),
                Obstacle::NotKept => (wire::Obstacle::StateNotKept, Vec::new()),
                Obstacle::Overlaid => (wire::Obstacle::Overlaid, Vec::new()),
                Obstacle::CutOff => (wire::Obstacle::CutOff, Vec::new()),
                Obstacle::NoAnswer => (wire::Obstacle::NoAnswer, Vec::new()),
            };
            let replay = Some(wire::Replay { obstacle: obstacle.into(), why_not, masked, ..told });
            wire::ExplainResponse { replay, ..Default::default() }
        }
    }
}

/// What the log says.
fn told(decision: Logged) -> wire::Replay {
    let recorded = match decision.outcome {
        Recorded::Allowed => wire::Outcome::Allowed,
        Recorded::Denied => wire::Outcome::Denied,
        Recorded::Conditional => wire::Outcome::Conditional,
        Recorded::Answered | Recorded::Failed | Recorded::Begun => wire::Outcome::Unspecified,
    };
    wire::Replay {
        decision: decision.number,
        question: decision.question,
        recorded: recorded.into(),
        reason: decision.reason,
        decided_at: Some(timestamp_to_wire(decision.time)),
        judged_at: Some(timestamp_to_wire(decision.judged_at)),
        token: token::encode(decision.at).token,
        caller: decision.caller,
        actors: decision.actors,
        node: decision.node,
        build: decision.build,
        ..Default::default()
    }
}
