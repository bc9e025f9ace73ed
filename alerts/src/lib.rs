//! Rules, alert states, SLOs, notifications.
