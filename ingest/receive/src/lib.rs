//! Ingest doors: HTTP and gRPC handlers that write through a Sink.
