# syntax=docker/dockerfile:1
# The images of Orderflow: `server` (the default) contains only the static binary, `worker` adds Supervisor with two worker
# processes. Build the latter with --target worker.

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd cmd
COPY internal internal
ARG VERSION=dev
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/orderflow ./cmd/orderflow
# Further content of the empty image below: a user, a folder for a database, certificate authorities (payment providers, TLS to
# MySQL).
RUN mkdir -p /root-of/etc/ssl/certs /root-of/data \
    && echo 'orderflow:x:65532:65532:Orderflow:/data:/sbin/nologin' > /root-of/etc/passwd \
    && echo 'orderflow:x:65532:' > /root-of/etc/group \
    && cp /etc/ssl/certs/ca-certificates.crt /root-of/etc/ssl/certs/ \
    && chown 65532:65532 /root-of/data

FROM debian:bookworm-slim AS worker
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates supervisor \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 65532 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin orderflow
COPY deploy/supervisor/supervisord.conf deploy/supervisor/orderflow-worker.conf /etc/orderflow/
COPY --from=build /out/orderflow /usr/local/bin/orderflow
USER 65532:65532
EXPOSE 9101 9102
# Both processes must be ready. A process that restarts has the time of two checks.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD orderflow health --url http://127.0.0.1:9101 && orderflow health --url http://127.0.0.1:9102
STOPSIGNAL SIGTERM
ENTRYPOINT ["supervisord", "-c", "/etc/orderflow/supervisord.conf"]

FROM scratch AS server
COPY --from=build /root-of /
COPY --from=build /out/orderflow /usr/local/bin/orderflow
# These addresses are reachable from outside the container, so a server with the role api requires --auth.
ENV PATH=/usr/local/bin \
    ORDERFLOW_ADDR=0.0.0.0:8000 \
    ORDERFLOW_REALTIME_ADDR=0.0.0.0:8080 \
    DATABASE_URL=sqlite:/data/orderflow.db
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8000 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["orderflow", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["orderflow"]
CMD ["serve"]
