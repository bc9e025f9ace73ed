//! Who a sender is by the address that it sends from, where its telemetry does not say.

use crate::Attributes;
use std::net::IpAddr;

/// Knows the senders of this node.
pub trait Identify: Send + Sync + 'static {
    /// The attributes of whom `said` (the sender's resource) is of, or else of who has this address. What is said already is
    /// among them too: whoever adds them leaves that as it is. Empty where nobody is known.
    fn identify(&self, peer: IpAddr, said: &dyn Fn(&str) -> Option<String>) -> Attributes;
}
