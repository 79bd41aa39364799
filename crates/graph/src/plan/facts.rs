//! What follows from the nodes alone: who depends on whom, who can be a member of what, what is mere reachability.

use super::{BitSet, Body, Expression, Node, NodeId, PlanTable, Step, SubjectClass, Use, Walk};

pub(super) fn derive(nodes: &mut [Node], tables: &[PlanTable], types: usize) {
    let edges: Vec<Vec<Dependency>> = nodes.iter().map(|node| dependencies(node, tables)).collect();
    derive_uses(nodes, &edges);
    derive_components(nodes, &edges);
    derive_subjects(nodes, tables, types);
    derive_exclusions(nodes);
    derive_monotone(nodes, &edges);
    for index in 0..nodes.len() {
        if nodes[index].monotone {
            nodes[index].walk = Some(unfold(nodes, tables, NodeId(index as u32)));
        }
    }
}

/// That one node mentions another.
struct Dependency {
    on: NodeId,
    used: Use,
}

fn dependencies(node: &Node, tables: &[PlanTable]) -> Vec<Dependency> {
    let mut found = Vec::new();
    match &node.body {
        Body::Relation(slots) => {
            for slot in slots {
                if let SubjectClass::Userset(on) = tables[slot.0 as usize].class {
                    found.push(Dependency { on, used: Use::Userset(*slot) });
                }
            }
        }
        Body::Permission(expression) => {
            // The number of the node itself: an expression does not know it, so it is filled in by `derive_uses`.
            mentions(expression, NodeId(u32::MAX), &mut found);
        }
    }
    found
}

fn mentions(expression: &Expression, permission: NodeId, found: &mut Vec<Dependency>) {
    match expression {
        Expression::Nil | Expression::Itself => {}
        Expression::Node(on) => found.push(Dependency { on: *on, used: Use::Computed(permission) }),
        Expression::Arrow(arrow) => {
            let all = arrow.all;
            for hop in &arrow.hops {
                if let Some(on) = hop.target {
                    found.push(Dependency { on, used: Use::Arrow { table: hop.table, permission, all } });
                }
            }
        }
        Expression::Union(operands) | Expression::Intersection(operands) => {
            operands.iter().for_each(|operand| mentions(operand, permission, found));
        }
        Expression::Exclusion(exclusion) => {
            mentions(&exclusion.left, permission, found);
            mentions(&exclusion.right, permission, found);
        }
    }
}

fn derive_uses(nodes: &mut [Node], edges: &[Vec<Dependency>]) {
    for (of, user) in edges.iter().zip((0..).map(NodeId)) {
        for Dependency { on, used } in of {
            let used = match *used {
                Use::Computed(_) => Use::Computed(user),
                Use::Userset(slot) => Use::Userset(slot),
                Use::Arrow { table, all, .. } => Use::Arrow { table, permission: user, all },
            };
            let uses = &mut nodes[on.0 as usize].uses;
            if !uses.contains(&used) {
                uses.push(used);
            }
        }
    }
}

/// Components, in the order in which Tarjan's algorithm closes them: dependencies first.
fn derive_components(nodes: &mut [Node], edges: &[Vec<Dependency>]) {
    let count = nodes.len();
    let components = components(edges);
    for component in components.iter().zip(0..) {
        let (members, number) = component;
        let mut depends = BitSet::new(count);
        let mut recursive = members.len() > 1;
        for member in members {
            depends.insert(*member);
            for Dependency { on, .. } in &edges[*member as usize] {
                recursive |= on.0 == *member;
                if !members.contains(&on.0) {
                    depends.insert_all(&nodes[on.0 as usize].depends);
                }
            }
        }
        for member in members {
            let node = &mut nodes[*member as usize];
            node.component = number;
            node.recursive = recursive;
            node.depends = depends.clone();
        }
    }
}

