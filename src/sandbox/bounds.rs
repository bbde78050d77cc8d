//! Bounds on a module, checked before it is compiled: compiling cannot be interrupted, and small modules can make it take
//! any time and memory.
//!
//! A compiler's work grows faster than a function does, with loops, branches, locals and calls. So the work for each
//! function is estimated from above, by a formula whose terms were each fitted to modules made of one construct only: some
//! fifty kinds, in one large function, in a few and in many. The worst module within the bounds took 1.6 s and 112 MB
//! (wasmtime 48, one thread of an AMD EPYC); without them 64 KB can take two minutes, and 1 MB two gigabytes. The built-in
//! parser takes 40 ms.

use std::ops::AddAssign;

use wasmparser::{BlockType, FunctionBody, Operator, Parser, Payload};

use super::engine::LoadError;
use super::quote::quote;

/// The most bytes of a module file.
pub const MAX_MODULE_BYTES: usize = 4 << 20;
/// Bytes of one function: they decide how much memory the compiler needs at once.
const MAX_BODY_BYTES: u64 = 48 << 10;
const MAX_FUNCTIONS: u64 = 4096;
const MAX_TYPES: u64 = 1000;
/// Parameters and results of one type.
const MAX_ARITY: u64 = 32;
/// Functions listed in element segments: each needs an entry of its own.
const MAX_ELEMENTS: u64 = 4096;
/// Exports; globals; data segments; element segments.
const MAX_ITEMS: u64 = 1000;
/// Estimated microseconds for one function, and for all.
const MAX_FUNCTION_MICROS: u64 = 500_000;
const MAX_MICROS: u64 = 2_000_000;

