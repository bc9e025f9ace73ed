//! OTLP over gRPC, and what shares its port.

use crate::doors::{Caller, Doors, Refusal, told};
use crate::retry;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use model::{Batch, Receipt};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use std::sync::Arc;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::{Request, Response, Status};
use wire::Rejected;
use wire::otlp::{self, ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest};

/// The three services over one set of doors.
#[derive(Clone)]
struct Services(Arc<Doors>);

pub fn router(doors: &Arc<Doors>) -> Router {
    // tonic holds decompressed messages to this bound too.
    let max = doors.config.decompressed_bytes_max;
    let services = Services(doors.clone());
    macro_rules! server {
        ($server:ident) => {
            $server::new(services.clone())
                .accept_compressed(Gzip)
                .accept_compressed(Zstd)
                .send_compressed(Gzip)
                .max_decoding_message_size(max)
        };
    }
    tonic::service::Routes::new(server!(MetricsServiceServer))
        .add_service(server!(LogsServiceServer))
        .add_service(server!(TraceServiceServer))
        .into_axum_router()
        .merge(crate::jaeger::grpc_router(doors))
        .layer(from_fn_with_state(doors.clone(), crate::message::unpacked))
}

impl Services {
    async fn write(
        &self,
        caller: Result<Caller, Refusal>,
        batch: Batch,
        rejected: Rejected,
    ) -> Result<Receipt, Status> {
        let written = match caller {
            Ok(caller) => self.0.write(caller, batch, rejected).await,
            Err(refusal) => Err(refusal),
        };
        written.map_err(|refusal| status(&self.0, refusal))
    }
}

/// A refusal in gRPC's words, counted. Clients send again after Unavailable; after the others they drop the batch.
pub fn status(doors: &Doors, refusal: Refusal) -> Status {
    doors.count_refusal(&refusal);
    match refusal.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            retry::unavailable(refusal.why, refusal.retry_after)
        }
        StatusCode::PAYLOAD_TOO_LARGE => Status::resource_exhausted(refusal.why),
        _ => Status::invalid_argument(refusal.why),
    }
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Refusal> {
    Caller::of(&request.metadata().clone().into_headers())
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let caller = caller(&request);
        let written = match caller {
            Ok(caller) => self.0.write_otlp_metrics(caller, request.into_inner()).await,
            Err(refusal) => Err(refusal),
        };
        let receipt = written.map_err(|refusal| status(&self.0, refusal))?;
        let partial_success = told(&receipt).map(|error_message| ExportMetricsPartialSuccess {
            rejected_data_points: receipt.rejected_count() as i64,
            error_message,
        });
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let caller = caller(&request);
        let written = match caller {
            Ok(caller) => self.0.write_otlp_logs(caller, request.into_inner()).await,
            Err(refusal) => Err(refusal),
        };
        let receipt = written.map_err(|refusal| status(&self.0, refusal))?;
        let partial_success = told(&receipt).map(|error_message| ExportLogsPartialSuccess {
            rejected_log_records: receipt.rejected_count() as i64,
            error_message,
        });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let caller = caller(&request);
        let decoded = otlp::spans(request.into_inner());
        let receipt = self.write(caller, Batch::Spans(decoded.batch), decoded.rejected).await?;
        let partial_success = told(&receipt).map(|error_message| ExportTracePartialSuccess {
            rejected_spans: receipt.rejected_count() as i64,
            error_message,
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}
