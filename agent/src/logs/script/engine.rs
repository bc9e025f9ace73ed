//! The interpreter, one for all rules and threads: what a script can call, and how much of it.

use super::{json, patterns};
use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map, Position};
use std::sync::LazyLock;

pub type Failed = Box<EvalAltResult>;

/// Of one line; a loop without end takes some milliseconds.
const OPERATIONS_MAX: u64 = 100_000;

/// All text of one value, in bytes: four of the longest lines.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Values in an array or map, those within counted. Sizes are counted by recursion, so that this bounds a stack as well.
const VALUES_MAX: usize = 4_096;

const CALLS_MAX: usize = 16;

/// Made when the first rule has a script: nobody else pays for it.
pub static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

fn engine() -> Engine {
    // Raw: nothing to print with. Of the packages not the language's core, whose `sleep` would hold up all files.
    let mut engine = Engine::new_raw();
    for package in [
        ArithmeticPackage::new().as_shared_module(),
        BasicStringPackage::new().as_shared_module(),
        BasicIteratorPackage::new().as_shared_module(),
        BasicFnPackage::new().as_shared_module(),
        LogicPackage::new().as_shared_module(),
        BasicMathPackage::new().as_shared_module(),
        BasicArrayPackage::new().as_shared_module(),
        BasicMapPackage::new().as_shared_module(),
        MoreStringPackage::new().as_shared_module(),
    ] {
        engine.register_global_module(package);
    }
    for word in ["eval", "print", "debug"] {
        engine.disable_symbol(word);
    }
    engine.set_strict_variables(true);
    engine.set_max_operations(OPERATIONS_MAX);
    engine.set_max_string_size(TEXT_BYTES_MAX);
    engine.set_max_array_size(VALUES_MAX);
    engine.set_max_map_size(VALUES_MAX);
    engine.set_max_call_levels(CALLS_MAX);
    engine.set_max_expr_depths(64, 32);
    // It ends all that is under way, and no script can catch it.
    engine.register_fn("drop", || -> Result<(), Failed> {
        Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into())
    });
    engine.register_fn("matches", |text: &str, regex: &str| -> Result<bool, Failed> {
        Ok(patterns::regex(regex)?.is_match(text))
    });
    engine.register_fn(
        "replace",
        |text: &mut ImmutableString, regex: &str, with: &str| -> Result<ImmutableString, Failed> {
            if let Some(changed) = patterns::replaced(text, &*patterns::regex(regex)?, with)? {
                *text = changed.into();
            }
            Ok(text.clone())
        },
    );
    engine.register_fn("json", |text: &str| json::read(text).map_err(Failed::from));
    engine.register_fn("to_json", |value: Dynamic| json::write(&value).map_err(Failed::from));
    // Of maps the package has one, whose quotes are not JSON's.
    engine.register_fn("to_json", |map: Map| json::write(&map.into()).map_err(Failed::from));
    engine
}
