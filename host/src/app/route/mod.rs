//! Routes of http functions: which function answers a method and a path.
//!
//! The templates are those of ASP.NET Core. Of several that match, the most specific wins, segment by segment: literal,
//! then constrained or mixed, then parameter, then catch-all; equals are decided by the functions' order. Nothing here
//! reads files or knows a server. Start with [`RouteTable`].

mod constraint;
mod overlaps;
mod table;
mod template;

pub use constraint::Constraint;
pub(in crate::app) use overlaps::note_overlaps;
pub use table::{RouteMatch, RouteTable};
pub use template::{ApiParameter, ApiPath, RouteTemplate, RouteTemplateError};
