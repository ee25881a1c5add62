//! What the verbs over the entries of an array table (`[[reap]]`, `[[store]]`) share.

use super::complain;
use crate::report::exit::Exit;

/// Whether a sweep does the work of such a verb as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SweepPart {
    /// Where it is configured.
    Done,
    /// It is left to the verb.
    Left,
}

impl SweepPart {
    /// By the option that leaves it out.
    pub(super) fn of(is_left_out: bool) -> Self {
        if is_left_out { Self::Left } else { Self::Done }
    }
}

/// The entries of `table` that a person named, or all where none is named.
///
/// # Errors
/// One that is named does not exist; that is said.
pub(super) fn chosen<'a, R>(
    table: &str,
    rules: &'a [R],
    name: impl Fn(&R) -> &str,
    chosen: &[String],
) -> Result<Vec<&'a R>, Exit> {
    if let Some(stranger) =
        chosen.iter().find(|wanted| !rules.iter().any(|rule| name(rule) == wanted.as_str()))
    {
        let known: Vec<&str> = rules.iter().map(&name).collect();
        let known = match &known[..] {
            [] => "none is configured: see disk-guard.toml(5)".to_owned(),
            known => format!("the configured ones are: {}", known.join(", ")),
        };
        complain(&format_args!("there is no [[{table}]] named `{stranger}`; {known}"));
        return Err(Exit::Usage);
    }
    Ok(rules
        .iter()
        .filter(|rule| chosen.is_empty() || chosen.iter().any(|wanted| wanted == name(rule)))
        .collect())
}
