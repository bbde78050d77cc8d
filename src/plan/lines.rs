//! Lines, as the arguments ask for them: fields that are named, and the order.

use super::{Machine, PlanError, format, is_live};
use crate::cli::Watch;
use crate::export::columns::Columns;
use crate::export::{FormatName, Subject};
use crate::http::filter::Filter;
use crate::http::filter::field::{Field, Lines};
use crate::pipeline::Arrangement;
use crate::view::ranked::Ranking;

/// Refuses filters that hold for nothing, and columns that have nothing.
pub(super) fn check_fields(args: &Watch, machine: &Machine, subject: Subject) -> Result<(), PlanError> {
    if args.fields.is_some() && !matches!(format(args, machine), FormatName::Csv | FormatName::Tsv) {
        return Err(PlanError::NoTable);
    }
    let foreign = |field: &&Field| field.lines() == if args.tls { Lines::Transactions } else { Lines::Tls };
    let column = args.fields.as_ref().and_then(|columns| columns.foreign(subject)).map(|field| ("--fields", field));
    let sorted = args.sort.as_ref().map(|order| &order.field).filter(foreign).map(|field| ("--sort", field));
    let ranked = args.top.as_ref().filter(foreign).map(|field| ("--top", field));
    if let Some((option, field)) = column.or(sorted).or(ranked) {
        let of = if args.tls { "transactions: leave --tls out" } else { "TLS connections: needed --tls" };
        return Err(PlanError::NoColumn(option, field.text(), of));
    }
    if let Some(field) = args.filter.iter().find_map(|filter| filter.foreign(args.tls)) {
        return Err(match args.tls {
            true => PlanError::NoTlsFilter(field.text()),
            false => PlanError::NoTransactionFilter(field.text()),
        });
    }
    for field in named_fields(args) {
        if let Field::Header { name, .. } = field
            && args.headers.is_none()
            && !args.header.iter().any(|header| header.eq_ignore_ascii_case(name))
        {
            return Err(PlanError::NoHeader { field: field.text(), name: name.to_string() });
        }
    }
    Ok(())
}

/// Refuses bodies that are kept and shown nowhere, and fields of bodies that are not kept.
pub(super) fn check_bodies(args: &Watch, format: FormatName, page: bool) -> Result<(), PlanError> {
    let named = named_fields(args).find(|field| matches!(field, Field::Named(name) if name.is_of_body()));
    if args.capture_bodies.is_none() {
        return named.map_or(Ok(()), |field| Err(PlanError::NoBody(field.text())));
    }
    let shown = args.report.is_some() || page || named.is_some();
    match format {
        _ if shown => Ok(()),
        _ if args.tls => Err(PlanError::NoBodies("lines of --tls".to_owned())),
        FormatName::Json | FormatName::Ecs | FormatName::Har => Ok(()),
        other => Err(PlanError::NoBodies(format!("lines in format {other}"))),
    }
}

/// How lines are arranged.
pub(super) fn arrangement(args: &Watch) -> Result<Option<Arrangement>, PlanError> {
    let limit = args.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    match (&args.sort, &args.top) {
        (None, None) if limit.is_some() => Err(PlanError::NoArrangement),
        (None, None) => Ok(None),
        _ if is_live(args) => Err(PlanError::NoEnd),
        (_, Some(_)) if args.tls => Err(PlanError::TopAlone("--tls")),
        (_, Some(_)) if args.format.is_some() => Err(PlanError::TopAlone("--format")),
        (_, Some(_)) if args.fields.is_some() => Err(PlanError::TopAlone("--fields")),
        (_, Some(field)) => Ok(Some(Arrangement::Ranked(Ranking { field: field.clone(), by: args.by, limit }))),
        (Some(order), None) => Ok(Some(Arrangement::Sorted(order.clone(), limit))),
    }
}

/// Fields that options name.
pub(super) fn named_fields(args: &Watch) -> impl Iterator<Item = &Field> {
    let arranged = args.sort.iter().map(|order| &order.field).chain(&args.top);
    args.filter.iter().flat_map(Filter::fields).chain(args.fields.iter().flat_map(Columns::fields)).chain(arranged)
}
