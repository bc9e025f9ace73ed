use super::*;
use std::collections::BTreeSet;

fn walk<'c>(call: &'c Call, seen: &mut Vec<&'c Call>) {
    seen.push(call);
    call.calls.iter().for_each(|child| walk(child, seen));
}

#[test]
fn the_shop_has_45_services_and_every_one_takes_part() {
    let names: BTreeSet<&str> = SERVICES.iter().map(|service| service.name).collect();
    assert_eq!(names.len(), 45);
    let flows = flows(SLOW_SERVICE);
    let mut calls = Vec::new();
    flows.iter().for_each(|flow| walk(&flow.root, &mut calls));
    let called: BTreeSet<&str> = calls.iter().map(|call| call.service).collect();
    assert_eq!(called, names, "every service is called, and nothing else is");
}

#[test]
fn every_flow_goes_through_the_pool_exactly_once() {
    for flow in flows(SLOW_SERVICE) {
        let mut calls = Vec::new();
        walk(&flow.root, &mut calls);
        let pooled = calls.iter().filter(|call| matches!(call.op, Op::Database { pooled: true, .. })).count();
        assert_eq!(pooled, 1, "{}", flow.root.service);
    }
}
