package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// Words of /health for a service.
const (
	StateConnected    = "connected"
	StateDisconnected = "disconnected"
)

// health says how the services behind the API are. One that is configured and cannot be reached, or a database that refuses
// writes, makes it degraded.
func (a *API) health(x *requestContext) error {
	status, overall := http.StatusOK, "ok"
	database, redis := StateConnected, a.options.RedisState()
	if a.reach(x) != nil || a.options.Reader.CheckWritable() != nil {
		database = StateDisconnected
	}
	if database == StateDisconnected || redis == StateDisconnected {
		status, overall = http.StatusServiceUnavailable, "degraded"
	}
	x.out = append(x.out[:0], `{"status":"`...)
	x.out = append(x.out, overall...)
	x.out = append(x.out, `","services":{"database":"`...)
	x.out = append(x.out, database...)
	x.out = append(x.out, `","redis":`...)
	x.out = web.AppendString(x.out, redis)
	x.out = append(x.out, '}')
	if redis == StateDisconnected && a.options.RedisReason != nil {
		x.out = append(x.out, `,"reason":`...)
		x.out = web.AppendString(x.out, a.options.RedisReason())
	}
	x.out = append(x.out, `,"timestamp":`...)
	x.out = appendTime(x.out, time.Now())
	x.out = append(x.out, '}', '\n')
	x.json(status, x.out)
	return nil
}

// live says that the process answers.
func (a *API) live(x *requestContext) error {
	x.json(http.StatusOK, []byte(`{"status":"ok"}`+"\n"))
	return nil
}

// ready says whether requests should be sent here. Redis does not matter for that: orders go on without it. Nor does a disk
// that is full: what can be read is read.
func (a *API) ready(x *requestContext) error {
	if a.draining.Load() {
		return order.Errorf(order.CodeUnavailable, "The server is shutting down.")
	}
	if err := a.reach(x); err != nil {
		if damage := a.options.Reader.CheckDamage(); damage != nil {
			return damage
		}
		return order.Errorf(order.CodeUnavailable, "The database cannot be reached.")
	}
	x.json(http.StatusOK, []byte(`{"status":"ready"}`+"\n"))
	return nil
}

// pingTimeout is how long the database may take to answer.
const pingTimeout = time.Second

// reach asks the database for an answer. Those who ask at the same time share one question, so that probes are no load.
func (a *API) reach(x *requestContext) error {
	_, err := a.ping.get(x.r.Context())
	if err != nil && a.options.Reader.CheckDamage() == nil { // damage is logged when it is found
		x.log(slog.LevelWarn, "the database does not answer", "database.unreachable", err)
	}
	return err
}

func (a *API) loadPing(ctx context.Context) (struct{}, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return struct{}{}, a.options.Reader.Ping(ctx)
}
