//! Functions on numbers and truth values.

use super::super::value::Val;
use super::{Result, num, text, whole};

/// Calls one of these; `None` where the name is another.
pub(super) fn call(name: &str, args: &[Val]) -> Option<Result> {
    let one = |f: &dyn Fn(f64) -> f64| num(args, 0).map(|a| Val::Num(f(a)));
    let two = |f: &dyn Fn(f64, f64) -> f64| Ok(Val::Num(f(num(args, 0)?, num(args, 1)?)));
    let test = |f: &dyn Fn(f64, f64) -> bool| Ok(Val::Bool(f(num(args, 0)?, num(args, 1)?)));
    let nonzero = |f: &dyn Fn(f64, f64) -> f64| {
        let (a, b) = (num(args, 0)?, num(args, 1)?);
        if b == 0.0 { Err("division by zero".to_owned()) } else { Ok(Val::Num(f(a, b))) }
    };
    let all = |f: &dyn Fn(f64, f64) -> f64| {
        let mut numbers = args.iter().map(Val::to_num);
        let first = numbers.next().ok_or("at least one number is needed")??;
        numbers.try_fold(first, |a, b| Ok(f(a, b?))).map(Val::Num)
    };
    let logic = |f: &dyn Fn(bool, bool) -> bool| {
        let (Some(a), Some(b)) = (args.first(), args.get(1)) else {
            return Err("too few arguments".to_owned());
        };
        Ok(Val::Bool(f(a.to_bool()?, b.to_bool()?)))
    };
    Some(match name {
        "absolute" => one(&f64::abs),
        "ceil" => one(&f64::ceil),
        "floor" => one(&f64::floor),
        "int" => one(&f64::trunc),
        "negate" => one(&|a| -a),
        "signum" => one(&|a| if a == 0.0 { 0.0 } else { a.signum() }),
        "add" => two(&|a, b| a + b),
        "subtract" => two(&|a, b| a - b),
        "multiply" => two(&|a, b| a * b),
        "divide" => nonzero(&|a, b| a / b),
        "modulo" => nonzero(&|a, b| a % b),
        "pow" => two(&f64::powf),
        "log" => two(&f64::log),
        "max" => all(&f64::max),
        "min" => all(&f64::min),
        "greaterthan" => test(&|a, b| a > b),
        "greaterthanorequalto" => test(&|a, b| a >= b),
        "lessthan" => test(&|a, b| a < b),
        "lessthanorequalto" => test(&|a, b| a <= b),
        "and" => logic(&|a, b| a && b),
        "or" => logic(&|a, b| a || b),
        "not" => args.first().ok_or_else(|| "too few arguments".to_owned()).and_then(Val::to_bool).map(|a| Val::Bool(!a)),
        "equal" | "notequal" => match args {
            [a, b] if a.is_unknown() || b.is_unknown() => Ok(Val::Unknown),
            [a, b] => Ok(Val::Bool((a == b) == (name == "equal"))),
            _ => Err("two arguments are needed".to_owned()),
        },
        "parseint" => (|| {
            let base = u32::try_from(whole(args, 1)?).ok().filter(|b| (2..=36).contains(b));
            let base = base.ok_or("base must be a whole number between 2 and 36")?;
            let value = i64::from_str_radix(&text(args, 0)?, base).map_err(|_| "not a number in this base")?;
            #[expect(clippy::cast_precision_loss, reason = "numbers are doubles here")]
            Ok(Val::Num(value as f64))
        })(),
        "range" => (|| {
            let (from, to) = if args.len() > 1 { (num(args, 0)?, num(args, 1)?) } else { (0.0, num(args, 0)?) };
            let step = if args.len() > 2 {
                num(args, 2)?
            } else if to < from {
                -1.0
            } else {
                1.0
            };
            if step == 0.0 || !step.is_finite() || ((to - from) / step).abs() > 1024.0 {
                return Err("more than 1024 values, or no step".to_owned());
            }
            let mut out = Vec::new();
            let mut at = from;
            while out.len() <= 1024 && ((step > 0.0 && at < to) || (step < 0.0 && at > to)) {
                out.push(Val::Num(at));
                at += step;
            }
            Ok(Val::List(out))
        })(),
        _ => return None,
    })
}
