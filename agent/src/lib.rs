//! The node agent: collects, queues on disk, ships.
