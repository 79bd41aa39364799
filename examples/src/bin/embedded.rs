//! Stonetown inside a program, without a server: a schema, two relationships, a check and its reason.

use std::sync::Arc;

use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Authorizer, Call, Effort, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::{CaveatContext, Consistency, Operation, RelationshipUpdate};

const SCHEMA: &str = "
definition agent {}

definition namespace {
  relation operator: agent
}

definition container {
  relation namespace: namespace
  permission restart = namespace->operator
}
";

fn main() -> anyhow::Result<()> {
    let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default())?;
    let call = Call::new("embedded example");
    authorizer.write_schema(&call, SCHEMA)?;

    let relationships = ["container:web-1#namespace@namespace:staging", "namespace:staging#operator@agent:7"];
    let updates =
        relationships.map(|text| Ok(RelationshipUpdate { operation: Operation::Touch, relationship: text.parse()? }));
    let updates = updates.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let token = authorizer.write(&call, &WriteRequest { updates, ..WriteRequest::default() })?;

    for agent in ["agent:7", "agent:8"] {
        let request = CheckRequest {
            // Never older than the write just made.
            freshness: Consistency::AtLeastAsFresh(token).into(),
            resource: "container:web-1".parse()?,
            permission: "restart".parse()?,
            subject: agent.parse()?,
            context: CaveatContext::new(),
            with: Vec::new(),
            trace: false,
        };
        let answer = authorizer.check(&call, &request, Effort::Full)?;
        println!("may {agent} restart container:web-1? {:?}", answer.membership);
    }
    Ok(())
}