fn components(edges: &[Vec<Dependency>]) -> Vec<Vec<u32>> {
    const NEW: u32 = u32::MAX;
    let count = edges.len();
    let (mut index, mut low, mut open) = (vec![NEW; count], vec![0; count], vec![false; count]);
    let (mut next, mut stack, mut closed) = (0, Vec::new(), Vec::new());
    for root in 0..count {
        if index[root] != NEW {
            continue;
        }
        // Each entry: a node, and how many of its dependencies have been entered.
        let mut path = vec![(root, 0)];
        while let Some((node, done)) = path.pop() {
            if done == 0 {
                index[node] = next;
                low[node] = next;
                next += 1;
                stack.push(node as u32);
                open[node] = true;
            } else {
                let child = edges[node][done - 1].on.0 as usize;
                if open[child] {
                    low[node] = low[node].min(low[child]);
                }
            }
            let unseen = edges[node][done..].iter().position(|edge| {
                let child = edge.on.0 as usize;
                if index[child] != NEW && open[child] {
                    low[node] = low[node].min(index[child]);
                }
                index[child] == NEW
            });
            if let Some(offset) = unseen {
                path.push((node, done + offset + 1));
                path.push((edges[node][done + offset].on.0 as usize, 0));
            } else if low[node] == index[node] {
                let start = stack.iter().rposition(|member| *member == node as u32).unwrap_or(0);
                let members = stack.split_off(start);
                members.iter().for_each(|member| open[*member as usize] = false);
                closed.push(members);
            }
        }
    }
    closed
}

/// Which subjects can be members at all: the least sets that the bodies allow.
fn derive_subjects(nodes: &mut [Node], tables: &[PlanTable], types: usize) {
    let count = nodes.len();
    let mut of_types = vec![BitSet::new(types); count];
    let mut of_nodes = vec![BitSet::new(count); count];
    for (own, number) in of_nodes.iter_mut().zip(0..) {
        own.insert(number);
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|index| nodes[*index].component);
    let mut changed = true;
    while changed {
        changed = false;
        for &index in &order {
            let (more_types, more_nodes) = match &nodes[index].body {
                Body::Relation(slots) => {
                    let (mut more_types, mut more_nodes) = (BitSet::new(types), BitSet::new(count));
                    for slot in slots {
                        match tables[slot.0 as usize].class {
                            SubjectClass::Object(subject_type) => more_types.insert(subject_type.0),
                            SubjectClass::Userset(node) => {
                                more_types.insert_all(&of_types[node.0 as usize]);
                                more_nodes.insert_all(&of_nodes[node.0 as usize]);
                            }
                        }
                    }
                    (more_types, more_nodes)
                }
                Body::Permission(expression) => (
                    subjects(expression, &of_types, types, Some(nodes[index].owner.0)),
                    subjects(expression, &of_nodes, count, None),
                ),
            };
            changed |= of_types[index].insert_all(&more_types);
            changed |= of_nodes[index].insert_all(&more_nodes);
        }
    }
    for ((node, types), usersets) in nodes.iter_mut().zip(of_types).zip(of_nodes) {
        node.subject_types = types;
        node.subject_nodes = usersets;
    }
}

/// The subjects of an expression, given those of all nodes. `itself` is the owner's number among object types.
fn subjects(expression: &Expression, of: &[BitSet], bound: usize, itself: Option<u32>) -> BitSet {
    let mut found = BitSet::new(bound);
    match expression {
        Expression::Nil => {}
        Expression::Itself => itself.iter().for_each(|owner| found.insert(*owner)),
        Expression::Node(node) => found = of[node.0 as usize].clone(),
        Expression::Arrow(arrow) => {
            for target in arrow.hops.iter().filter_map(|hop| hop.target) {
                found.insert_all(&of[target.0 as usize]);
            }
        }
        Expression::Union(operands) => {
            for operand in operands {
                found.insert_all(&subjects(operand, of, bound, itself));
            }
        }
        Expression::Intersection(operands) => {
            let mut operands = operands.iter().map(|operand| subjects(operand, of, bound, itself));
            found = operands.next().unwrap_or(found);
            operands.for_each(|operand| found.retain_all(&operand));
        }
        Expression::Exclusion(exclusion) => found = subjects(&exclusion.left, of, bound, itself),
    }
    found
}

