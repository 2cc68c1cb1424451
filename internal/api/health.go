package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"orderflow/internal/order"
)

// States of a service in the answer of /health.
const (
	StateConnected    = "connected"
	StateDisconnected = "disconnected"
)

// pingTimeout is how long the database may take to answer a check.
const pingTimeout = time.Second

// healthJSON is the answer of /health.
type healthJSON struct {
	Status   string `json:"status"`
	Services struct {
		Database string `json:"database"`
		Redis    string `json:"redis"`
	} `json:"services"`
	Reason    string    `json:"reason,omitempty"`
	Timestamp timestamp `json:"timestamp"`
}

// health reports the state of the services behind the API. It is degraded when a configured service cannot be reached, or the
// database refuses writes.
func (a *API) health(rc *requestContext) error {
	status, answer := http.StatusOK, healthJSON{Status: "ok"}
	answer.Services.Database, answer.Services.Redis = StateConnected, a.options.RedisState()
	if a.ping(rc) != nil || a.options.Reader.CheckWritable() != nil {
		answer.Services.Database = StateDisconnected
	}
	if answer.Services.Database == StateDisconnected || answer.Services.Redis == StateDisconnected {
		status, answer.Status = http.StatusServiceUnavailable, "degraded"
	}
	if answer.Services.Redis == StateDisconnected && a.options.RedisReason != nil {
		answer.Reason = a.options.RedisReason()
	}
	answer.Timestamp = timestamp(time.Now())
	return rc.value(status, answer)
}

// live answers while the process runs.
func (a *API) live(rc *requestContext) error {
	rc.json(http.StatusOK, []byte(`{"status":"ok"}`+"\n"))
	return nil
}

// ready reports whether load balancers should send requests to this server. Neither Redis nor a full disk matters: without Redis
// orders are processed, and with a full disk data can be read.
func (a *API) ready(rc *requestContext) error {
	if a.draining.Load() {
		return order.Errorf(order.CodeUnavailable, "The server is shutting down. Send requests to another server.")
	}
	if err := a.ping(rc); err != nil {
		if damage := a.options.Reader.CheckDamage(); damage != nil {
			return damage
		}
		return order.Errorf(order.CodeUnavailable, "The database does not answer. Check it; the server's log has the error.")
	}
	rc.json(http.StatusOK, []byte(`{"status":"ready"}`+"\n"))
	return nil
}

// ping checks that the database answers. Requests of the same moment share one check, so that probes are no load.
func (a *API) ping(rc *requestContext) error {
	_, err := a.pings.get(rc.r.Context())
	if err != nil && a.options.Reader.CheckDamage() == nil { // damage is logged when it is found
		rc.log(slog.LevelWarn, "The database does not answer.", "database.unreachable", err)
	}
	return err
}

func (a *API) fetchPing(ctx context.Context) (struct{}, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return struct{}{}, a.options.Reader.Ping(ctx)
}
