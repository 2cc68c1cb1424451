package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/api"
	"orderflow/internal/bus"
	"orderflow/internal/config"
	"orderflow/internal/limit"
	"orderflow/internal/lock"
	"orderflow/internal/realtime"
	"orderflow/internal/redis"
)

// limitedKeys bounds the rate limits that are kept in the process.
const limitedKeys = 100_000

// ports are the ports that processes may share besides the database, over Redis or in the process.
type ports struct {
	bus      messageBus
	locker   lock.Locker
	limiter  limit.Limiter
	products api.Products          // nil when each process has its own
	channels realtime.ChannelCache // the same
	state    func() string         // of Redis, for /health; nil without Redis
	reason   func() string         // why Redis is not connected; nil without Redis
	client   *redis.Client         // nil without Redis
}

// messageBus is a bus that is closed with the server.
type messageBus interface {
	bus.Bus
	Close() error
}

// openPorts opens the ports. With Redis in the settings it connects, so that both layers of locks protect the first order. The server also
// starts when Redis does not answer.
func (s *Server) openPorts(ctx context.Context) (err error) {
	s.ports, err = s.newPorts(ctx, s.log.Logger())
	return err
}

func (s *Server) newPorts(ctx context.Context, log *slog.Logger) (ports, error) {
	deadLettered := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "orderflow_bus_dead_lettered_total", Help: "Messages that were dead-lettered because they reached their delivery limit.",
	})
	s.registry.MustRegister(deadLettered)
	options := bus.Options{
		Buffer: max(bus.DefaultBuffer, s.settings.QueueMax),
		DeadLettered: func(group string, m bus.Message) {
			deadLettered.Inc()
			log.Error("A message reached its delivery limit and was dead-lettered.", "event", "message.dead_lettered", "group", group, "id", m.ID)
		},
	}
	if s.settings.Redis == (config.URL{}) {
		return ports{bus: bus.NewLocal(options), locker: lock.NewLocal(lock.TTL), limiter: limit.NewLocal(limitedKeys)}, nil
	}
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "orderflow_redis_up", Help: "1 while Redis works, else 0."})
	s.registry.MustRegister(up)
	client, err := redis.New(s.settings.Redis.Reveal(), redis.Options{
		Prefix: s.settings.RedisPrefix, Logger: log,
		Changed: func(healthy bool) {
			value := 0.0
			if healthy {
				value = 1
			}
			up.Set(value)
		},
	})
	if err != nil {
		return ports{}, err
	}
	_ = client.Connect(ctx)               // an error is logged, and Run connects later
	products := redis.NewProducts(client) //nolint:contextcheck // its work after a reconnect has a time limit of its own
	locker := redis.NewLocker(client, lock.TTL, products)
	s.addStage("redis", client.Run)
	s.addStage("locks", locker.Run)
	return ports{
		bus: redis.NewBus(client, options), locker: locker, limiter: redis.NewLimiter(client, limitedKeys),
		products: products, channels: redis.NewChannelCache(client), client: client,
		state: func() string {
			if client.Healthy() {
				return api.StateConnected
			}
			return api.StateDisconnected
		},
		reason: client.Reason,
	}, nil
}

// close closes the ports.
func (p ports) close() error {
	var errs []error
	if p.bus != nil {
		errs = append(errs, p.bus.Close())
	}
	if p.client != nil {
		p.client.Close()
	}
	return errors.Join(errs...)
}

// RedisAnswers reports whether the Redis of the settings answers; false without Redis.
func RedisAnswers(ctx context.Context, settings config.Settings) bool {
	if settings.Redis == (config.URL{}) {
		return false
	}
	client, err := redis.New(settings.Redis.Reveal(), redis.Options{Prefix: settings.RedisPrefix})
	if err != nil {
		return false
	}
	defer client.Close()
	return client.Connect(ctx) == nil
}

// DeleteRedisKeys deletes all keys with the prefix of the settings, which must not be empty.
func DeleteRedisKeys(ctx context.Context, settings config.Settings) error {
	client, err := redis.New(settings.Redis.Reveal(), redis.Options{Prefix: settings.RedisPrefix})
	if err != nil {
		return err
	}
	defer client.Close()
	return client.DeleteAll(ctx)
}