/// Marks the exclusions whose right side can lead back to their own permission.
fn derive_exclusions(nodes: &mut [Node]) {
    for index in 0..nodes.len() {
        let body = std::mem::replace(&mut nodes[index].body, Body::Relation(Vec::new()));
        nodes[index].body = match body {
            Body::Permission(mut expression) => {
                mark_exclusions(&mut expression, index as u32, nodes);
                Body::Permission(expression)
            }
            relation @ Body::Relation(_) => relation,
        };
    }
}

fn mark_exclusions(expression: &mut Expression, owner: u32, nodes: &[Node]) {
    match expression {
        Expression::Nil | Expression::Itself | Expression::Node(_) | Expression::Arrow(_) => {}
        Expression::Union(operands) | Expression::Intersection(operands) => {
            operands.iter_mut().for_each(|operand| mark_exclusions(operand, owner, nodes));
        }
        Expression::Exclusion(exclusion) => {
            mark_exclusions(&mut exclusion.left, owner, nodes);
            mark_exclusions(&mut exclusion.right, owner, nodes);
            let mut found = Vec::new();
            mentions(&exclusion.right, NodeId(owner), &mut found);
            exclusion.cyclic = found.iter().any(|edge| nodes[edge.on.0 as usize].depends.contains(owner));
        }
    }
}

fn derive_monotone(nodes: &mut [Node], edges: &[Vec<Dependency>]) {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|index| nodes[*index].component);
    for group in
        order.chunk_by(|a, b| nodes[*a].component == nodes[*b].component).map(<[usize]>::to_vec).collect::<Vec<_>>()
    {
        let own = |index: &usize| match &nodes[*index].body {
            Body::Relation(_) => true,
            Body::Permission(expression) => is_monotone(expression),
        };
        let below = |index: &usize| {
            edges[*index].iter().all(|edge| group.contains(&(edge.on.0 as usize)) || nodes[edge.on.0 as usize].monotone)
        };
        let monotone = group.iter().all(own) && group.iter().all(below);
        group.iter().for_each(|index| nodes[*index].monotone = monotone);
    }
}

fn is_monotone(expression: &Expression) -> bool {
    match expression {
        Expression::Nil | Expression::Itself | Expression::Node(_) => true,
        Expression::Arrow(arrow) => !arrow.all,
        Expression::Union(operands) => operands.iter().all(is_monotone),
        Expression::Intersection(_) | Expression::Exclusion(_) => false,
    }
}

/// Follows computed usersets of a monotone node until only tables and arrows are left.
fn unfold(nodes: &[Node], tables: &[PlanTable], start: NodeId) -> Walk {
    let mut walk = Walk { direct: Vec::new(), steps: Vec::new(), itself: false, nodes: BitSet::new(nodes.len()) };
    let mut arrows = Vec::new();
    walk.nodes.insert(start.0);
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        match &nodes[node.0 as usize].body {
            Body::Relation(slots) => {
                for slot in slots {
                    match tables[slot.0 as usize].class {
                        SubjectClass::Object(_) => walk.direct.push(*slot),
                        SubjectClass::Userset(target) => walk.steps.push(Step { table: *slot, target }),
                    }
                }
            }
            Body::Permission(expression) => unfold_expression(expression, &mut walk, &mut arrows, &mut open),
        }
    }
    walk.steps.append(&mut arrows);
    walk
}

fn unfold_expression(expression: &Expression, walk: &mut Walk, arrows: &mut Vec<Step>, open: &mut Vec<NodeId>) {
    match expression {
        Expression::Itself => walk.itself = true,
        Expression::Node(node) => {
            if !walk.nodes.contains(node.0) {
                walk.nodes.insert(node.0);
                open.push(*node);
            }
        }
        Expression::Arrow(arrow) => {
            for hop in &arrow.hops {
                let step = hop.target.map(|target| Step { table: hop.table, target });
                arrows.extend(step.filter(|step| !arrows.contains(step)));
            }
        }
        Expression::Union(operands) => {
            operands.iter().for_each(|operand| unfold_expression(operand, walk, arrows, open));
        }
        Expression::Nil | Expression::Intersection(_) | Expression::Exclusion(_) => {}
    }
}
