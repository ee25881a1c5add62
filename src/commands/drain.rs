//! `drain` and `resume`.

use super::{Context, complain, print};
use crate::report::exit::Exit;
use crate::runs::service;
use crate::service::ServiceError;
use crate::text::escape;

/// Takes a runner out of service.
pub(super) fn drain(context: &Context, name: &str) -> Exit {
    say(service::with(&context.host(), |service| service.drain(name)))
}

/// Brings it back.
pub(super) fn resume(context: &Context, name: &str) -> Exit {
    say(service::with(&context.host(), |service| service.resume(name)))
}

fn say(result: Result<String, ServiceError>) -> Exit {
    match result {
        Ok(text) => {
            print(&format!("{}\n", escape::log_line(&text)));
            Exit::Done
        }
        Err(why) => {
            complain(&format_args!("{why}; nothing was done"));
            Exit::Error
        }
    }
}