/// Checks a module before it is compiled.
///
/// # Errors
/// The bound that it exceeds, with its value and the limit; an import; or why it cannot be read.
pub(super) fn check(wasm: &[u8]) -> Result<(), LoadError> {
    within("bytes", wasm.len() as u64, MAX_MODULE_BYTES as u64)?;
    let broken = |error: wasmparser::BinaryReaderError| LoadError::Broken(quote(&error.to_string()));
    let mut shape = Shape::default();
    let mut bodies = 0;
    let mut micros = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(broken)? {
            Payload::TypeSection(types) => {
                within("types", u64::from(types.count()), MAX_TYPES)?;
                for ty in types.into_iter_err_on_gc_types() {
                    let ty = ty.map_err(broken)?;
                    let arity = (ty.params().len() + ty.results().len()) as u64;
                    within("parameters and results in one type", arity, MAX_ARITY)?;
                    shape.arities.push(arity);
                }
            }
            Payload::ImportSection(imports) => {
                if let Some(import) = imports.into_imports().next() {
                    let import = import.map_err(broken)?;
                    return Err(LoadError::Import { module: quote(import.module), name: quote(import.name) });
                }
            }
            Payload::FunctionSection(functions) => {
                within("functions", u64::from(functions.count()), MAX_FUNCTIONS)?;
                shape.functions = functions.into_iter().collect::<Result<_, _>>().map_err(broken)?;
            }
            Payload::GlobalSection(globals) => within("globals", u64::from(globals.count()), MAX_ITEMS)?,
            Payload::ExportSection(exports) => within("exports", u64::from(exports.count()), MAX_ITEMS)?,
            Payload::DataSection(data) => within("data segments", u64::from(data.count()), MAX_ITEMS)?,
            Payload::ElementSection(elements) => {
                within("element segments", u64::from(elements.count()), MAX_ITEMS)?;
                let mut sum = 0;
                for element in elements {
                    sum += match element.map_err(broken)?.items {
                        wasmparser::ElementItems::Functions(items) => u64::from(items.count()),
                        wasmparser::ElementItems::Expressions(_, items) => u64::from(items.count()),
                    };
                    within("elements", sum, MAX_ELEMENTS)?;
                }
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                within("bytes in one function", (range.end - range.start) as u64, MAX_BODY_BYTES)?;
                let own = shape.arity_of_function(bodies);
                let cost = Cost::of(&body, own, &shape).map_err(broken)?.micros();
                slow(cost, MAX_FUNCTION_MICROS, Some(bodies))?;
                bodies += 1;
                micros += cost;
                slow(micros, MAX_MICROS, None)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn within(what: &'static str, had: u64, limit: u64) -> Result<(), LoadError> {
    if had > limit { Err(LoadError::TooLarge { what, had, limit }) } else { Ok(()) }
}

fn slow(micros: u64, limit: u64, function: Option<u32>) -> Result<(), LoadError> {
    if micros <= limit {
        return Ok(());
    }
    let what = function.map_or_else(|| "compiling it".into(), |index| format!("compiling its function {index}"));
    Err(LoadError::TooSlow { what, had: micros / 1000, limit: limit / 1000 })
}

/// What the estimates of a module's functions need to know of the module.
#[derive(Default)]
struct Shape {
    /// Parameters and results of each type.
    arities: Vec<u64>,
    /// Type of each function.
    functions: Vec<u32>,
}

impl Shape {
    fn arity(&self, ty: u32) -> u64 {
        self.arities.get(ty as usize).copied().unwrap_or(MAX_ARITY)
    }

    fn arity_of_function(&self, function: u32) -> u64 {
        self.functions.get(function as usize).map_or(MAX_ARITY, |ty| self.arity(*ty))
    }
}

/// What makes a function slow to compile.
#[derive(Debug, Default)]
struct Cost {
    bytes: u64,
    /// Parameters, results and locals, and those of the widest block: each may be live at each branch.
    values: u64,
    /// Points at which control flow may split or join.
    branches: u64,
    loops: u64,
    /// Deepest nesting of loops.
    depth: u64,
    calls: u64,
    /// Parameters and results of all calls.
    passed: u64,
    /// Calls through tables, and operators that call the engine.
    heavy: u64,
}

impl Cost {
    fn of(body: &FunctionBody<'_>, own: u64, shape: &Shape) -> Result<Self, wasmparser::BinaryReaderError> {
        let range = body.range();
        let mut cost = Self { bytes: (range.end - range.start) as u64, values: own, ..Self::default() };
        for local in body.get_locals_reader()? {
            cost.values.add_assign(u64::from(local?.0));
        }
        let (mut open, mut depth, mut widest) = (Vec::new(), 0, 0);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            if let Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } = &operator {
                let is_loop = matches!(operator, Operator::Loop { .. });
                open.push(is_loop);
                depth += u64::from(is_loop);
                cost.loops += u64::from(is_loop);
                cost.depth = cost.depth.max(depth);
                widest = widest.max(match blockty {
                    BlockType::Empty => 0,
                    BlockType::Type(_) => 1,
                    BlockType::FuncType(ty) => shape.arity(*ty),
                });
            }
            cost.count(&operator, shape);
            if matches!(operator, Operator::End) && open.pop() == Some(true) {
                depth -= 1;
            }
        }
        cost.values += widest;
        Ok(cost)
    }

    fn count(&mut self, operator: &Operator<'_>, shape: &Shape) {
        use Operator as O;
        match operator {
            O::Block { .. } | O::Loop { .. } | O::If { .. } | O::Else | O::Br { .. } | O::BrIf { .. } => {
                self.branches += 1;
            }
            O::BrTable { targets } => self.branches += u64::from(targets.len()) + 1,
            O::Call { function_index } => {
                self.calls += 1;
                self.passed += shape.arity_of_function(*function_index);
            }
            O::CallIndirect { type_index, .. } => {
                self.heavy += 1;
                self.passed += shape.arity(*type_index);
            }
            O::MemoryGrow { .. }
            | O::MemorySize { .. }
            | O::MemoryInit { .. }
            | O::MemoryCopy { .. }
            | O::MemoryFill { .. }
            | O::DataDrop { .. }
            | O::TableInit { .. }
            | O::TableCopy { .. }
            | O::TableFill { .. }
            | O::TableGet { .. }
            | O::TableSet { .. }
            | O::TableGrow { .. }
            | O::TableSize { .. }
            | O::ElemDrop { .. }
            | O::RefFunc { .. } => self.heavy += 1,
            _ => {}
        }
    }

    /// Microseconds, estimated from above. No term overflows: a body has at most 48 KiB, and 50,000 locals.
    const fn micros(&self) -> u64 {
        let Self { bytes, values, branches, loops, depth, calls, passed, heavy } = *self;
        let plain = 40 + 4 * bytes + bytes * bytes / 6_000 + values / 10;
        let branching = branches * (20 + values / 2) + branches * branches / 50;
        let looping = loops * 9 * values + loops * loops / 14 + depth * depth * depth / 700;
        let calling = 12 * calls + 5 * passed + heavy * (120 + heavy / 50 + values / 2);
        plain + branching + looping + calling
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::time::Duration;

    use super::*;
    use crate::sandbox::BUILTIN_GUEST;
    use crate::sandbox::cpu_time::thread_time;
    use crate::sandbox::engine::Engine;

    /// A module of `functions` functions with the same body, and of `rest`.
    fn module(functions: usize, body: &str, rest: &str) -> Vec<u8> {
        let mut text = "(module (type $t (func)) (table 1 funcref) (memory 1)".to_owned();
        for _ in 0..functions {
            write!(text, "(func (local i32 i32) {body})").unwrap();
        }
        wat::parse_str(text + rest + ")").unwrap()
    }

    fn refused(wasm: &[u8]) -> String {
        check(wasm).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_parser_is_far_within_the_bounds() {
        check(BUILTIN_GUEST).unwrap();
        let mut shape = Shape::default();
        let (mut micros, mut bodies) = (0, 0);
        for payload in Parser::new(0).parse_all(BUILTIN_GUEST) {
            match payload.unwrap() {
                Payload::FunctionSection(functions) => {
                    shape.functions = functions.into_iter().map(Result::unwrap).collect()
                }
                Payload::CodeSectionEntry(body) => {
                    micros += Cost::of(&body, shape.arity_of_function(bodies), &shape).unwrap().micros();
                    bodies += 1;
                }
                _ => {}
            }
        }
        assert!(bodies > 20 && (10_000..MAX_MICROS / 3).contains(&micros), "{bodies} functions, {micros} us");
    }

    #[test]
    fn each_bound_says_the_value_and_the_limit() {
        let allowed = |limit: u64| format!("more than the {limit} that are allowed");
        let too_large = vec![0; MAX_MODULE_BYTES + 1];
        assert_eq!(refused(&too_large), format!("the module has 4194305 bytes, {}", allowed(4 << 20)));
        assert_eq!(refused(&module(5000, "", "")), format!("the module has 5000 functions, {}", allowed(4096)));
        let long = "(drop (i32.const 1))".repeat(17_000);
        assert!(
            refused(&module(1, &long, "")).contains(" bytes in one function, more than the 49152 that are allowed")
        );
        let types: String = (0..1001).map(|n| format!("(type (func (param {})))", "i32 ".repeat(n % 30))).collect();
        assert_eq!(refused(&module(1, "", &types)), format!("the module has 1002 types, {}", allowed(1000)));
        let wide = format!("(type (func (param {}) (result i32)))", "i32 ".repeat(32));
        let arity = format!("the module has 33 parameters and results in one type, {}", allowed(32));
        assert_eq!(refused(&module(1, "", &wide)), arity);
        let elements = format!("(elem func {})", "0 ".repeat(3000)).repeat(2);
        assert_eq!(refused(&module(1, "", &elements)), format!("the module has 6000 elements, {}", allowed(4096)));
        let of = |one: &str| (0..1001).map(|n| one.replace('#', &n.to_string())).collect::<String>();
        for (what, rest) in [
            ("exports", of("(export \"#\" (func 0))")),
            ("globals", of("(global i32 (i32.const #))")),
            ("data segments", of("(data (i32.const 0) \"#\")")),
            ("element segments", of("(elem func 0)")),
        ] {
            assert_eq!(refused(&module(1, "", &rest)), format!("the module has 1001 {what}, {}", allowed(1000)));
        }
    }

    #[test]
    fn what_is_slow_to_compile_is_refused_by_function_and_in_sum() {
        let loops = "(loop)".repeat(6000);
        let said = refused(&module(1, &loops, ""));
        assert!(said.starts_with("compiling its function 0 would take about ") && said.contains("500 ms"), "{said}");
        let some = "(loop)".repeat(1000);
        check(&module(2, &some, "")).unwrap();
        let said = refused(&module(40, &some, ""));
        assert!(said.starts_with("compiling it would take about ") && said.contains("2000 ms"), "{said}");
        for slow in [
            format!("{}{}", "(loop ".repeat(1500), ")".repeat(1500)),
            "(call_indirect (type $t) (i32.const 0))".repeat(5000),
            "(drop (memory.grow (i32.const 1)))".repeat(5000),
            format!("(block (br_table {} (i32.const 0)))", "0 ".repeat(40_000)),
            format!("(local {}) {}", "i32 ".repeat(20_000), "(loop)".repeat(10)),
        ] {
            let said = refused(&module(1, &slow, ""));
            assert!(said.starts_with("compiling its function 0 "), "{said}");
        }
    }

    #[test]
    fn the_worst_module_within_the_bounds_is_compiled_in_time() {
        let engine = Engine::new(1).unwrap();
        for body in [
            "(call_indirect (type $t) (i32.const 0))".repeat(2000),
            format!("{}{}", "(loop (br_if 0 (local.get 0))".repeat(200), ")".repeat(200)),
        ] {
            let most = (1..200).take_while(|count| check(&module(*count, &body, "")).is_ok()).last().unwrap();
            let started = thread_time();
            // It exports nothing, which is found only after it has been compiled.
            let said = engine.load(&module(most, &body, "")).unwrap_err().to_string();
            let took = thread_time() - started;
            assert!(said.contains("does not export"), "{said}");
            // The estimate is two seconds, on a processor that may be faster than this one.
            assert!(took < Duration::from_secs(6), "{most} functions took {took:?}");
        }
    }

    #[test]
    fn what_is_not_a_module_is_refused() {
        assert!(refused(b"nonsense").starts_with("not a module that can be run here: "));
        assert!(refused(&BUILTIN_GUEST[..BUILTIN_GUEST.len() / 2]).starts_with("not a module that can be run here: "));
    }
}
