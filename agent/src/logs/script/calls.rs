//! What a script calls, looked at when it is read: the language looks for a function when it comes to the call, which may be
//! at one line a month.

use super::Mistake;
use super::engine::ENGINE;
use rhai::{AST, ASTNode, Expr, FuncInfo, ImmutableString, Position, Stmt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// What the interpreter does itself, with more values or fewer.
const OF_THE_LANGUAGE: [&str; 6] = ["Fn", "call", "curry", "is_def_fn", "is_def_var", "type_of"];

/// The functions that there are, and how many values each takes.
static KNOWN: LazyLock<BTreeMap<String, BTreeSet<usize>>> = LazyLock::new(|| {
    let told = |one: FuncInfo<'_>| Some((one.metadata.name.to_string(), one.metadata.num_params));
    let mut known: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (name, values) in ENGINE.collect_fn_metadata(None, told, true) {
        known.entry(name).or_default().insert(values);
    }
    known
});

struct Call {
    name: ImmutableString,
    values: usize,
    /// With what is before the dot as one value more.
    is_method: bool,
    place: Position,
}

/// The first call of what is not there.
pub fn check(ast: &AST) -> Result<(), Mistake> {
    let own: BTreeSet<(&str, usize)> = ast.iter_functions().map(|one| (one.name, one.params.len())).collect();
    let calls = calls(ast);
    // A map may hold functions: what is behind its dot is known when it is called.
    let makes_functions = own.iter().any(|(name, _)| name.starts_with("anon$"))
        || calls.iter().any(|call| call.name.as_str() == "Fn");
    for Call { name, values, is_method, place } in calls {
        let name = name.as_str();
        let taken = values + usize::from(is_method);
        let mut takes = KNOWN.get(name).cloned().unwrap_or_default();
        let is_there = takes.contains(&taken)
            || own.contains(&(name, values))
            || OF_THE_LANGUAGE.contains(&name)
            || is_method && makes_functions;
        if is_there {
            continue;
        }
        takes.extend(own.iter().filter(|(own, _)| *own == name).map(|(_, values)| values));
        let what = if takes.is_empty() {
            format!("there is no function {name}")
        } else {
            let takes: Vec<String> = takes.iter().map(ToString::to_string).collect();
            format!("{name} takes {} and not {taken} values", takes.join(" or "))
        };
        return Err(Mistake { place, what });
    }
    Ok(())
}

fn calls(ast: &AST) -> Vec<Call> {
    let mut calls = vec![];
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        let (call, is_method, place) = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, place)) | ASTNode::Stmt(Stmt::FnCall(call, place))) => {
                (call, false, *place)
            }
            Some(ASTNode::Expr(Expr::MethodCall(call, place))) => (call, true, *place),
            _ => return true,
        };
        // Signs are functions too.
        if call.op_token.is_none() {
            calls.push(Call { name: call.name.clone(), values: call.args.len(), is_method, place });
        }
        true
    });
    calls
}
