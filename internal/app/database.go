package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/config"
	"orderflow/internal/order"
	"orderflow/internal/store"
)

// Rules returns the settings that decisions about orders depend on.
func Rules(settings config.Settings) order.Rules {
	rules := order.DefaultRules()
	rules.Currency = settings.Currency
	rules.PaymentAttempts, rules.Backoff, rules.Lease = settings.PaymentAttempts, settings.Backoff, settings.Lease
	return rules
}

// openDatabase opens the database, locks an SQLite file against a second server, and migrates the schema. It adds the sample data to an
// empty database if the settings ask for it.
func (s *Server) openDatabase(ctx context.Context) (err error) {
	transactions := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "orderflow_store_write_seconds", Help: "Duration of write transactions, from the connection to the commit.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
	}, []string{"write"})
	waits := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "orderflow_store_wait_seconds", Help: "Wait of write transactions for a connection.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
	})
	s.registry.MustRegister(transactions, waits)
	s.db, err = store.Open(ctx, s.settings.Database.Reveal(), store.Options{
		Rules: Rules(s.settings), Replica: s.settings.DatabaseRead.Reveal(), Pool: s.settings.DatabasePool,
		Observe: func(name string, waited, took time.Duration) {
			waits.Observe(waited.Seconds())
			transactions.WithLabelValues(name).Observe(took.Seconds())
		},
		Warn: func(line string) { s.log.Logger().Warn(line, "event", "database.warning") },
		Damaged: func(err error) {
			s.log.Logger().Error("The database file is damaged; nothing more is written to it. Stop the server and restore a backup.",
				"event", "database.damaged", "error", err.Error())
		},
		BusReachable: func() bool { return s.ports.client == nil || s.ports.client.Up() }, // this process holds the file
	})
	if err != nil {
		return err
	}
	if s.unlockFile, err = s.db.LockFile(); err != nil {
		return err
	}
	if err := s.db.Migrate(ctx); err != nil {
		return err
	}
	if err := s.db.CorrectTimes(ctx); err != nil {
		return err
	}
	s.onScrape.MustRegister(newBacklog(s.db.Backlog))
	if s.settings.Samples {
		if s.samples, err = s.db.SeedEmpty(ctx); err != nil {
			return err
		}
	}
	if s.empty, err = s.db.Empty(ctx); err != nil {
		return err
	}
	if err := s.countSampleLogins(ctx); err != nil {
		return err
	}
	return s.checkCurrency(ctx)
}

// checkCurrency refuses a database with prices in another currency, which would be read as amounts in this one.
func (s *Server) checkCurrency(ctx context.Context) error {
	products, err := s.db.Products(ctx)
	for _, p := range products {
		if p.Currency != s.settings.Currency {
			return order.Errorf(order.CodeValidation,
				"The price of product %d is in %s, and --currency is %s. Set --currency to the currency of the prices.",
				p.ID, p.Currency, s.settings.Currency)
		}
	}
	return err
}

// countSampleLogins counts the sample users that can log in. With --auth required it warns of them, since their password is public.
func (s *Server) countSampleLogins(ctx context.Context) (err error) {
	if !s.settings.Roles.API {
		return nil
	}
	s.logins, err = s.db.SampleLogins(ctx)
	if err == nil && s.logins > 0 && s.settings.Auth == config.AuthRequired {
		s.log.Logger().WarnContext(ctx, "Sample users can log in with a public password. "+
			"Use a database without them, or set their password_hash to '' in the table users.", "event", "samples.known_password", "users", s.logins)
	}
	return err
}

// SampleLogins returns the number of sample users that could log in at start; 0 without the role api.
func (s *Server) SampleLogins() int { return s.logins }

// AddedSamples reports whether Start added the sample data.
func (s *Server) AddedSamples() bool { return s.samples }

// Empty reports whether there was neither a user nor a product at start.
func (s *Server) Empty() bool { return s.empty }
